"""The fleet: refresh whatever is due, in any number of workers, each row once.

A worker claims as many rows of a provider as it can ask for at once, in one UPDATE, and refreshes them side by side by the
same steps as a call does. It is run by cron, a task queue or a person; there is no scheduler here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db import Error, connections, router
from django.db.models import Q

from django_oauth_flows.exceptions import (
    CannotPersist,
    Disconnected,
    OAuthFlowsError,
    ReauthorizationRequiredError,
)
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.durable import in_callers_transaction
from django_oauth_flows.flows.history import logger
from django_oauth_flows.flows.lease import claim, deadline_seconds, free
from django_oauth_flows.flows.refreshing import attempt
from django_oauth_flows.flows.snapshot import check_servable
from django_oauth_flows.managers import model_label
from django_oauth_flows.models import Connection, Provider, Token

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.db.models import QuerySet

    from django_oauth_flows.flows.lease import Claim

WORKERS = 8
"""How many refreshes one process has under way at once."""

FAILURES = 3
"""After so many failures in a row a provider is left alone for the rest of a sweep: it is down, or refuses our client."""


@dataclass(slots=True)
class Sweep:
    """What became of one provider's due connections; ``failures`` counts the error codes of what failed for now."""

    provider: Provider
    started: datetime  # by the database's clock
    refreshed: int = 0
    needs_reauthorization: int = 0
    overtaken: int = 0  # ended, or refreshed by another worker, meanwhile
    failures: Counter[str] = field(default_factory=Counter)
    failed_in_a_row: int = 0
    under_way: int = 0

    @property
    def failed(self) -> int:
        """Return how many could not be refreshed for now; they keep their tokens, and are tried again."""
        return self.failures.total()

    @property
    def is_given_up(self) -> bool:
        """Tell whether the provider has failed too often to go on asking."""
        return self.failed_in_a_row >= FAILURES

    def note(self, outcome: str) -> None:
        """Count one outcome: the name of a counter above, or an error code."""
        succeeded = outcome in ("refreshed", "needs_reauthorization", "overtaken")
        if succeeded:
            setattr(self, outcome, getattr(self, outcome) + 1)
        else:
            self.failures[outcome] += 1
        self.failed_in_a_row = 0 if succeeded else self.failed_in_a_row + 1


def due(*, provider: Provider | None = None, within: timedelta = timedelta(0)) -> QuerySet[Token]:
    """Return the tokens whose refresh is due, or will be ``within`` that time, and may be tried now.

    None that may not be served, that somebody is refreshing, or that failed a moment ago.
    """
    user_label = model_label(get_user_model())
    rows = Token.objects.using(router.db_for_write(Token)).filter(
        free(),
        Q(refresh_token__isnull=False) | Q(connection__grant_type=Connection.GrantType.CLIENT_CREDENTIALS),
        ~Q(connection__owner_model=user_label, connection__user__is_active=False),
        next_refresh_at__lte=DatabaseNow() + within,
        connection__status=Connection.Status.ACTIVE,
        connection__paused=False,
        connection__provider__paused=False,
    )
    return rows if provider is None else rows.filter(connection__provider=provider)


def _left(sweep: Sweep, within: timedelta) -> QuerySet[Token]:
    """Return what is due and has not been tried in this sweep: some tokens are due again as soon as they are there."""
    untouched = Q(last_refreshed_at=None) | Q(last_refreshed_at__lt=sweep.started)
    unfailed = Q(last_failure_at=None) | Q(last_failure_at__lt=sweep.started)
    return due(provider=sweep.provider, within=within).filter(untouched, unfailed)


