"""A sweep refreshes whatever is due, each connection once, however many workers are at it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError, connections, transaction
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from django_oauth_flows import flows
from django_oauth_flows.exceptions import CannotPersist, TokenUnavailable
from django_oauth_flows.fields import Ciphertext, DatabaseNow
from django_oauth_flows.flows.claiming import Choice, claim, refreshed
from django_oauth_flows.flows.fleet import FAILURES, due
from django_oauth_flows.flows.lease import deadline_left
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.signals import connection_refreshed
from django_oauth_flows.testing import Answer, Delay
from django_oauth_flows.testing.factories import make_connection, make_provider, shift_expiry
from django_oauth_flows.testing.faults import write

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def make_due(provider: Provider, user: User, fake: FakeProvider, count: int) -> list[Connection]:
    """Return connections whose tokens have expired."""
    made = [make_connection(provider, user, fake, subject=f"account-{number}") for number in range(count)]
    for connection in made:
        shift_expiry(connection, timedelta(seconds=-1))
    return made


def test_what_is_due_is_refreshed_and_everything_else_left_alone(
    provider: Provider, user: User, make_user: Callable[..., User], fake: FakeProvider
) -> None:
    made = {name: make_connection(provider, user, fake, subject=name) for name in ("due", "fresh", "paused", "lost")}
    away = make_connection(provider, make_user("away", is_active=False), fake, subject="away")
    static = make_connection(make_provider(fake, slug="fake1", protocol="oauth1"), user, fake)
    stopped = make_connection(make_provider(fake, slug="stopped"), user, fake)
    Provider.objects.filter(slug="stopped").update(paused=True)
    for connection in (made["due"], made["paused"], made["lost"], away, static, stopped):
        shift_expiry(connection, timedelta(seconds=-1))
    Connection.objects.filter(pk=made["paused"].pk).update(paused=True)
    Token.objects.filter(connection=made["lost"]).update(refresh_token=None)
    (sweep,) = flows.refresh_due()
    assert (sweep.provider, sweep.refreshed, sweep.failed) == (provider, 1, 0)
    assert fake.count("token") == 1
    assert not due().exists()
    assert flows.access_token(made["due"])
    assert fake.count("token") == 1  # it is fresh
    assert flows.refresh_due() == []


def test_what_falls_due_soon_is_refreshed_on_request(provider: Provider, user: User, fake: FakeProvider) -> None:
    connection = make_connection(provider, user, fake)
    Token.objects.update(next_refresh_at=DatabaseNow() + timedelta(minutes=30))
    assert flows.refresh_due(within=timedelta(minutes=29)) == []
    (sweep,) = flows.refresh_due(within=timedelta(minutes=31))
    assert sweep.refreshed == 1
    assert Token.objects.get(connection=connection).generation == 2


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("lifetime", [3600, 0, -5])
def test_a_token_that_is_due_again_at_once_is_refreshed_once_in_a_sweep(
    lifetime: int, workers: int, provider: Provider, user: User, fake: FakeProvider
) -> None:
    make_due(provider, user, fake, 3)
    fake.oauth2.expires_in = lifetime
    (sweep,) = flows.refresh_due(within=timedelta(days=1), workers=workers)
    assert (sweep.refreshed, fake.count("token")) == (3, 3)


def test_one_provider_can_be_swept_alone(provider: Provider, user: User, fake: FakeProvider) -> None:
    other = make_provider(fake, slug="other")
    make_due(provider, user, fake, 2)
    make_due(other, user, fake, 3)
    (sweep,) = flows.refresh_due(provider=other)
    assert (sweep.provider, sweep.refreshed) == (other, 3)
    assert due().count() == 2


@pytest.mark.security("F01", "F05", "F17")
def test_several_sweeps_at_once_refresh_each_connection_once(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    made = make_due(provider, user, fake, 12)
    fake.script("token", *[Delay(0.1)] * 12)
    sweeps: list[Any] = []

    def run() -> None:
        try:
            sweeps.extend(flows.refresh_due(workers=3))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert fake.count("token") == 12
    assert sum(sweep.refreshed for sweep in sweeps) == 12
    assert [sweep.failed for sweep in sweeps if sweep.failed] == []
    assert set(Token.objects.values_list("generation", "lease_owner", "attempt_id", "attempt_count")) == {
        (2, None, None, 0)
    }
    for connection in made:
        with flows.session(connection) as http:
            assert http.get("/echo").status_code == 200
    assert fake.count("token") == 12


class Crowd:
    """Answer as usual after a while, and note how many were waiting at once."""

    def __init__(self) -> None:
        self.now, self.most, self.lock = 0, 0, threading.Lock()

    def play(self, handler: Any, normal: Callable[[], Answer]) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        threading.Event().wait(0.1)
        with self.lock:
            self.now -= 1
        write(handler, normal())


@pytest.mark.security("F17")
@pytest.mark.parametrize(("cap", "workers", "expected"), [(2, 6, 2), (8, 3, 3), (8, 1, 1)])
def test_a_provider_is_asked_by_so_many_at_once(
    cap: int, workers: int, expected: int, user: User, fake: FakeProvider
) -> None:
    provider, crowd = make_provider(fake, max_concurrency=cap), Crowd()
    make_due(provider, user, fake, 8)
    fake.script("token", *[crowd] * 8)
    (sweep,) = flows.refresh_due(workers=workers)
    assert (sweep.refreshed, crowd.most) == (8, expected)


def test_a_provider_that_is_down_is_left_alone_and_nobody_has_to_reconnect(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    make_due(provider, user, fake, 10)
    healthy = make_provider(fake, slug="other")
    make_due(healthy, user, fake, 2)
    fake.script("token", *[Answer(503, "down")] * FAILURES)
    down, up = flows.refresh_due(workers=1)
    assert (down.failures, down.refreshed, down.is_given_up) == ({"provider_unreachable": FAILURES}, 0, True)
    assert (up.provider, up.refreshed) == (healthy, 2)
    assert set(Connection.objects.values_list("status", flat=True)) == {"active"}
    Token.objects.filter(generation=1).update(not_before=None, next_refresh_at=DatabaseNow())  # later
    (again,) = flows.refresh_due()
    assert (again.refreshed, again.failed) == (10, 0)


@pytest.mark.security("F17")
def test_what_has_failed_is_in_nobodys_way_until_it_may_be_tried_again(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    make_due(provider, user, fake, 1)
    fake.script("token", Answer(503, "down", headers={"Retry-After": "600"}))
    flows.refresh_due()
    token = Token.objects.get()
    assert token.not_before is not None
    assert token.next_refresh_at == token.not_before
    Token.objects.update(next_refresh_at=None, not_before=None)  # out of the schedule, as after a restore
    fake.script("token", Answer(503, "down"))
    with pytest.raises(TokenUnavailable):
        flows.refresh(token.connection)
    assert Token.objects.get().next_refresh_at is None


def test_a_failure_in_between_gives_no_provider_up(provider: Provider, user: User, fake: FakeProvider) -> None:
    make_due(provider, user, fake, 6)
    down, normal = Answer(503, "down"), Delay(0)
    fake.script("token", down, down, normal, down, down, normal)
    (sweep,) = flows.refresh_due(workers=1)
    assert (sweep.refreshed, sweep.failed, sweep.is_given_up) == (2, 4, False)


def test_a_grant_that_is_over_asks_for_its_user_and_stops_nobody_else(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    make_due(provider, user, fake, 3)
    fake.oauth2.grants[0].alive = False
    lost = Token.objects.order_by("pk").last()
    Token.objects.filter(pk=lost.pk).update(refresh_token=Ciphertext("v1.none.AAAA"))
    (sweep,) = flows.refresh_due(workers=1)
    marked = Connection.objects.filter(status="reauthorization_required")
    expected = 2 if lost.connection.subject != "account-0" else 1
    assert (sweep.needs_reauthorization, sweep.refreshed, sweep.failed) == (expected, 3 - expected, 0)
    assert marked.count() == expected
    assert flows.refresh_due() == []


@pytest.mark.security("F07")
def test_what_a_killed_worker_had_claimed_is_refreshed_when_its_lease_ends(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    make_due(provider, user, fake, 2)
    assert len(claim(Choice(due()), provider.pk, size=8)[0]) == 2  # and then it is killed
    assert flows.refresh_due() == []
    Token.objects.update(lease_expires_at=DatabaseNow() - timedelta(seconds=1))
    (sweep,) = flows.refresh_due()
    assert sweep.refreshed == 2
    assert fake.count("token") == 2


@pytest.mark.security("D06")
def test_what_was_paused_between_choosing_and_reading_is_given_back(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    (connection,) = make_due(provider, user, fake, 1)

    running = [True]

    def pause(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and running:
            running.clear()
            Connection.objects.filter(pk=connection.pk).update(paused=True)
        return execute(sql, *rest)

    with database.execute_wrapper(pause):
        ((found,), _) = claim(Choice(due()), provider.pk, size=1)
    assert refreshed(found) == "not_served"
    token = Token.objects.get()
    assert (token.lease_owner, token.attempt_count, fake.count("token")) == (None, 0, 0)


def test_an_owner_who_may_not_be_served_is_passed_over_and_looked_at_later(
    provider: Provider, user: User, make_user: Callable[..., User], fake: FakeProvider, settings: Any
) -> None:
    (connection,) = make_due(provider, user, fake, 1)
    away = make_user("away", is_active=False)
    # It was given to somebody who is not who consented: only a look at them tells that they may not be served.
    Connection.objects.filter(pk=connection.pk).update(owner_id=str(away.pk))
    (sweep,) = flows.refresh_due()
    assert (sweep.overtaken, fake.count("token")) == (1, 0)
    token = Token.objects.get()
    assert (token.lease_owner, token.attempt_count, token.last_failure) == (None, 0, "owner_inactive")
    assert flows.refresh_due() == []
    Connection.objects.filter(pk=connection.pk).update(owner_id=str(user.pk))  # whom its tokens open for
    shift_expiry(connection, timedelta(days=-1))  # the next day
    (sweep,) = flows.refresh_due()
    assert sweep.refreshed == 1


def test_a_row_that_nobody_expected_stops_nobody_else(provider: Provider, user: User, fake: FakeProvider) -> None:
    broken = make_provider(fake, slug="broken", dialect={"token_parameters": 5})
    make_due(broken, user, fake, 2)
    make_due(provider, user, fake, 2)
    sweeps = {sweep.provider.slug: sweep for sweep in flows.refresh_due()}
    assert sweeps["fake"].refreshed == 2
    assert sweeps["broken"].failed == 2


def test_a_sweep_is_no_part_of_a_transaction(provider: Provider, user: User, fake: FakeProvider) -> None:
    make_due(provider, user, fake, 1)
    with pytest.raises(CannotPersist), transaction.atomic():
        flows.refresh_due()
    assert fake.count("token") == 0


@pytest.mark.django_db
def test_a_hosts_own_test_sees_a_sweep_of_one_worker(provider: Provider, user: User, fake: FakeProvider) -> None:
    make_due(provider, user, fake, 2)
    (sweep,) = flows.refresh_due(workers=1)
    assert sweep.refreshed == 2


def test_claiming_costs_the_same_for_one_and_for_many(provider: Provider, user: User, fake: FakeProvider) -> None:
    make_due(provider, user, fake, 9)

    def count(size: int) -> int:
        with CaptureQueriesContext(database) as captured:
            assert len(claim(Choice(due()), provider.pk, size=size)[0]) == size
        return len(captured)

    assert count(1) == count(8)


# What must not stop or mislead a sweep


def within_seconds(act: Callable[[], Any], seconds: float = 20) -> Any:
    """Return what ``act`` comes to; an error says that it has not ended."""
    ended: list[Any] = [TimeoutError("it does not end")]

    def run() -> None:
        try:
            ended[0] = act()
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            ended[0] = error
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return ended[0]


@pytest.mark.security("F02")
def test_a_claim_whose_lease_has_run_out_is_given_back(provider: Provider, user: User, fake: FakeProvider) -> None:
    make_due(provider, user, fake, 1)
    for left in (-1, 1):
        ((found,), _) = claim(Choice(due()), provider.pk, size=1)
        assert refreshed(replace(found, ends=time.monotonic() + left)) == "overtaken"  # it had to wait
        assert set(Token.objects.values_list("lease_owner", "attempt_id", "attempt_count")) == {(None, None, 0)}
    assert fake.count("token") == 0


@pytest.mark.security("F02")
def test_an_edit_during_a_sweep_makes_no_attempt_longer_than_its_lease(user: User, fake: FakeProvider) -> None:
    provider = make_provider(fake, lease_duration=4, refresh_deadline=2)
    (connection,) = make_due(provider, user, fake, 1)
    ((lease,), _) = claim(Choice(due()), provider.pk, size=1)
    Provider.objects.update(lease_duration=13, refresh_deadline=10)
    assert deadline_left(lease) <= 3
    assert Token.objects.get(connection=connection).attempt_count == 1


@pytest.mark.security("F02")
def test_an_attempt_that_begins_late_ends_before_its_lease(provider: Provider, user: User, fake: FakeProvider) -> None:
    make_due(provider, user, fake, 1)
    ((lease,), _) = claim(Choice(due()), provider.pk, size=1)
    fake.script("token", Delay(seconds=4))
    ends = time.monotonic() + 3
    assert refreshed(replace(lease, ends=ends)) == "outcome_unknown"
    assert time.monotonic() < ends


def test_connections_that_fail_for_good_keep_no_other_waiting(user: User, fake: FakeProvider) -> None:
    provider = make_provider(fake, slug="shops", token_endpoint=f"{fake.url}/{{shop}}")
    for shop, since in [*[(f"gone{n}", timedelta(days=-3)) for n in range(8)], ("token", timedelta(seconds=-1))]:
        made = make_connection(provider, user, fake, subject=shop, parameters={"shop": shop})
        shift_expiry(made, since)
    for _ in range(2):
        (sweep,) = flows.refresh_due(workers=2)
        Token.objects.update(not_before=None)
        Token.objects.update(next_refresh_at=DatabaseNow() - timedelta(minutes=1))
        assert (sweep.refreshed, sweep.failed, sweep.is_given_up) == (1, 8, False)


def test_an_edited_endpoint_stops_only_what_was_granted_before(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    make_due(provider, user, fake, 6)
    Token.objects.update(configuration_fingerprint="0" * 64, next_refresh_at=DatabaseNow() - timedelta(days=3))
    shift_expiry(make_connection(provider, user, fake, subject="new"), timedelta(seconds=-1))
    (sweep,) = flows.refresh_due(workers=2)
    assert (sweep.refreshed, sweep.failures) == (1, {"provider_changed": 6})


def test_a_row_that_nobody_expected_backs_off(provider: Provider, user: User, fake: FakeProvider) -> None:
    make_due(provider, user, fake, 1)
    Connection.objects.update(parameters=5)
    (sweep,) = flows.refresh_due()
    assert sweep.failures == {"internal_error": 1}
    token = Token.objects.get()
    assert (token.lease_owner, token.last_failure) == (None, "internal_error")
    assert token.not_before is not None
    assert flows.refresh_due() == []


@pytest.mark.security("F04")
@pytest.mark.parametrize("what", [OperationalError("too many clients"), InterruptedError("a time limit")])
def test_a_database_that_fails_before_anything_is_sent_leaves_no_doubt(
    what: Exception, provider: Provider, user: User, fake: FakeProvider
) -> None:
    (connection,) = make_due(provider, user, fake, 1)

    def broken(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("SELECT") and "token_secret" in sql and Token.objects.exclude(lease_owner=None).exists():
            raise what
        return execute(sql, *args)

    for ask in (lambda: flows.refresh_due(workers=1), lambda: flows.access_token(connection)):
        with database.execute_wrapper(broken), pytest.raises(type(what)):
            ask()
        token = Token.objects.defer("token_secret").get()
        assert (token.lease_owner, token.attempt_count) == (None, 0)
    fake.oauth2.grants[0].alive = False
    flows.refresh_due()
    connection.refresh_from_db()
    assert connection.reason == "invalid_grant"  # and not that an answer was lost


@pytest.mark.skipif("database.vendor != 'postgresql'", reason="it takes a server that can end a session")
def test_a_worker_that_has_lost_its_database_finds_it_again(provider: Provider, user: User, fake: FakeProvider) -> None:
    make_due(provider, user, fake, 12)
    ended: list[int] = []

    def end_session(**_: Any) -> None:
        if not ended:
            with connections["default"].cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                ended.append(cursor.fetchone()[0])
            other = connections["default"].copy()
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", ended)
            other.close()

    connection_refreshed.connect(end_session)
    fake.script("token", *[Delay(0.05)] * 12)
    try:
        (sweep,) = flows.refresh_due(workers=3)
    finally:
        connection_refreshed.disconnect(end_session)
    assert ended
    assert (sweep.refreshed, sweep.failed) == (12, 0)


def test_a_receiver_that_leaves_the_process_ends_no_sweep(provider: Provider, user: User, fake: FakeProvider) -> None:
    make_due(provider, user, fake, 4)

    def leave(**_: Any) -> None:
        raise SystemExit(3)

    connection_refreshed.connect(leave)
    try:
        (sweep,) = within_seconds(lambda: flows.refresh_due(workers=2))
    finally:
        connection_refreshed.disconnect(leave)
    assert sweep.failures == {"internal_error": 4}
    assert set(Token.objects.values_list("generation", flat=True)) == {2}  # their answers are stored


def test_a_provider_that_may_be_asked_by_nobody_at_once_is_asked_by_one(user: User, fake: FakeProvider) -> None:
    make_due(make_provider(fake, max_concurrency=0), user, fake, 3)
    (sweep,) = within_seconds(flows.refresh_due)
    assert sweep.refreshed == 3


def test_it_takes_a_worker() -> None:
    with pytest.raises(ValueError, match="at least one"):
        flows.refresh_due(workers=0)


def test_a_slow_provider_does_not_keep_the_others_waiting(user: User, fake: FakeProvider) -> None:
    slow, quick = make_provider(fake, slug="a-slow"), make_provider(fake, slug="b-quick")
    make_due(slow, user, fake, 16)
    make_due(quick, user, fake, 1)
    order: list[str] = []
    connection_refreshed.connect(note := lambda connection, **_: order.append(connection.provider.slug))
    fake.script("token", *[Delay(0.3)] * 17)
    try:
        flows.refresh_due()
    finally:
        connection_refreshed.disconnect(note)
    assert len(order) == 17
    assert order.index("b-quick") < 8


def test_a_provider_once_given_up_stays_so(provider: Provider, user: User, fake: FakeProvider) -> None:
    make_due(provider, user, fake, 20)
    fake.script("token", *[Answer(503, "down")] * FAILURES, *[Delay(0.5)] * 20)
    (sweep,) = flows.refresh_due(workers=4)
    assert sweep.is_given_up
    assert sweep.refreshed < 17


def test_a_call_that_comes_first_keeps_its_token_and_ends_no_sweep(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    make_due(provider, user, fake, 12)
    first = Token.objects.select_related("connection").order_by("next_refresh_at")[0].connection
    called: list[Any] = []

    def intrude(execute: Any, sql: str, *args: Any) -> Any:
        skips = database.features.has_select_for_update_skip_locked and database.features.has_select_for_update_of
        if not skips and not called and sql.startswith("UPDATE") and "attempt_started_at" in sql:
            called.append(within_seconds(lambda: flows.access_token(first)))
        return execute(sql, *args)

    with database.execute_wrapper(intrude):
        flows.refresh_due(workers=3)
    assert not due().exists()
    assert fake.count("token") == 12


@pytest.mark.parametrize("what", ["provider", "connection"])
def test_a_row_beside_that_is_locked_keeps_nothing_from_being_refreshed(
    what: str, provider: Provider, user: User, fake: FakeProvider
) -> None:
    if database.vendor == "sqlite":
        pytest.skip("SQLite has one writer and no row locks")
    make_due(provider, user, fake, 4)
    held, end = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            if what == "provider":
                Provider.objects.filter(pk=provider.pk).update(name="Other")
            else:
                make_connection(provider, user, fake, subject="new")
            held.set()
            end.wait(20)
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    try:
        (sweep,) = flows.refresh_due(workers=2)
    finally:
        end.set()
        thread.join()
    assert sweep.refreshed == 4
