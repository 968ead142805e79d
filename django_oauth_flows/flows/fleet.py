"""The fleet: refresh whatever is due, in any number of workers, each row once.

A worker claims as many rows of a provider as it can ask for at once, in one UPDATE, and refreshes them side by side by the
same steps as a call does. It is run by cron, a task queue or a person; there is no scheduler here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import Exists, OuterRef, Q

from django_oauth_flows.exceptions import CannotPersist
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows import circuit
from django_oauth_flows.flows.claiming import NOT_SERVED, Choice, claim, refreshed
from django_oauth_flows.flows.counting import counting_at_once
from django_oauth_flows.flows.crew import Crew
from django_oauth_flows.flows.durable import in_callers_transaction
from django_oauth_flows.flows.lease import free
from django_oauth_flows.flows.pace import Pace
from django_oauth_flows.managers import OWN_GRANTS, model_label
from django_oauth_flows.models import Connection, Provider, Token

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet

    from django_oauth_flows.flows.lease import Lease

WORKERS = 8
"""How many refreshes one process has under way at once."""

FAILURES = 3
"""After so many failures in a row a provider is left alone for the rest of a sweep: it is down, or refuses our client."""

_OF_PROVIDER = frozenset(
    {
        "provider_unreachable",
        "rate_limited",
        "outcome_unknown",
        "invalid_client",
        "unauthorized_client",
        "circuit_open",
        "provider_redirect",
        "bad_response",
        "bad_token",
    }
)
"""The codes that say something about the provider, and not about one connection."""


@dataclass(slots=True)
class Sweep:
    """What became of one provider's due connections; ``failures`` counts the error codes of what failed for now."""

    provider: Provider
    started: datetime  # by the database's clock
    pace: Pace = field(default_factory=Pace)  # that of all sweeps of this process
    refreshed: int = 0
    needs_reauthorization: int = 0
    overtaken: int = 0  # ended, or left to another worker, meanwhile
    failures: Counter[str] = field(default_factory=Counter)
    is_given_up: bool = False
    under_way: set[Lease] = field(default_factory=set)
    retries: bool = False  # what failed before comes last: it may be failing for good
    _in_a_row: int = 0
    _choice: Choice | None = None
    _passed_over: list[UUID] = field(default_factory=list)  # connections on whose rows no outcome is noted

    @property
    def failed(self) -> int:
        """Return how many could not be refreshed for now; they keep their tokens, and are tried again."""
        return self.failures.total()

    def note(self, done: Lease, outcome: str) -> None:
        """Count what became of one: the name of a counter above, or an error code."""
        self.under_way.discard(done)
        if outcome == NOT_SERVED:  # it has been put off: nobody meets it again today
            self.overtaken += 1
            return
        if outcome in ("overtaken", "storage_unavailable", "internal_error"):
            self._passed_over.append(done.snapshot.connection.pk)
            self._choice = None
        if outcome in ("refreshed", "needs_reauthorization", "overtaken"):
            setattr(self, outcome, getattr(self, outcome) + 1)
            self._in_a_row = 0
            return
        self.failures[outcome] += 1
        of_provider = outcome in _OF_PROVIDER and not self.provider.has_many_hosts
        if of_provider or outcome == "storage_unavailable":
            self._in_a_row += 1
            self.is_given_up = self.is_given_up or self._in_a_row >= FAILURES

    def claim(self, size: int, within: timedelta) -> tuple[list[Lease], bool]:
        """Claim at most so many; return them, and whether more may be due. Nothing is tried twice in a sweep."""
        if self._choice is None:
            self._choice = Choice(self._due(within))
        size = self.pace.allow(size)
        claims, more = claim(self._choice, self.provider.pk, size=size, is_first=not self.under_way)
        self.pace.note(len(claims))
        if more or self.retries:
            return claims, more
        self.retries, self._choice = True, None
        return claims, True

    def _due(self, within: timedelta) -> QuerySet[Token]:
        untouched = Q(last_refreshed_at=None) | Q(last_refreshed_at__lt=self.started)  # some are due again at once
        unfailed = Q(last_failure_at=None) | Q(last_failure_at__lt=self.started)
        order = {"failure_count__gt": 0} if self.retries else {"failure_count": 0}
        rows = _pickable(self.provider, within).filter(untouched, unfailed, **order)
        return rows.exclude(connection_id__in=self._passed_over) if self._passed_over else rows


def due(*, provider: Provider | None = None, within: timedelta = timedelta(0)) -> QuerySet[Token]:
    """Return the tokens whose refresh is due, or will be ``within`` that time, and may be tried now.

    None that may not be served, that somebody is refreshing, or that failed a moment ago.
    """
    user_label = model_label(get_user_model())
    return _pickable(provider, within).filter(
        circuit.closed("connection__provider"),
        Q(refresh_token__isnull=False) | Q(connection__grant_type__in=OWN_GRANTS),
        ~Q(connection__owner_model=user_label, connection__user__is_active=False),
        connection__status=Connection.Status.ACTIVE,
        connection__paused=False,
        connection__provider__paused=False,
    )