def refresh_due(
    *,
    provider: Provider | None = None,
    within: timedelta = timedelta(0),
    workers: int = WORKERS,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Sweep]:
    """Refresh what is due, once, with ``workers`` refreshes at a time; return what became of it, by provider.

    ``provider``: the only one to look at. ``within``: also what falls due that soon. ``advance`` is called with
    the number of connections just dealt with. At one provider, at most its ``max_concurrency`` are under way in this
    process. Any number of processes may sweep at once. Raises :class:`CannotPersist` inside of a transaction.
    """
    if in_callers_transaction():
        raise CannotPersist(
            "A sweep asks many providers; it cannot be a part of a transaction.", hint="Leave it first."
        )
    sweeps = [Sweep(row, row.now) for row in _providers_due(provider, within)]
    if workers == 1:  # in this thread: a test's own transaction is not seen by others
        for sweep in sweeps:
            _one_by_one(sweep, within=within, advance=advance)
        return sweeps
    crew = _Crew(workers)
    try:
        _side_by_side(sweeps, crew, workers=workers, within=within, advance=advance)
    finally:
        crew.dismiss()
    return sweeps


def _providers_due(provider: Provider | None, within: timedelta) -> list[Any]:
    """Return the providers of what is due, with the database's ``now``."""
    ids = due(provider=provider, within=within).order_by().values_list("connection__provider_id", flat=True).distinct()
    rows = Provider.objects.using(router.db_for_write(Provider)).filter(pk__in=list(ids)).annotate(now=DatabaseNow())
    return list(rows.order_by("slug"))


def _one_by_one(sweep: Sweep, *, within: timedelta, advance: Callable[[int], None]) -> None:
    while not sweep.is_given_up and (claims := claim(_left(sweep, within), sweep.provider, size=1)):
        sweep.note(_refresh(claims[0]))
        advance(1)


def _side_by_side(
    sweeps: list[Sweep], crew: _Crew, *, workers: int, within: timedelta, advance: Callable[[int], None]
) -> None:
    """Keep the crew busy, the providers in turn, until nothing is left to claim."""
    left = list(sweeps)
    while left or any(sweep.under_way for sweep in sweeps):
        for sweep in [*left]:
            if sweep.is_given_up:
                left.remove(sweep)
                continue
            cap = min(workers, sweep.provider.max_concurrency)
            size = min(workers - sum(other.under_way for other in sweeps), cap - sweep.under_way)
            if size < max(1, cap // 4):  # to claim one at a time would cost as much as to refresh it
                continue
            claims = claim(_left(sweep, within), sweep.provider, size=size)
            for found in claims:
                crew.hand(sweep, found)
            if len(claims) < size:
                left.remove(sweep)
        if any(sweep.under_way for sweep in sweeps):
            crew.await_one()
            advance(1)


class _Crew:
    """Threads that refresh what they are handed, each with a database connection of its own."""

    def __init__(self, size: int) -> None:
        self._todo: SimpleQueue[tuple[Sweep, Claim] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[Sweep, str]] = SimpleQueue()
        self._threads = [Thread(target=self._work, name=f"oauth_flows_refresh_{n}") for n in range(size)]
        for thread in self._threads:
            thread.start()

    def hand(self, sweep: Sweep, found: Claim) -> None:
        sweep.under_way += 1
        self._todo.put((sweep, found))

    def await_one(self) -> None:
        sweep, outcome = self._done.get()
        sweep.under_way -= 1
        sweep.note(outcome)

    def dismiss(self) -> None:
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        try:
            while (task := self._todo.get()) is not None:
                sweep, found = task
                self._done.put((sweep, _refresh(found)))
        finally:
            connections.close_all()  # this thread's; nobody else would


def _refresh(found: Claim) -> str:
    """Refresh what was claimed; return a counter's name, or the code of what stands in the way."""
    try:
        return _refresh_claimed(found)
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


def _refresh_claimed(found: Claim) -> str:
    lease = found.lease()
    if lease is None:
        return "overtaken"
    try:
        check_servable(lease.snapshot)
    except Disconnected as reason:
        lease.release(failure=reason.code, answered=True)
        raise
    after = attempt(lease, seconds=deadline_seconds(lease.snapshot.provider))
    return "refreshed" if after.token.generation == lease.snapshot.token.generation + 1 else "overtaken"
