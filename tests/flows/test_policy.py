"""The failure policy: what ends a connection, what is the provider's trouble, and what is tried again."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from copy import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

from django_oauth_flows import flows
from django_oauth_flows.exceptions import OAuthFlowsError, ReauthorizationRequiredError, TokenUnavailable
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows import circuit, devices
from django_oauth_flows.flows.circuit import FAILURES
from django_oauth_flows.flows.lease import acquire
from django_oauth_flows.flows.policy import Verdict
from django_oauth_flows.flows.snapshot import read
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider, Token
from django_oauth_flows.protocol.keys import new_private_key
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Answer, Delay, Drop, FakeProvider
from django_oauth_flows.testing.factories import make_connection, make_provider, shift_expiry, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User
    from django.test import Client

pytestmark = pytest.mark.django_db(transaction=True)

DOWN = Answer(503, "down")


def make_expired(provider: Provider, user: User, fake: FakeProvider, count: int) -> list[Connection]:
    """Return connections whose access tokens have expired."""
    made = [make_connection(provider, user, fake, subject=f"account-{number}") for number in range(count)]
    for connection in made:
        shift_expiry(connection, timedelta(seconds=-1))
    return made


def fail(connection: Connection) -> OAuthFlowsError:
    """Return the error that a caller gets."""
    with pytest.raises(OAuthFlowsError) as caught:
        flows.access_token(connection)
    return caught.value


@pytest.fixture
def expired(connection: Connection) -> Connection:
    """Return a connection whose access token has expired."""
    shift_expiry(connection, timedelta(seconds=-1))
    return connection


# The table


def test_only_one_verdict_ends_a_connection() -> None:
    assert [verdict for verdict in Verdict if verdict.value.ends_connection] == [Verdict.DEAD]


@pytest.mark.security("F08", "F10", "F11", "T07")
@pytest.mark.parametrize(
    ("answer", "code", "ends", "alarm", "doubt", "counts"),
    [
        (Answer(400, {"error": "invalid_grant"}), "reauthorization_required", True, "", 1, 0),
        (Answer(400, {"error": "bad_refresh_token"}), "reauthorization_required", True, "", 1, 0),
        (Answer(200, {"error": "bad_refresh_token"}), "reauthorization_required", True, "", 1, 0),
        (Answer(401, {"error": "invalid_client"}), "invalid_client", False, "invalid_client", 0, 1),
        (Answer(400, {"error": "unauthorized_client"}), "unauthorized_client", False, "unauthorized_client", 0, 1),
        (Answer(401, b""), "invalid_client", False, "invalid_client", 0, 1),
        (Answer(429, b"", {"Retry-After": "7"}), "rate_limited", False, "", 0, 1),
        (Answer(503, b"down"), "provider_unreachable", False, "", 1, 1),
        (Answer(400, {"error": "temporarily_unavailable"}), "provider_unreachable", False, "", 0, 1),
        (Answer(302, b"", {"Location": "https://elsewhere.example/"}), "provider_redirect", False, "", 0, 1),
        (Answer(400, {"error": "invalid_scope"}), "invalid_scope", False, "", 0, 0),
        (Answer(400, {"error": "something_of_their_own"}), "provider_error", False, "", 0, 0),
        (Answer(200, b"<html>"), "bad_response", False, "", 1, 1),
        (Answer(200, {"token_type": "Bearer"}), "bad_token", False, "", 1, 1),
    ],
    ids=lambda value: f"{value.status} {value.body}"[:40] if isinstance(value, Answer) else None,
)
def test_each_answer_has_the_consequences_that_the_table_says(
    answer: Answer, code: str, ends: bool, alarm: str, doubt: int, counts: int, user: User, fake: FakeProvider
) -> None:
    provider = make_provider(fake, dialect={"invalid_grant_errors": ["bad_refresh_token"]})
    (connection,) = make_expired(provider, user, fake, 1)
    fake.script("token", answer)
    error = fail(connection)
    assert isinstance(error, ReauthorizationRequiredError if ends else TokenUnavailable)
    assert error.code == code
    connection.refresh_from_db()
    provider.refresh_from_db()
    token = Token.objects.get()
    assert connection.status == ("reauthorization_required" if ends else "active")
    assert provider.alarm == alarm
    assert (token.lease_owner, token.refresh_token is not None) == (None, True)
    assert (token.attempt_count, provider.failure_count) == (doubt, counts)


@pytest.mark.security("F10")
def test_a_failed_refresh_that_was_forced_ends_no_pause_that_the_provider_asked_for(
    connection: Connection, fake: FakeProvider
) -> None:
    shift_expiry(connection, timedelta(hours=-2))
    fake.script("token", Answer(429, "slow down", headers={"Retry-After": "600"}), DOWN)
    fail(connection)
    asked = Token.objects.get().not_before
    with pytest.raises(TokenUnavailable):
        flows.refresh(connection)
    token = Token.objects.get()
    assert (token.failure_count, token.not_before) == (2, asked)


def test_a_later_success_clears_every_mark(expired: Connection, fake: FakeProvider) -> None:
    fake.script("token", Answer(401, {"error": "invalid_client"}))
    fail(expired)
    Token.objects.update(not_before=None)
    assert flows.access_token(expired)
    token, provider = Token.objects.get(), Provider.objects.get()
    assert (token.failure_count, token.last_failure, token.attempt_count, token.not_before) == (0, "", 0, None)
    assert (provider.alarm, provider.alarm_at, provider.failure_count, provider.circuit_open_until) == (
        "",
        None,
        0,
        None,
    )


@pytest.mark.security("F09")
def test_an_invalid_grant_for_a_token_that_a_sibling_has_rotated_ends_nothing(
    expired: Connection, fake: FakeProvider
) -> None:
    """Another process, whose lease had run out, was faster: its answer is stored while ours is on its way."""
    seen: list[str] = []

    class Sibling:
        def play(self, handler: Any, normal: Any) -> None:
            Token.objects.update(lease_expires_at=DatabaseNow() - timedelta(seconds=1))
            seen.append(flows.access_token(expired))
            connections.close_all()
            Answer(400, {"error": "invalid_grant"}).play(handler, normal)

    fake.script("token", Sibling())
    assert [flows.access_token(expired)] == seen
    expired.refresh_from_db()
    assert expired.status == "active"


# The circuit


@pytest.mark.security("V01", "F11")
@pytest.mark.parametrize("answer", [DOWN, Answer(401, {"error": "invalid_client"})], ids=["down", "client refused"])
def test_a_provider_that_fails_again_and_again_is_left_alone_and_no_other(
    answer: Answer, provider: Provider, user: User, fake: FakeProvider
) -> None:
    with FakeProvider() as good:
        other = make_provider(good, slug="other")
        (elsewhere,) = make_expired(other, user, good, 1)
        *failing, spared, stale = make_expired(provider, user, fake, FAILURES + 2)
        shift_expiry(stale, timedelta(seconds=30))
        fake.script("token", *[answer] * FAILURES)
        for connection in failing:
            fail(connection)
        error = fail(spared)
        assert isinstance(error, TokenUnavailable)
        assert error.code == "circuit_open"
        assert error.retry_after is not None
        assert 1 <= error.retry_after <= 2
        assert flows.access_token(stale)  # it is valid, and nobody is asked for it
        assert flows.refresh_due(provider=provider) == []
        assert fake.count("token") == FAILURES
        assert flows.access_token(elsewhere)
        assert set(Connection.objects.values_list("status", flat=True)) == {"active"}


@pytest.mark.security("V01", "V04")
def test_when_the_while_is_over_one_tries_and_the_others_wait_for_what_he_finds(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    made = make_expired(provider, user, fake, 8)
    Provider.objects.update(failure_count=FAILURES, circuit_open_until=DatabaseNow() - timedelta(seconds=1))
    fake.script("token", Delay(0.5))
    said: list[str] = []

    def call(connection: Connection) -> None:
        try:
            flows.access_token(connection)
            said.append("served")
        except TokenUnavailable as error:
            said.append(error.code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call, args=(connection,)) for connection in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["circuit_open"] * 7 + ["served"]
    assert fake.count("token") == 1
    assert set(Token.objects.values_list("attempt_count", flat=True)) == {0}
    assert Provider.objects.get().circuit_open_until is None
    for connection in made:
        assert flows.access_token(connection)


@pytest.mark.security("V01")
@pytest.mark.parametrize(
    ("said", "least", "most"), [({}, 0.3, 1), ({"Retry-After": "30"}, 29, 30), ({"Retry-After": "3000"}, 59, 60)]
)
def test_a_try_that_fails_leaves_the_provider_alone_again(
    said: dict[str, str], least: float, most: float, expired: Connection, fake: FakeProvider
) -> None:
    Provider.objects.update(failure_count=FAILURES, circuit_open_until=DatabaseNow() - timedelta(seconds=1))
    fake.script("token", Answer(503, "down", said))
    fail(expired)
    row = Provider.objects.annotate(now=DatabaseNow()).get()
    assert row.failure_count == FAILURES + 1
    assert row.circuit_open_until is not None
    assert least < (row.circuit_open_until - row.now).total_seconds() <= most


@pytest.mark.security("V01")
def test_one_connection_that_is_refused_opens_no_circuit(expired: Connection, fake: FakeProvider) -> None:
    fake.script("token", *[Answer(400, {"error": "invalid_scope"})] * (FAILURES + 1))
    for _ in range(FAILURES + 1):
        Token.objects.update(not_before=None)
        assert fail(expired).code == "invalid_scope"


@pytest.mark.security("V01")
def test_where_every_connection_has_a_host_of_its_own_a_dead_one_says_nothing_of_the_others(
    user: User, fake: FakeProvider
) -> None:
    provider = make_provider(fake, token_endpoint=f"{fake.url}/{{shop}}")
    for number in range(FAILURES + 1):
        made = make_connection(provider, user, fake, subject=str(number), parameters={"shop": "token"})
        shift_expiry(made, timedelta(seconds=-1))
        fake.script("token", DOWN)
        assert fail(made).code == "provider_unreachable"
    assert Provider.objects.get().circuit_open_until is None


def test_a_person_who_asks_is_not_kept_waiting(expired: Connection, fake: FakeProvider) -> None:
    Provider.objects.update(failure_count=FAILURES, circuit_open_until=DatabaseNow() + timedelta(minutes=5))
    assert fail(expired).code == "circuit_open"
    assert flows.refresh(expired).refreshed
    assert Provider.objects.get().circuit_open_until is None


def test_a_try_that_dies_with_its_process_is_not_the_last(expired: Connection, fake: FakeProvider) -> None:
    Provider.objects.update(failure_count=FAILURES, circuit_open_until=DatabaseNow() - timedelta(seconds=1))
    lease = acquire(read(expired.pk), alias="default", force=False)
    assert lease is not None
    circuit.admit(lease)  # and then it is killed
    assert fail(expired).code == "circuit_open"
    Provider.objects.update(circuit_open_until=DatabaseNow() - timedelta(seconds=1))
    Token.objects.update(lease_expires_at=DatabaseNow() - timedelta(seconds=1))
    assert flows.access_token(expired)


@pytest.mark.security("V04")
def test_a_sweep_tries_a_provider_that_has_failed_until_now_with_one(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    make_expired(provider, user, fake, 12)
    Provider.objects.update(failure_count=FAILURES, circuit_open_until=DatabaseNow() - timedelta(seconds=1))
    fake.script("token", DOWN)
    (sweep,) = flows.refresh_due(workers=4)
    assert (sweep.refreshed, fake.count("token")) == (0, 1)
    Provider.objects.update(circuit_open_until=DatabaseNow() - timedelta(seconds=1))
    Token.objects.filter(generation=1).update(not_before=None, next_refresh_at=DatabaseNow())
    (sweep,) = flows.refresh_due(workers=4)
    assert (sweep.refreshed, sweep.failed) == (12, 0)


# Two secrets of one client


@pytest.fixture
def changed(provider: Provider, fake: FakeProvider) -> Provider:
    """Return a provider whose secret was changed here first: the server still knows the one from before."""
    provider.keep_client_secret(until=Provider.objects.annotate(now=DatabaseNow()).get().now + timedelta(days=1))
    provider.seal("client_secret", Secret("canary_client_secret_" + "a" * 32))
    provider.save()
    return provider


def test_the_secret_from_before_is_tried_where_the_new_one_is_refused(
    changed: Provider, expired: Connection, fake: FakeProvider
) -> None:
    assert flows.access_token(expired)
    assert fake.count("token") == 2
    assert Provider.objects.get().alarm == ""
    fake.oauth2.client_secret = "canary_client_secret_" + "a" * 32
    assert flows.refresh(expired).refreshed
    assert fake.count("token") == 3  # now the new one is known there


def test_a_disconnect_is_heard_with_either_secret(
    changed: Provider, connection: Connection, fake: FakeProvider
) -> None:
    assert flows.revoke(connection) == "revoked"
    assert not fake.oauth2.grants[0].alive


def test_the_site_itself_gets_its_token_with_either_secret(changed: Provider, fake: FakeProvider) -> None:
    with flows.client_session(changed) as http:
        assert http.get("/echo").status_code == 200


def test_a_token_is_exchanged_with_either_secret(
    changed: Provider, connection: Connection, fake: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    assert flows.exchange_token(connection, audience="reports").access_token
    assert fake.count("token") == 2
    assert "oauth_flows.second_secret_used" in [record.getMessage() for record in caplog.records]


def test_another_device_is_connected_with_either_secret(
    changed: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.oauth2.device_interval = 0
    changed.device_authorization_endpoint, changed.offers_device_flow = f"{fake.url}/device", True
    changed.save()
    started: Any = browser.post(f"/oauth/connect/{changed.slug}/", {"way": "device"})
    assert (started.status_code, fake.count("device")) == (303, 2)
    fake.oauth2.decide(next(iter(fake.oauth2.devices.values())).user_code)
    AuthorizationRequest.objects.update(next_poll_at=DatabaseNow())
    assert browser.get(started["Location"]).status_code == 303
    assert fake.count("token") == 2
    assert user.oauth_connections.get().is_active


@contextmanager
def looking(browser: Client, page: str) -> Iterator[None]:
    """Load ``page`` in another tab meanwhile."""

    def look() -> None:
        try:
            browser.get(page)
        finally:
            connections.close_all()

    tab = threading.Thread(target=look)
    tab.start()
    try:
        yield
    finally:
        tab.join()


@pytest.mark.security("T20")
def test_both_tries_for_a_code_on_another_device_are_one_poll(
    changed: Provider, fake: FakeProvider, browser: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "POLL_DEADLINE", 2.0)
    changed.device_authorization_endpoint, changed.offers_device_flow = f"{fake.url}/device", True
    changed.save()
    page: Any = browser.post(f"/oauth/connect/{changed.slug}/", {"way": "device"})["Location"]
    fake.oauth2.decide(next(iter(fake.oauth2.devices.values())).user_code)
    AuthorizationRequest.objects.update(next_poll_at=DatabaseNow(), poll_interval=0)
    fake.script("token", Delay(1.8), Delay(1.8))

    with looking(browser, page):
        time.sleep(2.3)
        copy(browser).get(page)
    assert browser.get(page).status_code == 303
    assert user.oauth_connections.get().is_active
    assert fake.count("revoke") == 0


@pytest.mark.security("T20")
def test_a_poll_whose_tokens_are_exchanged_again_has_the_time_of_both(
    changed: Provider, fake: FakeProvider, browser: Client
) -> None:
    changed.device_authorization_endpoint, changed.offers_device_flow = f"{fake.url}/device", True
    changed.dialect = {
        "second_exchange": {"endpoint": f"{fake.url}/token", "grant_type": "swap", "token_parameter": "t"}
    }
    changed.save()
    page: Any = browser.post(f"/oauth/connect/{changed.slug}/", {"way": "device"})["Location"]
    AuthorizationRequest.objects.update(next_poll_at=DatabaseNow(), poll_interval=0)
    fake.script("token", Delay(1.0))

    with looking(browser, page):
        time.sleep(0.5)
        longest = timedelta(seconds=2 * devices.POLL_DEADLINE - 5)
        assert AuthorizationRequest.objects.filter(next_poll_at__gt=DatabaseNow() + longest).exists()


@pytest.mark.security("T12")
@pytest.mark.parametrize(
    ("seconds", "requests", "code"), [((0.8, 5), 2, "outcome_unknown"), ((1.2, 1.2), 1, "provider_unreachable")]
)
@pytest.mark.parametrize(
    ("endpoint", "ask"),
    [("introspect", flows.introspect), ("token", lambda connection: flows.exchange_token(connection, audience="a"))],
    ids=["introspection", "exchange"],
)
def test_both_tries_have_one_deadline(
    endpoint: str,
    ask: Callable[[Connection], object],
    seconds: tuple[float, float],
    requests: int,
    code: str,
    changed: Provider,
    connection: Connection,
    fake: FakeProvider,
) -> None:
    Provider.objects.update(request_deadline=2, introspection_endpoint=f"{fake.url}/introspect")
    fake.script(endpoint, *map(Delay, seconds))
    began = time.monotonic()
    with pytest.raises(OAuthFlowsError) as caught:
        ask(Connection.objects.get())
    assert time.monotonic() - began < 2.5
    assert (caught.value.code, fake.count(endpoint)) == (code, requests)


def test_nobody_consents_to_what_only_the_secret_from_before_could_begin(
    changed: Provider, fake: FakeProvider, browser: Client
) -> None:
    changed.pushed_authorization_request_endpoint = f"{fake.url}/par"
    changed.save()
    started = browser.post(f"/oauth/connect/{changed.slug}/")
    assert (started.status_code, b"<code>par_failed</code>" in started.content) == (400, True)
    assert (fake.count("par"), AuthorizationRequest.objects.count()) == (1, 0)
    fake.oauth2.client_secret = "canary_client_secret_" + "a" * 32
    assert walk(browser, changed).status_code == 303


def test_a_refreshed_token_is_asked_about_with_either_secret(
    changed: Provider, expired: Connection, fake: FakeProvider
) -> None:
    Provider.objects.update(introspection_endpoint=f"{fake.url}/introspect")
    fake.oauth2.expires_in = None
    assert flows.access_token(expired)
    assert fake.count("introspect") == 2
    assert Token.objects.get().expires_at is not None


@pytest.mark.parametrize(
    ("columns", "requests"),
    [
        ({"token_endpoint_auth_method": "none"}, 1),
        ({"dialect": {"refresh_client_authentication": False}}, 1),
        ({"token_endpoint_auth_method": "private_key_jwt"}, 1),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, 2),
        ({"token_endpoint_auth_method": "none", "dialect": {"refresh_parameters": {"key": "{client_secret}"}}}, 2),
    ],
    ids=str,
)
def test_only_who_shows_a_secret_shows_another(
    columns: dict[str, Any], requests: int, changed: Provider, expired: Connection, fake: FakeProvider
) -> None:
    changed.seal("private_key", new_private_key("ES256"))
    vars(changed).update(columns)
    changed.save()
    fake.script("token", *[Answer(401, {"error": "invalid_client"})] * 2)
    assert fail(expired).code == "invalid_client"
    assert fake.count("token") == requests


def test_after_its_time_the_secret_from_before_is_not_tried(
    changed: Provider, expired: Connection, fake: FakeProvider
) -> None:
    Provider.objects.update(second_client_secret_expires_at=DatabaseNow() - timedelta(seconds=1))
    assert fail(expired).code == "invalid_client"
    assert fake.count("token") == 1
    assert Provider.objects.get().alarm == "invalid_client"


def test_a_grant_that_is_over_is_over_with_either_secret(
    changed: Provider, expired: Connection, fake: FakeProvider
) -> None:
    fake.oauth2.grants[0].alive = False
    assert fail(expired).code == "reauthorization_required"
    assert fake.count("token") == 2


@pytest.mark.security("F04")
def test_a_lost_answer_to_the_secret_from_before_is_a_lost_answer(
    changed: Provider, expired: Connection, fake: FakeProvider
) -> None:
    fake.oauth2.grace = 30
    fake.script("token", Answer(401, {"error": "invalid_client"}), Drop())
    assert flows.access_token(expired)
    expired.refresh_from_db()
    assert expired.status == "active"


# What may have been rotated


@pytest.mark.security("F04")
@pytest.mark.parametrize(("grace", "most"), [(40, 10), (None, 900)])
def test_after_a_lost_answer_the_next_attempt_comes_within_the_grace(
    grace: int | None, most: int, expired: Connection, fake: FakeProvider
) -> None:
    Provider.objects.update(reuse_grace=grace)
    Token.objects.update(failure_count=9)  # the next back-off would be a quarter of an hour
    fake.script("token", DOWN)
    fail(expired)
    (row,) = Token.objects.annotate(now=DatabaseNow())
    assert row.not_before is not None
    assert most / 3 < (row.not_before - row.now).total_seconds() <= most


def test_placeholders_that_staff_have_filled_in_make_one_host_of_it(user: User, fake: FakeProvider) -> None:
    provider = make_provider(fake, token_endpoint=f"{fake.url}/{{tenant}}", parameters={"tenant": "token"})
    fake.script("token", *[DOWN] * 20)
    make_expired(provider, user, fake, 12)
    (sweep,) = flows.refresh_due(workers=1)
    assert (sweep.is_given_up, fake.count("token")) == (True, 3)
