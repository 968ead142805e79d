"""Group F: one refresh for any number of callers, kept whatever the caller's transaction does."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection as database
from django.db import connections, transaction

from django_oauth_flows import flows
from django_oauth_flows.exceptions import CannotPersist, Disconnected, ReauthorizationRequiredError, TokenUnavailable
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import Connection, ConnectionEvent, Provider, Token
from django_oauth_flows.signals import connection_needs_reauthorization
from django_oauth_flows.testing import Answer, Delay, Drop
from django_oauth_flows.testing.factories import answer, consent, make_connection, shift_expiry

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

EXPIRED = timedelta(seconds=-1)
STALE = timedelta(seconds=30)


@pytest.fixture
def expired(connection: Connection) -> Connection:
    """Return a connection whose access token has expired."""
    shift_expiry(connection, EXPIRED)
    return connection


def in_threads(count: int, act: Any) -> list[Any]:
    """Run ``act`` in so many threads at once; return results or errors."""
    barrier, results = threading.Barrier(count), []

    def run() -> None:
        barrier.wait()
        try:
            results.append(act())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.security("F01")
def test_twenty_callers_send_one_refresh_and_all_get_the_new_token(expired: Connection, fake: FakeProvider) -> None:
    fake.script("token", Delay(seconds=0.1))
    results = in_threads(20, lambda: flows.access_token(expired))
    assert fake.count("token") == 1
    assert len(set(results)) == 1
    assert fake.oauth2.grants[0].alive


@pytest.mark.security("F05")
def test_a_refreshed_token_survives_the_callers_rollback(expired: Connection, fake: FakeProvider) -> None:
    kept: list[str] = []

    def work() -> None:
        with transaction.atomic():
            kept.append(flows.access_token(expired))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert fake.count("token") == 1
    assert [flows.access_token(expired)] == kept
    assert fake.count("token") == 1


@pytest.mark.security("F05")
def test_what_could_not_be_kept_is_not_asked_for(expired: Connection, fake: FakeProvider) -> None:
    with transaction.atomic():
        Token.objects.filter(connection=expired).update(failure_count=7)  # the caller holds the row
        started = time.monotonic()
        with pytest.raises(CannotPersist) as caught:
            flows.access_token(expired)
        assert time.monotonic() - started < 5
        assert caught.value.code == "cannot_persist"
    assert fake.count("token") == 0
    assert flows.access_token(expired)


@pytest.mark.security("F05")
def test_a_token_that_is_still_valid_is_served_instead(connection: Connection, fake: FakeProvider) -> None:
    shift_expiry(connection, STALE)
    with transaction.atomic():
        Token.objects.filter(connection=connection).update(failure_count=7)
        assert flows.access_token(connection)
    assert fake.count("token") == 0


@pytest.mark.security("F05")
def test_a_row_made_in_the_callers_transaction_is_refreshed_within_it(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    with transaction.atomic():
        mine = make_connection(provider, user, fake)
        shift_expiry(mine, EXPIRED)
        assert flows.access_token(mine)
    assert fake.count("token") == 1
    assert flows.access_token(mine)


@pytest.mark.security("F05")
@pytest.mark.django_db(transaction=False)
def test_a_hosts_test_case_just_works(connection: Connection, fake: FakeProvider) -> None:
    shift_expiry(connection, EXPIRED)
    assert flows.access_token(connection)
    with transaction.atomic():
        shift_expiry(connection, EXPIRED)
        assert flows.access_token(connection)
    assert fake.count("token") == 2


@pytest.mark.security("F07")
@pytest.mark.parametrize("value", ["absent", None, "", "same", "new"])
def test_a_refresh_token_is_replaced_only_by_another_one(
    value: str | None, expired: Connection, fake: FakeProvider
) -> None:
    before = expired.token.open("refresh_token")
    assert before is not None
    body: dict[str, Any] = {"access_token": "canary_access_" + "0" * 32, "token_type": "Bearer", "expires_in": 60}
    if value != "absent":
        body["refresh_token"] = {"same": before.reveal(), "new": "canary_refresh_" + "1" * 32}.get(str(value), value)
    fake.script("token", Answer(200, body))
    flows.refresh(expired)
    after = Token.objects.select_related("connection").get(connection=expired).open("refresh_token")
    assert after is not None
    assert (after != before) == (value == "new")


@pytest.mark.security("F08")
def test_a_grant_that_is_over_is_reported_once_and_not_asked_for_again(expired: Connection, fake: FakeProvider) -> None:
    heard: list[Any] = []

    def listen(**facts: Any) -> None:
        heard.append(facts["reason"])

    connection_needs_reauthorization.connect(listen)
    fake.oauth2.grants[0].alive = False
    for _ in range(3):
        with pytest.raises(ReauthorizationRequiredError) as caught:
            flows.access_token(expired)
    assert caught.value.reason == "invalid_grant"
    assert fake.count("token") == 1
    with pytest.raises(ReauthorizationRequiredError):
        flows.refresh(expired)  # whoever insists gets the same answer, and nobody hears of it again
    assert heard == ["invalid_grant"]
    expired.refresh_from_db()
    assert (expired.status, expired.reason) == ("reauthorization_required", "invalid_grant")
    assert expired.token.refresh_token is not None
    assert ConnectionEvent.objects.filter(kind="needs_reauthorization").count() == 1
    connection_needs_reauthorization.disconnect(listen)


@pytest.mark.security("F08")
def test_a_grant_that_is_over_works_again_after_a_reconnect(
    expired: Connection, provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    fake.oauth2.grants[0].alive = False
    with pytest.raises(ReauthorizationRequiredError):
        flows.access_token(expired)
    started: Any = browser.post(f"/oauth/connections/{expired.pk}/reconnect/")
    assert answer(browser, consent(started["Location"])).status_code == 303
    expired.refresh_from_db()
    assert (expired.status, expired.reason) == ("active", "")
    with flows.session(expired) as http:
        assert http.get("/echo").status_code == 200
    shift_expiry(expired, EXPIRED)
    assert flows.access_token(expired)


def test_a_valid_token_is_still_served_after_the_grant_has_ended(connection: Connection, fake: FakeProvider) -> None:
    shift_expiry(connection, STALE)
    fake.oauth2.grants[0].refresh.clear()
    token = flows.access_token(connection)
    assert flows.access_token(connection) == token
    assert fake.count("token") == 1
    connection.refresh_from_db()
    assert connection.status == "reauthorization_required"


@pytest.mark.security("F10")
@pytest.mark.parametrize(
    "fault", [Answer(503), Answer(429, b"", {"Retry-After": "7"}), Answer(500, b"<html>"), Answer(200, b"<html>")]
)
def test_an_outage_ends_nothing_and_backs_off(fault: Answer, expired: Connection, fake: FakeProvider) -> None:
    fake.script("token", fault)
    for _ in range(3):
        with pytest.raises(TokenUnavailable) as caught:
            flows.access_token(expired)
    assert caught.value.retry_after is not None
    assert fake.count("token") == 1
    expired.refresh_from_db()
    assert expired.status == "active"
    Token.objects.update(not_before=None)
    assert flows.access_token(expired)
    token = Token.objects.get()
    assert (token.failure_count, token.last_failure, token.not_before, token.attempt_count) == (0, "", None, 0)


@pytest.mark.security("F10")
def test_an_outage_is_not_noticed_while_the_token_is_valid(connection: Connection, fake: FakeProvider) -> None:
    shift_expiry(connection, STALE)
    fake.script("token", Answer(503))
    assert flows.access_token(connection)
    assert flows.access_token(connection)
    assert fake.count("token") == 1


@pytest.mark.security("F04")
def test_a_lost_answer_is_asked_for_once_more_and_then_reported(expired: Connection, fake: FakeProvider) -> None:
    fake.oauth2.grace = 60
    fake.script("token", Drop())
    assert flows.access_token(expired)
    assert fake.count("token") == 2
    fake.oauth2.grace = 0
    shift_expiry(expired, EXPIRED)
    fake.script("token", Drop())
    with pytest.raises(ReauthorizationRequiredError) as caught:
        flows.access_token(expired)
    assert caught.value.reason == "outcome_unknown"
    assert fake.count("token") == 4


@pytest.mark.security("F11")
def test_a_refused_client_alarms_staff_and_marks_no_connection(expired: Connection, fake: FakeProvider) -> None:
    fake.oauth2.client_secret = "rotated at the provider"
    with pytest.raises(TokenUnavailable) as caught:
        flows.access_token(expired)
    assert caught.value.code == "invalid_client"
    expired.refresh_from_db()
    assert expired.status == "active"
    assert Provider.objects.get().alarm == "invalid_client"


@pytest.mark.security("F12", "D06")
@pytest.mark.parametrize("how", ["disconnected", "owner deleted", "row deleted"])
def test_a_late_answer_cannot_undo_a_disconnect_and_is_revoked(
    how: str, expired: Connection, user: User, fake: FakeProvider
) -> None:
    Provider.objects.update(revocation_effect="token")
    go, reached = threading.Event(), threading.Event()
    fake.script("token", Delay(until=go, reached=reached))
    outcome: list[Any] = []

    def run() -> None:
        outcome.extend(in_threads(1, lambda: flows.access_token(expired)))

    thread = threading.Thread(target=run)
    thread.start()
    assert reached.wait(10)
    if how == "disconnected":
        flows.revoke(expired)
    elif how == "owner deleted":
        user.delete()
    else:
        Connection.objects.all().delete()
    known = {request.form["token"] for request in fake.received("revoke")}
    go.set()
    thread.join()
    assert isinstance(outcome[0], Disconnected)
    assert not Token.objects.exists()
    assert list(Connection.objects.values_list("status", flat=True)) == (["revoked"] if how == "disconnected" else [])
    assert not fake.oauth2.grants[0].alive
    late = {request.form["token"] for request in fake.received("revoke")} - known
    assert sorted(token[:14] for token in late) == ["canary_access_", "canary_refresh"]


@pytest.mark.security("F19")
def test_no_transaction_is_open_while_the_provider_is_asked(expired: Connection, fake: FakeProvider) -> None:
    # The fake runs in this process, in another thread: from there it looks at the caller's connection.
    caller, seen = connections["default"], []

    class Look:
        def play(self, handler: Any, normal: Any) -> None:
            seen.append(caller.in_atomic_block)
            Delay().play(handler, normal)

    fake.script("token", Look())
    flows.access_token(expired)
    assert seen == [False]


@pytest.mark.security("F19")
@pytest.mark.parametrize("within", ["no transaction", "a transaction of the caller's"])
def test_nobody_waits_for_a_lock_of_ours_while_the_provider_is_asked(
    within: str, expired: Connection, fake: FakeProvider
) -> None:
    written: list[int] = []

    class Write:
        def play(self, handler: Any, normal: Any) -> None:
            try:
                with transaction.atomic():
                    if connections["default"].vendor == "postgresql":
                        connections["default"].cursor().execute("SET LOCAL lock_timeout = '1s'")
                    written.append(Token.objects.update(last_failure=""))
            finally:
                connections.close_all()
                Delay().play(handler, normal)

    fake.script("token", Write())
    with transaction.atomic() if within != "no transaction" else nullcontext():
        flows.access_token(expired)
    assert written == [1]


@pytest.mark.security("F14")
def test_a_configuration_changed_since_keeps_the_refresh_token_at_home(expired: Connection, fake: FakeProvider) -> None:
    Provider.objects.update(token_endpoint=f"{fake.url}/elsewhere")
    from django_oauth_flows.exceptions import ConfigurationError

    with pytest.raises(ConfigurationError) as caught:
        flows.access_token(expired)
    assert caught.value.code == "provider_changed"
    assert not fake.requests
    expired.refresh_from_db()
    assert expired.status == "active"


def test_a_lost_key_is_a_state_and_not_a_crash(connection: Connection, settings: Any) -> None:
    settings.SECRET_KEY = "another" * 10
    with pytest.raises(ReauthorizationRequiredError) as caught:
        flows.access_token(connection)
    assert caught.value.reason == "undecryptable"
    connection.refresh_from_db()
    assert connection.reason == "undecryptable"


@pytest.mark.parametrize("how", ["paused", "provider paused", "user inactive"])
def test_what_may_not_be_served_is_not_served(how: str, connection: Connection, user: User) -> None:
    if how == "paused":
        Connection.objects.update(paused=True)
    elif how == "provider paused":
        Provider.objects.update(paused=True)
    else:
        user.is_active = False
        user.save()
    with pytest.raises(Disconnected):
        flows.access_token(connection)


@pytest.mark.security("F15")
def test_a_rejected_token_is_refreshed_once_and_not_over_and_over(connection: Connection, fake: FakeProvider) -> None:
    fake.oauth2.grants[0].access.clear()
    with flows.session(connection) as http:
        assert http.get("/echo").status_code == 200
    assert fake.count("token") == 1
    fake.script("api", *[Answer(401)] * 6)
    with flows.session(connection) as http:
        for _ in range(3):
            assert http.get("/echo").status_code == 401
    assert fake.count("token") == 1


@pytest.mark.security("F16", "T06")
@pytest.mark.parametrize("expires_in", [0, -10])
def test_tokens_that_arrive_expired_are_not_refreshed_over_and_over(
    expires_in: int, expired: Connection, fake: FakeProvider
) -> None:
    fake.oauth2.expires_in = expires_in
    assert len({flows.access_token(expired) for _ in range(100)}) == 1
    assert fake.count("token") == 1
    Token.objects.update(last_refreshed_at=DatabaseNow() - timedelta(seconds=31))
    assert flows.access_token(expired)
    assert fake.count("token") == 2


@pytest.mark.skipif(database.vendor != "sqlite", reason="the others have more than one writer")
def test_the_caller_on_sqlite_can_still_write_after_a_token_that_was_due(
    connection: Connection, user: User, fake: FakeProvider
) -> None:
    shift_expiry(connection, STALE)
    with transaction.atomic():
        assert flows.session(connection).get("/echo").ok
        user.save()
    assert fake.count("token") == 0
    assert flows.access_token(connection)
    assert fake.count("token") == 1


def test_one_fetch_serves_all_callers_of_the_sites_own_token(provider: Provider, fake: FakeProvider) -> None:
    fake.script("token", Delay(seconds=0.1))

    def call() -> int:
        with flows.client_session(provider) as http:
            return int(http.get("/echo").status_code)

    assert in_threads(10, call) == [200] * 10
    assert fake.count("token") == 1
