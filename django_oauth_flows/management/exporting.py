"""The history of one person, to be handed out: what happened to their connections, and what they did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Q

from django_oauth_flows.managers import owner_key
from django_oauth_flows.models import ConnectionEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.base_user import AbstractBaseUser

COLUMNS = ("when", "what", "outcome", "provider", "connection", "by", "correlation_id")


def history_of(user: AbstractBaseUser) -> Iterator[dict[str, str]]:
    """Yield the events, oldest first, as ids and codes: of what the user owns or consented to, and of what they did."""
    owner_model, owner_id = owner_key(user)
    theirs = Q(connection__user=user) | Q(connection__owner_model=owner_model, connection__owner_id=owner_id)
    events = ConnectionEvent.objects.filter(theirs | Q(actor=user)).select_related("provider")
    for event in events.order_by("created_at", "pk").iterator():
        values = (
            event.created_at.isoformat(),
            event.kind,
            event.outcome,
            event.provider.slug,
            event.connection_id or "",
            event.actor_id or "",
            event.correlation_id,
        )
        yield dict(zip(COLUMNS, map(str, values), strict=True))
