"""Signals, in the past tense, sent after the change is committed.

Each carries ``connection`` (the model instance) and ids; never a token. A receiver that raises is logged and cannot
undo or lose anything.

- ``connection_authorized``: ``connection``, ``created`` (bool)
- ``connection_refreshed``: ``connection``
- ``connection_needs_reauthorization``: ``connection``, ``reason``
- ``connection_recovered``: ``connection``
- ``connection_revoked``: ``connection``, ``reason``
"""

from __future__ import annotations

from django.dispatch import Signal

connection_authorized = Signal()
connection_refreshed = Signal()
connection_needs_reauthorization = Signal()
connection_recovered = Signal()
connection_revoked = Signal()
