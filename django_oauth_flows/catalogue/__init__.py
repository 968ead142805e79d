"""Services that are known already, as data: one entry a service, in JSON files that staff and reviewers can read.

Nothing is read before somebody asks. An entry says only what a source says: what is unknown is absent. Providers copy an
entry (``Provider.from_preset``) and never change with it. The keys of an entry are those of :class:`Preset`.
"""

from __future__ import annotations

from django_oauth_flows.catalogue.preset import Confirmation, Parameter, Preset
from django_oauth_flows.catalogue.reading import find, presets, search, slugs

__all__ = ["Confirmation", "Parameter", "Preset", "find", "presets", "search", "slugs"]
