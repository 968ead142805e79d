"""Remove what is no longer needed, in batches; any number of workers may do so at once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.db import router

from django_oauth_flows import flows
from django_oauth_flows.conf import settings
from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, ConnectionEvent, RefreshCount, Revocation, WebhookDelivery

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

REQUEST_RETENTION = timedelta(hours=24)
"""How long the outcome of an authorization is remembered after it expired, for a repeated callback to get a true answer."""


def outdated() -> dict[str, QuerySet[Any]]:
    """Return what may go, by name."""
    now = DatabaseNow()
    kept = timedelta(days=settings.event_retention_days)
    return {
        "authorization requests": _rows(AuthorizationRequest).filter(
            expires_at__lt=now - REQUEST_RETENTION, parked_grant__isnull=True
        ),
        "connection events": _rows(ConnectionEvent).filter(created_at__lt=now - kept),
        "finished revocations": _rows(Revocation).filter(finished_at__lt=now - kept),
        "webhook deliveries": _rows(WebhookDelivery).filter(created_at__lt=now - kept),
        "refresh counts": _rows(RefreshCount).filter(hour__lt=now - kept),
    }


def unanswered() -> QuerySet[Any]:
    """Return the requests whose parked grant nobody answered for in time."""
    return _rows(AuthorizationRequest).filter(outcome="parked", parked_until__lte=DatabaseNow())


def unrevoked() -> QuerySet[Any]:
    """Return the revocations that the provider has not taken yet."""
    return _rows(Revocation).filter(outcome=Revocation.Outcome.PENDING)


def untold() -> QuerySet[Any]:
    """Return what the site's webhook has not taken yet."""
    return _rows(WebhookDelivery).filter(outcome=WebhookDelivery.Outcome.PENDING)


def give_back_parked(*, batch_size: int) -> int:
    """Drop every grant that nobody answered for; its tokens are revoked. Return how many."""
    total = 0
    while dropped := flows.drop_expired_parked(limit=batch_size):
        total += dropped
    return total


def work_off(*, batch_size: int) -> int:
    """Try the revocations that are due, as long as some of them end; return how many did."""
    total = 0
    while ended := flows.work_off_revocations(limit=batch_size):
        total += ended
    return total


def deliver(*, batch_size: int) -> int:
    """Send what is due to the site's webhook, as long as some of it is taken or given up; return how much was."""
    total = 0
    try:
        while ended := flows.deliver_webhooks(limit=batch_size):
            total += ended
    except ConfigurationError as error:
        raise CommandError(f"{error.message} {error.hint}") from None
    return total


def remove(rows: QuerySet[Any], *, batch_size: int) -> int:
    """Delete ``rows`` in batches, each in a short transaction of its own; return how many."""
    total = 0
    while batch := list(rows.order_by("pk").values_list("pk", flat=True)[:batch_size]):
        total += _rows(rows.model).filter(pk__in=batch).delete()[0]
    return total


def _rows(model: type[Model]) -> QuerySet[Any]:
    return model._default_manager.using(router.db_for_write(model)).all()
