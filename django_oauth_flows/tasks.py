"""The flows for a task queue: Celery, and Django's own where it has them (6.0).

Celery's ``autodiscover_tasks()`` finds this module, and each task by its dotted name; with Django's, they are
``tasks.refresh_connections.enqueue()``. When to run is for the queue's schedule, or cron, to say.

Slugs and ids go in and counts come out, since a queue keeps both in the clear. What there is to do stands in the
database: a message only says that it is time. One that is delivered twice finds nothing to do, and one that is lost
with its worker is made up for by the next, so none is retried or acknowledged late.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import django
from django.db import router

from django_oauth_flows import flows
from django_oauth_flows.models import Connection, Provider

if TYPE_CHECKING:
    from collections.abc import Callable


def _task(function: Callable[..., Any]) -> Any:
    """Register ``function`` with the queues that are there; return it as Django's task, or as it is."""
    if find_spec("celery"):
        from celery import shared_task

        shared_task(function)
    if django.VERSION >= (6, 0):
        from django.tasks import task

        return task(function)
    return function


@_task
def refresh_connections(
    provider: str | None = None, workers: int = 8, rate: float | None = None
) -> dict[str, dict[str, int]]:
    """Refresh what is due; return the counts by the provider's slug. ``provider``: the slug of the only one to look at.

    ``workers`` and ``rate`` are those of :func:`flows.refresh_due`. What failed for now is counted and no error.
    """
    row = None if provider is None else Provider.objects.using(router.db_for_write(Provider)).get(slug=provider)
    return {
        sweep.provider.slug: {
            "refreshed": sweep.refreshed,
            "needs_reauthorization": sweep.needs_reauthorization,
            "overtaken": sweep.overtaken,
            "failed": sweep.failed,
        }
        for sweep in flows.refresh_due(provider=row, workers=workers, rate=rate)
    }


@_task
def refresh_connection(connection_id: str) -> dict[str, Any]:
    """Get a new access token for one connection now; return whether that was done, and until when it is valid.

    Raises what :func:`flows.refresh` raises.
    """
    connection = Connection.objects.using(router.db_for_write(Connection)).get(pk=connection_id)
    result = flows.refresh(connection)
    expires_at = result.expires_at.isoformat() if result.expires_at else None
    return {"refreshed": result.refreshed, "expires_at": expires_at}


@_task
def work_off_revocations(limit: int = 100) -> int:
    """Try the pending revocations that are due, at most ``limit``; return how many ended."""
    return flows.work_off_revocations(limit=limit)


@_task
def deliver_webhooks(limit: int = 100) -> int:
    """Send what the site's webhook has not taken yet and is due, at most ``limit``; return how many were taken or given up."""
    return flows.deliver_webhooks(limit=limit)


@_task
def prune_oauth_flows(batch_size: int = 500) -> dict[str, int]:
    """Remove what is no longer needed, as the command of that name does; return the counts by kind."""
    return flows.prune(batch_size=batch_size)
