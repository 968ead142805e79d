"""Count refreshes: every attempt by provider and outcome, in memory, written as one row an hour; metrics, if asked for.

Nothing here is on the fresh path, and nothing is written on a caller's way or in a caller's transaction.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from django.core.signals import request_finished
from django.db import Error, IntegrityError, router, transaction
from django.db.models import F
from django.utils import timezone

from django_oauth_flows.exceptions import Disconnected, OAuthFlowsError, ReauthorizationRequiredError
from django_oauth_flows.flows import instruments
from django_oauth_flows.flows.durable import in_callers_transaction
from django_oauth_flows.flows.history import logger
from django_oauth_flows.models import RefreshCount

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from django_oauth_flows.flows.lease import Lease

P = ParamSpec("P")
R = TypeVar("R")

INTERVAL = 60.0
"""Seconds between two writes by one process."""


class Key(NamedTuple):
    """One row of :class:`RefreshCount`."""

    provider_id: UUID
    hour: datetime
    outcome: str

    def columns(self) -> dict[str, Any]:
        """Return what finds the row."""
        return dict(zip(self._fields, self, strict=True))


class _Counts:
    """Attempts noted since the last write: how many, and how long they took; shared by the threads of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[Key, tuple[int, float]] = {}
        self._written = float("-inf")

    def note(self, key: Key, count: int, seconds: float) -> None:
        with self._lock:
            before = self._pending.get(key, (0, 0.0))
            self._pending[key] = before[0] + count, before[1] + seconds

    def is_empty(self) -> bool:
        return not self._pending

    def is_due(self) -> bool:
        return bool(self._pending) and time.monotonic() - self._written >= INTERVAL

    def take(self) -> dict[Key, tuple[int, float]]:
        with self._lock:
            due, self._pending, self._written = self._pending, {}, time.monotonic()
            return due


_counts = _Counts()


def counted(attempt: Callable[..., bool]) -> Callable[..., bool]:
    """Note how each attempt to refresh has ended, and how many seconds it took."""

    @wraps(attempt)
    def watched(lease: Lease, *, seconds: float) -> bool:
        began, outcome = time.monotonic(), "internal_error"
        try:
            is_ours = attempt(lease, seconds=seconds)
            outcome = "refreshed" if is_ours else "overtaken"
        except OAuthFlowsError as error:
            outcome = _OUTCOMES.get(type(error), error.code)
            raise
        except Error:
            outcome = "storage_unavailable"
            raise
        else:
            return is_ours
        finally:
            _note(lease, outcome, time.monotonic() - began)

    return watched


_OUTCOMES: dict[type[OAuthFlowsError], str] = {
    Disconnected: "overtaken",
    ReauthorizationRequiredError: "needs_reauthorization",
}
"""What a connection may turn out to be; everything else has its error code, of which there are few."""


def counting_at_once(sweep: Callable[P, R]) -> Callable[P, R]:
    """Write what was counted as soon as the sweep is over: its process may have nothing else to do."""

    @wraps(sweep)
    def counted_sweep(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return sweep(*args, **kwargs)
        finally:
            flush()

    return counted_sweep


def flush_if_due(**_: Any) -> None:
    """Write what was counted, if the last time is a minute ago. Runs after a request has been answered."""
    if _counts.is_due():
        flush()


def flush() -> None:
    """Write what was counted; never raises. Not within a caller's transaction, whose rollback would lose it."""
    try:
        if _counts.is_empty() or in_callers_transaction():
            return
    except Error:  # no database: what was counted stays for the next time
        return
    for key, (count, seconds) in _counts.take().items():
        try:
            _add(key, count, seconds)
        except IntegrityError:  # the provider is gone, and its counts with it
            logger.info("oauth_flows.counts_not_recorded", extra={"provider": str(key.provider_id)})
        except Error:  # a broken connection's is not a DatabaseError
            _counts.note(key, count, seconds)
            logger.info("oauth_flows.counts_not_recorded", extra={"provider": str(key.provider_id)})


def _add(key: Key, count: int, seconds: float) -> None:
    """Add to the row of the hour; whoever finds none makes it, and of two who do, one comes back to add."""
    alias = router.db_for_write(RefreshCount)
    row = RefreshCount.objects.using(alias).filter(**key.columns())
    more = {"count": F("count") + count, "seconds": F("seconds") + seconds}
    if row.update(**more):
        return
    try:
        with transaction.atomic(using=alias):
            RefreshCount.objects.using(alias).create(**key.columns(), count=count, seconds=seconds)
    except IntegrityError:
        if not row.update(**more):
            raise


def _note(lease: Lease, outcome: str, seconds: float) -> None:
    provider, hour = lease.snapshot.provider, timezone.now().replace(minute=0, second=0, microsecond=0)
    _counts.note(Key(provider.pk, hour, outcome[:40]), 1, seconds)
    instruments.observe(provider=provider.slug, outcome=outcome, seconds=seconds)


def _forget() -> None:
    """Start anew in a forked child: what its parent has counted, its parent writes."""
    global _counts  # noqa: PLW0603 - a lock that another thread held at the fork would stay locked
    _counts = _Counts()


request_finished.connect(flush_if_due, dispatch_uid="oauth_flows.counting")
atexit.register(flush)
os.register_at_fork(after_in_child=_forget)
