"""Leases by the batch: what a sweep takes at once, and what it does with each."""

from __future__ import annotations

import time
import uuid
from contextlib import nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db import Error, connections, transaction

from django_oauth_flows.exceptions import Disconnected, OAuthFlowsError, ReauthorizationRequiredError, TokenUnavailable
from django_oauth_flows.failpoints import Failpoint, reach
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows import circuit
from django_oauth_flows.flows.history import logger
from django_oauth_flows.flows.lease import Lease, deadline_left, free, given_back_on_error, lease_seconds, taking
from django_oauth_flows.flows.refreshing import attempt
from django_oauth_flows.flows.snapshot import BATCH, BATCH_NAMES, batch_of, check_servable, read_leased
from django_oauth_flows.models import Provider, Token
from django_oauth_flows.statements import Select, Slot, Update

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.models import QuerySet

SHORTEST_LEASE = 2.0
"""Seconds that must be left of a lease when its turn comes; after that, another worker may take the row at any moment."""


NOT_SERVED = "not_served"
"""What became of a row that is due and whose connection may not be served: it is looked at again the next day."""


class Choice:
    """Due rows in the order in which they are to be claimed: chosen again and again, by statements that are written once."""

    def __init__(self, due: QuerySet[Token]) -> None:
        self.alias = due.db
        features = connections[self.alias].features
        # Without such locks (SQLite, and MariaDB, which would lock what is joined) two may choose the same; one gets it.
        self.locks = features.has_select_for_update_skip_locked and features.has_select_for_update_of
        waiting = due.order_by("next_refresh_at")
        self._rows = waiting.select_for_update(skip_locked=True, of=("self",)) if self.locks else waiting
        self._written: dict[int, Select[Token]] = {}

    def rows(self, size: int) -> list[Token]:
        """Return at most so many rows, of which only what is needed to claim them is read."""
        chosen = self._written.get(size)
        if chosen is None:
            columns: Any = {"": lambda _: ("id", "generation")}
            chosen = self._written[size] = Select(lambda: self._rows, columns=columns, limit=size)
        return chosen.rows(using=self.alias)


def claim(choice: Choice, provider_id: uuid.UUID, *, size: int, is_first: bool = True) -> tuple[list[Lease], bool]:
    """Take the leases of at most ``size`` of a provider's due rows, which are free, in one UPDATE; journal the attempts.

    Return them, and whether more may be due. Any number of workers may do so at once: each row goes to one of them.
    A provider that has failed until now is tried with one, if ``is_first``: if the caller waits for no other.
    """
    alias, worker, size = choice.alias, uuid.uuid4(), min(size, BATCH)
    provider: Any = _PROVIDER.first(using=alias, id=provider_id)  # as it is now: a sweep may take hours
    if provider is None or provider.paused:
        return [], False
    if provider.circuit_open_until is not None:
        if not is_first:
            return [], True
        if circuit.is_open(provider, now=provider.now):
            return [], False
        size = 1
    seconds = lease_seconds(provider)
    ends = time.monotonic() + seconds
    chosen: dict[uuid.UUID, int] = {}
    with given_back_on_error(chosen, worker, using=alias):
        # A transaction that has begun by reading may not go on to write where there are no such locks.
        with transaction.atomic(using=alias) if choice.locks else nullcontext():
            chosen.update({row.pk: row.generation for row in choice.rows(size)})
            if not chosen:
                return [], False
            reach(Failpoint.BEFORE_LEASE)
            _taking(seconds).run(using=alias, worker=worker, **batch_of(list(chosen)))
        held = [Lease(alias, row, worker, ends) for row in read_leased(list(chosen), worker, provider, using=alias)]
    return [lease for lease in held if _is_as_chosen(lease, chosen)], len(chosen) == size


def _is_as_chosen(lease: Lease, chosen: Mapping[uuid.UUID, int]) -> bool:
    """Tell whether nobody has refreshed the row between choosing and claiming; if somebody has, give it back."""
    token = lease.snapshot.token
    if token.generation == chosen[token.pk]:
        return True
    lease.give_back()
    return False


_PROVIDER = Select(lambda: Provider.objects.filter(id=Slot("id")).annotate(now=DatabaseNow()))


@lru_cache(maxsize=32)
def _taking(seconds: float) -> Update:
    """Return the UPDATE that takes leases of so many seconds, of those rows of a batch that are free."""
    ids: Any = [Slot("id", name) for name in BATCH_NAMES]
    return Update(lambda: (Token.objects.filter(free(), id__in=ids), taking(Slot("lease_owner", "worker"), seconds)))


def refreshed(lease: Lease) -> str:
    """Refresh what was claimed.

    Return ``refreshed``, ``needs_reauthorization``, ``overtaken``, :data:`NOT_SERVED`, or an error code.
    """
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
    if left < min(SHORTEST_LEASE, lease_seconds(snapshot.provider) / 2):
        lease.give_back()
        return "overtaken"
    try:
        check_servable(snapshot)
    except Disconnected as reason:
        lease.put_off(reason.code)
        return NOT_SERVED
    if not snapshot.connection.is_active or not snapshot.renewable:
        lease.put_off("not_renewable")
        return NOT_SERVED
    try:
        circuit.admit(lease)
    except TokenUnavailable:
        lease.give_back()
        raise
    try:
        is_ours = attempt(lease, seconds=deadline_left(lease))
    except (OAuthFlowsError, Error):  # noted where they were met
        raise
    except Exception:
        lease.release(failure="internal_error", answered=False)
        raise
    return "refreshed" if is_ours else "overtaken"
