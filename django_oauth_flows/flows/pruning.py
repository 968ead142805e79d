"""Remove what is no longer needed, in batches; any number of workers may do so at once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import router

from django_oauth_flows.conf import settings
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.parking import drop_expired_parked
from django_oauth_flows.flows.revocations import work_off_revocations
from django_oauth_flows.flows.webhooks import deliver_webhooks, untold
from django_oauth_flows.models import AuthorizationRequest, ConnectionEvent, RefreshCount, Revocation, WebhookDelivery

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import Model, QuerySet

REQUEST_RETENTION = timedelta(hours=24)
"""How long the outcome of an authorization is remembered after it expired, for a repeated callback to get a true answer."""


def prune(*, batch_size: int = 500) -> dict[str, int]:
    """Give back parked grants that nobody answered for, try the revocations that are due, and remove what is outdated.

    Then send what the site's webhook has not taken yet. ``batch_size``: rows per transaction. Return how many of each kind
    were dealt with. Any number may run at once. Raises :class:`ConfigurationError`, with all else done, for a webhook that
    is set up wrongly.
    """
    done = {
        "parked_grants": while_any(lambda: drop_expired_parked(limit=batch_size)),
        "revocations": while_any(lambda: work_off_revocations(limit=batch_size)),
    }
    done |= {name: _remove(rows, batch_size=batch_size) for name, rows in _outdated().items()}
    return done | {"webhook_messages": while_any(lambda: deliver_webhooks(limit=batch_size))}


def prunable() -> dict[str, int]:
    """Return how many of each kind :func:`prune` would look at now."""
    waiting = {
        "parked_grants": _rows(AuthorizationRequest).filter(outcome="parked", parked_until__lte=DatabaseNow()),
        "revocations": _rows(Revocation).filter(outcome=Revocation.Outcome.PENDING),
        **_outdated(),
        "webhook_messages": untold(),
    }
    return {name: rows.count() for name, rows in waiting.items()}


def _outdated() -> dict[str, QuerySet[Any]]:
    """Return what may go, by name."""
    now = DatabaseNow()
    kept = timedelta(days=settings.event_retention_days)
    return {
        "authorization_requests": _rows(AuthorizationRequest).filter(
            expires_at__lt=now - REQUEST_RETENTION, parked_grant__isnull=True
        ),
        "connection_events": _rows(ConnectionEvent).filter(created_at__lt=now - kept),
        "finished_revocations": _rows(Revocation).filter(finished_at__lt=now - kept),
        "webhook_deliveries": _rows(WebhookDelivery).filter(created_at__lt=now - kept),
        "refresh_counts": _rows(RefreshCount).filter(hour__lt=now - kept),
    }


def while_any(act: Callable[[], int]) -> int:
    """Repeat what deals with one batch for as long as it gets something done; return how much in all."""
    total = 0
    while done := act():
        total += done
    return total


def _remove(rows: QuerySet[Any], *, batch_size: int) -> int:
    """Delete ``rows`` in batches, each in a short transaction of its own; return how many."""
    total = 0
    while batch := list(rows.order_by("pk").values_list("pk", flat=True)[:batch_size]):
        total += _rows(rows.model).filter(pk__in=batch).delete()[0]
    return total


def _rows(model: type[Model]) -> QuerySet[Any]:
    return model._default_manager.using(router.db_for_write(model)).all()
