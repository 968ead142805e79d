"""Queue for the site's webhook what the history is told, in the same transaction: what has happened cannot go untold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.utils import timezone

from django_oauth_flows.conf import settings
from django_oauth_flows.models import WebhookDelivery
from django_oauth_flows.statements import Insert

if TYPE_CHECKING:
    from django_oauth_flows.models import Connection, ConnectionEvent

DELIVERY = Insert[WebhookDelivery]()


def delivery_of(event: ConnectionEvent, connection: Connection) -> WebhookDelivery | None:
    """Put what has happened to ``connection`` into a message; None if the site has no webhook."""
    if not settings.webhook_url:
        return None
    kind = f"connection.{event.kind}"
    message = {"type": kind, "timestamp": timezone.now().isoformat(), "data": _data(event, connection)}
    return WebhookDelivery(type=kind, body=json.dumps(message, separators=(",", ":")))


def _data(event: ConnectionEvent, connection: Connection) -> dict[str, str | None]:
    """Return ids and codes: nothing that a token, a provider's text or a person's name could stand in."""
    return {
        "connection": str(connection.pk),
        "provider": connection.provider.slug,
        "owner_model": connection.owner_model,
        "owner_id": connection.owner_id,
        "user": _text(connection.user_id),
        "actor": _text(event.actor_id),
        "status": connection.status,
        "outcome": event.outcome,
        "correlation_id": event.correlation_id,
    }


def _text(key: object) -> str | None:
    return None if key is None else str(key)
