"""Leases by the batch: what a sweep takes at once, and what it does with each."""

from __future__ import annotations

import time
import uuid
from contextlib import nullcontext
from typing import TYPE_CHECKING

from django.db import Error, connections, transaction
from django.db.models import Q

from django_oauth_flows.exceptions import Disconnected, OAuthFlowsError, ReauthorizationRequiredError
from django_oauth_flows.flows.history import logger
from django_oauth_flows.flows.lease import Lease, deadline_left, free, given_back_on_error, lease_seconds, taking
from django_oauth_flows.flows.refreshing import attempt
from django_oauth_flows.flows.snapshot import BATCH, check_servable, read_leased
from django_oauth_flows.models import Provider, Token

if TYPE_CHECKING:
    from django.db.models import QuerySet

SHORTEST_LEASE = 2.0
"""Seconds that must be left of a lease when its turn comes; after that, another worker may take the row at any moment."""


def claim(due: QuerySet[Token], provider_id: uuid.UUID, *, size: int) -> tuple[list[Lease], bool]:
    """Take the leases of at most ``size`` of a provider's ``due`` rows, which are free, in one UPDATE; journal the attempts.

    Return them, and whether more may be due. Any number of workers may do so at once: each row goes to one of them.
    """
    alias, worker, size = due.db, uuid.uuid4(), min(size, BATCH)
    provider = Provider.objects.using(alias).get(pk=provider_id)  # as it is now: a sweep may take hours
    ends = time.monotonic() + lease_seconds(provider)
    waiting = due.order_by("next_refresh_at")
    features = connections[alias].features
    # Without such locks (SQLite, and MariaDB, which would lock what is joined) two may choose the same; one of them gets it.
    # A transaction that has begun by reading may not go on to write there, so there is none.
    skips = features.has_select_for_update_skip_locked and features.has_select_for_update_of
    with transaction.atomic(using=alias) if skips else nullcontext():
        rows = waiting.select_for_update(skip_locked=True, of=("self",)) if skips else waiting
        chosen = list(rows.values_list("pk", "generation")[:size])
        if not chosen:
            return [], False
        unmoved = Q()
        for pk, generation in chosen:
            unmoved |= Q(pk=pk, generation=generation)
        Token.objects.using(alias).filter(free(), unmoved).update(**taking(worker, provider))
    ids = [pk for pk, _ in chosen]
    with given_back_on_error(ids, worker, using=alias):
        held = read_leased(ids, worker, provider, using=alias)
    return [Lease(alias, snapshot, worker, ends) for snapshot in held], len(chosen) == size


def refreshed(lease: Lease) -> str:
    """Refresh what was claimed; return ``refreshed``, ``needs_reauthorization``, ``overtaken``, or an error code."""
    try:
        return _under(lease)
    except OAuthFlowsError as error:
        return _SETTLED.get(type(error), error.code)
    except Error as error:
        logger.warning("oauth_flows.storage_unavailable", extra={"error": type(error).__name__})
        return "storage_unavailable"
    except Exception as error:  # noqa: BLE001 - a row that nobody expected must not keep the others from being refreshed
        logger.error("oauth_flows.internal_error", extra={"error": type(error).__name__})
        return "internal_error"


_SETTLED: dict[type[OAuthFlowsError], str] = {
    Disconnected: "overtaken",
    ReauthorizationRequiredError: "needs_reauthorization",
}
"""What a connection may turn out to be: no failure, and nothing to try again."""


def _under(lease: Lease) -> str:
    snapshot = lease.snapshot
    left = lease.ends - time.monotonic()
    if left < min(SHORTEST_LEASE, lease_seconds(snapshot.provider) / 2) or not snapshot.connection.is_active:
        lease.give_back()
        return "overtaken"
    try:
        check_servable(snapshot)
    except Disconnected as reason:
        lease.release(failure=reason.code, answered=True)
        raise
    before = snapshot.token.generation
    try:
        after = attempt(lease, seconds=deadline_left(lease))
    except (OAuthFlowsError, Error):  # noted where they were met
        raise
    except Exception:
        lease.release(failure="internal_error", answered=False)
        raise
    return "refreshed" if after.token.generation == before + 1 else "overtaken"
