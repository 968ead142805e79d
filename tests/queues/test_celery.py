"""The flows as Celery tasks, on real brokers, with real workers, beside sweeps of the command."""

from __future__ import annotations

import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection as database

from django_oauth_flows.models import Connection, Token
from django_oauth_flows.testing import Delay
from django_oauth_flows.testing.factories import make_connection, shift_expiry
from tests.plugins.canaries import find

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider
    from tests.queues.conftest import Queue

pytestmark = pytest.mark.django_db(transaction=True)

SWEEPER = """
import tests.queues.site, django
django.setup()
from django.core.management import call_command
print("set", flush=True)
input()
call_command("refresh_connections", "--workers=4", skip_checks=True)
"""


def make_due(provider: Provider, user: User, fake: FakeProvider, count: int) -> list[Connection]:
    """Return connections whose tokens have expired."""
    made = [make_connection(provider, user, fake, subject=f"account-{number}") for number in range(count)]
    for connection in made:
        shift_expiry(connection, timedelta(seconds=-1))
    return made


def wait_until(condition: Callable[[], bool], *, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.security("F01", "F17")
def test_two_beats_four_workers_and_two_sweeps_at_once_refresh_each_connection_once(
    queue: Queue, provider: Provider, user: User, fake: FakeProvider
) -> None:
    count = 80 if database.vendor == "sqlite" else 300
    make_due(provider, user, fake, count)
    fake.script("token", *[Delay(0.05)] * count)
    worker, sweepers = queue.work(concurrency=4), [queue.start("-c", SWEEPER) for _ in range(2)]
    for sweeper in sweepers:
        queue.wait_for("set", sweeper)
    for number in range(2):
        schedule = str(queue.folder / f"schedule-{number}")
        queue.start("-m", "celery", "-A", "tests.queues.site", "beat", f"--schedule={schedule}")
    wait_until(lambda: fake.count("token") > 0)
    for sweeper in sweepers:
        assert sweeper.stdin is not None
        sweeper.stdin.write(b"\n")
        sweeper.stdin.flush()
    assert [sweeper.wait(120) for sweeper in sweepers] == [0, 0], [queue.log_of(s)[-2000:] for s in sweepers]
    wait_until(lambda: not Token.objects.filter(generation=1, connection__status="active").exists())

    assert fake.count("token") == count
    assert all(grant.alive for grant in fake.oauth2.grants)  # none of them was presented twice
    assert set(Token.objects.values_list("generation", "lease_owner", "attempt_id", "attempt_count")) == {
        (2, None, None, 0)
    }
    wait_until(lambda: sum(refreshed_by(queue, worker, sweepers)) == count, seconds=30)
    assert sum(share > 0 for share in refreshed_by(queue, worker, sweepers)) > 1  # they did work side by side
    for process in queue.processes:
        assert find("log", queue.log_of(process)) == []


def refreshed_by(queue: Queue, worker: Any, sweepers: list[Any]) -> list[int]:
    """Return how many each sweep has refreshed, as its result or table says."""
    by_tasks = re.findall(r"succeeded in .*'refreshed': (\d+)", queue.log_of(worker))
    by_command = [re.findall(r"^fake +(\d+)", queue.log_of(sweeper), re.MULTILINE) for sweeper in sweepers]
    return [int(found) for found in [*by_tasks, *(row for rows in by_command for row in rows)]]


@pytest.mark.security("S07", "L01")
def test_a_broker_holds_ids_and_counts_and_no_secret(
    queue: Queue, provider: Provider, user: User, fake: FakeProvider
) -> None:
    made = make_due(provider, user, fake, 3)
    results = [
        queue.send("refresh_connection", str(made[0].pk)),
        queue.send("refresh_connections", provider="fake", workers=2, rate=50),
        queue.send("refresh_connections", provider="fake", workers=2, rate=50),  # delivered twice
        queue.send("work_off_revocations"),
        queue.send("prune_oauth_flows", batch_size=10),
    ]
    waiting = queue.stored()
    assert sum(b"django_oauth_flows.tasks" in message for message in waiting) == len(results)
    worker = queue.work(concurrency=1)
    one, swept, again, revoked, pruned = (result.get(timeout=60) for result in results)
    assert one["refreshed"]
    assert one["expires_at"] > "2000"
    assert swept == {"fake": {"refreshed": 2, "needs_reauthorization": 0, "overtaken": 0, "failed": 0}}
    assert again == {}
    assert revoked == 0
    assert pruned["connection_events"] == 0
    assert fake.count("token") == 3
    assert [find("broker", message) for message in [*waiting, *queue.stored()] if find("broker", message)] == []
    assert find("log", queue.log_of(worker)) == []


def test_a_grant_that_is_over_fails_its_task_and_says_so_without_a_secret(
    queue: Queue, connection: Connection, fake: FakeProvider
) -> None:
    fake.oauth2.grants[0].alive = False
    result = queue.send("refresh_connection", str(connection.pk))
    worker = queue.work(concurrency=1)
    error = result.get(timeout=60, propagate=False)
    assert result.state == "FAILURE"
    assert "no longer accepts this grant" in str(error)
    connection.refresh_from_db()
    assert (connection.status, connection.reason) == ("reauthorization_required", "invalid_grant")
    assert [find("broker", message) for message in queue.stored() if find("broker", message)] == []
    assert find("log", queue.log_of(worker) + str(result.traceback)) == []


def test_one_connection_that_is_asked_for_twice_at_once_presents_no_token_twice(
    queue: Queue, connection: Connection, fake: FakeProvider
) -> None:
    fake.script("token", Delay(1.5))
    results = [queue.send("refresh_connection", str(connection.pk)) for _ in range(2)]
    queue.work(concurrency=2)
    refreshed = [result.get(timeout=60)["refreshed"] for result in results]
    assert any(refreshed)
    assert fake.oauth2.grants[0].alive
    assert fake.count("token") == Token.objects.get().generation - 1


def test_a_time_limit_ends_a_sweep_between_two_connections_and_the_next_goes_on(
    queue: Queue, provider: Provider, user: User, fake: FakeProvider
) -> None:
    make_due(provider, user, fake, 30)
    fake.script("token", *[Delay(0.4)] * 30)
    stopped = queue.send("refresh_connections", workers=2, limit=2)
    queue.work(concurrency=1)
    assert type(stopped.get(timeout=60, propagate=False)).__name__ == "SoftTimeLimitExceeded"
    assert 0 < fake.count("token") < 30
    assert not Token.objects.exclude(lease_owner=None).exists()
    assert queue.send("refresh_connections").get(timeout=60)["fake"]["failed"] == 0
    assert fake.count("token") == 30
    assert set(Token.objects.values_list("generation", flat=True)) == {2}
    assert all(grant.alive for grant in fake.oauth2.grants)
