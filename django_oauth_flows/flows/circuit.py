"""The circuit of a provider: when several refreshes in a row fail for its sake, it is left alone for a while.

When the while is over, one caller tries; the others go on without it until that one has an answer. So a provider that is
down costs its users a wait, and nobody else anything, and it is not stormed when it is back.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Case, F, Q, Value, When

from django_oauth_flows.exceptions import TokenUnavailable
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.durable import noted
from django_oauth_flows.models import Provider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from django_oauth_flows.flows.lease import Lease

FAILURES = 5
"""After so many failures in a row a provider is left alone."""

PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds for which it is left alone, and at most, if it asks for more.

Short, and no longer each time: one request a second from a whole site harms nobody, and an outage that ends before a token
does must not be noticed.
"""


def closed(path: str) -> Q:
    """Return what finds rows whose provider, at ``path``, may be asked, or tried again."""
    column = f"{path}__circuit_open_until"
    return Q(**{column: None}) | Q(**{f"{column}__lte": DatabaseNow()})


def is_open(provider: Provider, *, now: datetime) -> bool:
    """Tell whether ``provider`` is to be left alone."""
    return provider.circuit_open_until is not None and provider.circuit_open_until > now


def check(provider: Provider, *, now: datetime) -> None:
    """Raise :class:`TokenUnavailable` (``circuit_open``) while ``provider`` is left alone."""
    if provider.circuit_open_until is not None and is_open(provider, now=now):
        raise _left_alone((provider.circuit_open_until - now).total_seconds())


def admit(lease: Lease) -> None:
    """Let one caller try a provider whose while is over; raise :class:`TokenUnavailable` for all others."""
    provider = lease.snapshot.provider
    if provider.circuit_open_until is None:
        return
    seconds = float(provider.lease_duration)  # if we die, somebody else may try then
    rows = Provider.objects.using(lease.alias).filter(pk=provider.pk, circuit_open_until=provider.circuit_open_until)
    moved: list[int] = []
    noted(lease.alias, lambda: moved.append(rows.update(circuit_open_until=DatabaseNow() + timedelta(seconds=seconds))))
    if not any(moved):
        raise _left_alone(PAUSE)


@contextmanager
def trying(lease: Lease) -> Iterator[None]:
    """Let the next one try if this one, who was admitted, has ended without finding out how the provider is."""
    provider = lease.snapshot.provider
    try:
        yield
    finally:
        if provider.circuit_open_until is not None:
            rows = Provider.objects.using(lease.alias).filter(pk=provider.pk, failure_count=provider.failure_count)
            unchanged = rows.exclude(circuit_open_until=None)  # neither closed nor counted meanwhile
            over = DatabaseNow() - timedelta(milliseconds=1)
            noted(lease.alias, lambda: unchanged.update(circuit_open_until=over))


def close(provider: Provider, *, using: str) -> None:
    """Forget the failures of a provider that has served somebody."""
    if provider.failure_count or provider.circuit_open_until is not None:
        row = Provider.objects.using(using).filter(pk=provider.pk)
        noted(using, lambda: row.update(failure_count=0, circuit_open_until=None))


def note_failure(lease: Lease, *, wait: float) -> None:
    """Count a failure for the provider's sake; leave it alone if it is one too many, at least for ``wait`` seconds."""
    provider = lease.snapshot.provider
    if provider.has_many_hosts:  # a dead one says nothing of the others
        return
    rows = Provider.objects.using(lease.alias).filter(pk=provider.pk)
    opened: Any = DatabaseNow() + timedelta(seconds=_pause(wait))
    if provider.circuit_open_until is None:
        # What was under way when it opened adds nothing.
        rows = rows.filter(circuit_open_until=None)
        opened = Case(When(failure_count__gte=FAILURES - 1, then=opened), default=Value(None))
    # In this order: MySQL and MariaDB go on with what they have just assigned.
    noted(lease.alias, lambda: rows.update(circuit_open_until=opened, failure_count=F("failure_count") + 1))


def _pause(wait: float) -> float:
    return max(PAUSE * random.uniform(0.5, 1.0), min(wait, LONGEST_PAUSE))  # noqa: S311 - jitter, not a secret


def _left_alone(seconds: float) -> TokenUnavailable:
    return TokenUnavailable(
        "The service has failed several times in a row, and is left alone for a while.",
        code="circuit_open",
        retry_after=int(seconds) + 1,
    )
