"""A connection's past on its page, the newest first: what happened, who did it, and what was revoked at the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from django_oauth_flows.models import Connection, ConnectionEvent, Revocation

if TYPE_CHECKING:
    from datetime import datetime

SHOWN = 100
"""Entries of each kind; the rest is in the export of the events."""

LABELS = {str(value): label for value, label in (*Connection.Reason.choices, *Revocation.Outcome.choices)}
"""What the codes in an event's outcome are called."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One moment: what, and the rest of it in words. ``code`` is the outcome's, which the docs explain."""

    moment: datetime
    what: str
    said: str = ""
    code: str = ""
    correlation_id: str = ""


def timeline(connection: Connection) -> list[Entry]:
    """Return the entries, in two queries."""
    events = ConnectionEvent.objects.filter(connection=connection).select_related("actor")[:SHOWN]
    revocations = Revocation.objects.filter(connection=connection).order_by("-created_at")[:SHOWN]
    entries = [*map(_of_event, events), *map(_of_revocation, revocations)]
    return sorted(entries, key=lambda entry: entry.moment, reverse=True)[:SHOWN]


def _of_event(event: ConnectionEvent) -> Entry:
    parts = [str(LABELS.get(event.outcome, event.outcome))] if event.outcome else []
    if event.actor is not None:
        parts.append(_("by %(name)s") % {"name": event.actor})
    return Entry(event.created_at, str(event), ", ".join(parts), event.outcome, event.correlation_id)


def _of_revocation(revocation: Revocation) -> Entry:
    parts = [str(revocation.get_outcome_display())]
    if revocation.attempts:
        parts.append(_("attempts: %(count)d") % {"count": revocation.attempts})
    if revocation.last_failure:
        parts.append(revocation.last_failure)
    what = _("tokens to be revoked: %(reason)s") % {"reason": revocation.get_reason_display()}
    return Entry(revocation.created_at, what, ", ".join(parts), revocation.outcome)
