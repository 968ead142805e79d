"""Statements whose SQL is written once.

Django takes longer to write the SQL of our wide rows than the database takes to run it. What a dance and an API call do
again and again is therefore described once, as a query set with named slots, compiled when it is first run on a database,
and afterwards only bound to values. Rows become the same instances that ``select_related`` would have made, and nothing
is sent that Django would not have sent.
"""

from __future__ import annotations

from django_oauth_flows.statements.binding import Bound, Slot
from django_oauth_flows.statements.selecting import Select
from django_oauth_flows.statements.writing import AtOnce, Insert, Update

__all__ = ["AtOnce", "Bound", "Insert", "Select", "Slot", "Update"]
