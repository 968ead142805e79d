"""After an outage everything is due at once, and the provider still meets no herd."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows import flows
from django_oauth_flows.models import Token
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import make_connection, make_provider, shift_expiry
from django_oauth_flows.testing.faults import write

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    """Answer as usual, and note when each request arrived."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.lock = threading.Lock()

    def play(self, handler: Any, normal: Callable[[], Answer]) -> None:
        with self.lock:
            self.arrivals.append(time.monotonic())
        write(handler, normal())


def make_due(provider: Provider, user: User, fake: FakeProvider, count: int) -> None:
    for number in range(count):
        connection = make_connection(provider, user, fake, subject=f"account-{number}")
        shift_expiry(connection, timedelta(seconds=-1))


@pytest.mark.security("V04")
@pytest.mark.parametrize(("rate", "workers", "count"), [(4.0, 8, 12), (4.0, 1, 8), (2.5, 4, 4)])
def test_no_more_arrive_than_the_rate_allows(
    rate: float, workers: int, count: int, user: User, fake: FakeProvider
) -> None:
    clock = Clock()
    for slug in ("one", "two"):  # it is that of the process
        make_due(make_provider(fake, slug=slug), user, fake, count // 2)
    fake.script("token", *[clock] * count)
    began = time.monotonic()
    sweeps = flows.refresh_due(rate=rate, workers=workers)
    assert sum(sweep.refreshed for sweep in sweeps) == len(clock.arrivals) == count
    at_once = max(1, rate / 4)
    for number, arrival in enumerate(clock.arrivals, start=1):
        # However late each may be, none is early.
        assert number <= rate * (arrival - began) + at_once + 0.5


@pytest.mark.security("V04")
def test_what_failed_in_an_outage_comes_back_at_times_of_its_own(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    make_due(provider, user, fake, 3)
    fake.script("token", *[Answer(503, "down")] * 3)
    flows.refresh_due(workers=1)
    waits = [token.not_before - token.last_failure_at for token in Token.objects.all()]
    assert len(set(waits)) == 3
    assert all(timedelta(seconds=1) <= wait <= timedelta(seconds=2) for wait in waits)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_is_a_number_more_than_nothing(rate: float) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        flows.refresh_due(rate=rate)