def _pickable(provider: Provider | None, within: timedelta) -> QuerySet[Token]:
    """Return what is due as far as the row itself says: an index finds it among any number of rows.

    The rest is looked at once it is claimed, and what may not be served is put off, so that nobody passes over it again
    and again.
    """
    rows = Token.objects.using(router.db_for_write(Token)).filter(free(), next_refresh_at__lte=DatabaseNow() + within)
    return rows if provider is None else rows.filter(provider=provider)


@counting_at_once
def refresh_due(
    *,
    provider: Provider | None = None,
    within: timedelta = timedelta(0),
    workers: int = WORKERS,
    rate: float | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Sweep]:
    """Refresh what is due, once, with ``workers`` refreshes at a time; return what became of it, by provider.

    ``provider``: the only one to look at. ``within``: also what falls due that soon. ``rate``: how many may begin in a
    second at most, at all providers together. ``advance`` is called with the number of connections just dealt with.
    At one provider, at most its ``max_concurrency`` are under way in this process. Any number of processes may sweep at
    once. Raises :class:`CannotPersist` inside of a transaction, and ``ValueError`` for less than one worker, or a rate
    that is not a number more than 0.
    """
    if workers < 1:
        raise ValueError("it takes at least one worker")
    pace = Pace(rate)
    if in_callers_transaction():
        raise CannotPersist(
            "A sweep asks many providers; it cannot be a part of a transaction.", hint="Leave it first."
        )
    sweeps = [Sweep(row, row.now, pace) for row in _providers_due(provider, within)]
    # No more threads, each with a connection to the database, than there is work for.
    size = min(workers, sum(_count(row.provider, within, at_most=workers) for row in sweeps))
    if size <= 1:  # in this thread: a test's own transaction is not seen by others
        for sweep in sweeps:
            _one_by_one(sweep, within=within, advance=advance)
        return sweeps
    crew = Crew(size, alias=router.db_for_write(Token))
    try:
        _side_by_side(sweeps, crew, within=within, advance=advance)
    finally:
        crew.dismiss()
    return sweeps


def _providers_due(provider: Provider | None, within: timedelta) -> list[Any]:
    """Return the providers of what is due, with the database's ``now``."""
    rows = Provider.objects.using(router.db_for_write(Provider)).annotate(now=DatabaseNow()).order_by("slug")
    chosen = rows if provider is None else rows.filter(pk=provider.pk)
    return list(chosen.filter(Exists(due(within=within).filter(provider=OuterRef("pk")))))


def _count(provider: Provider, within: timedelta, *, at_most: int) -> int:
    return len(due(provider=provider, within=within).order_by().values_list("pk", flat=True)[:at_most])


def _one_by_one(sweep: Sweep, *, within: timedelta, advance: Callable[[int], None]) -> None:
    more = True
    while more and not sweep.is_given_up:
        claims, more = sweep.claim(1, within)
        for found in claims:
            sweep.note(found, refreshed(found))
            advance(1)


def _side_by_side(sweeps: list[Sweep], crew: Crew, *, within: timedelta, advance: Callable[[int], None]) -> None:
    """Keep the crew busy until nothing is left to claim."""
    left = list(sweeps)
    while left or any(sweep.under_way for sweep in sweeps):
        # The one with the least under way comes first, so that a slow provider does not keep the others waiting.
        for sweep in sorted(left, key=lambda sweep: len(sweep.under_way)):
            idle = crew.ready - sum(len(other.under_way) for other in sweeps)
            if not _hand_out(sweep, crew, idle=idle, share=max(1, crew.ready // len(left)), within=within):
                left.remove(sweep)
        if crew.is_ready and not any(sweep.under_way for sweep in sweeps):
            continue  # nobody would have any news
        done, outcome = crew.hear()
        if done is not None:
            next(sweep for sweep in sweeps if done in sweep.under_way).note(done, outcome)
            advance(1)


def _hand_out(sweep: Sweep, crew: Crew, *, idle: int, share: int, within: timedelta) -> bool:
    """Claim for those who are idle what the provider can take; False if nothing of it is left to be claimed."""
    if sweep.is_given_up:
        return False
    cap = min(share, max(1, sweep.provider.max_concurrency))
    wanted = min(idle, cap - len(sweep.under_way))
    if wanted < max(1, cap // 3):  # to claim one at a time would cost as much as to refresh it
        return True
    claims, more = sweep.claim(wanted, within)
    for found in claims:
        sweep.under_way.add(found)
        crew.hand(found)
    return more
