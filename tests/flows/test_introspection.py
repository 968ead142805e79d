"""Introspection: what a server says of a token's life that does not say it with the token. RFC 7662."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ConfigurationError, TokenEndpointError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.testing import Answer, Delay
from django_oauth_flows.testing.factories import make_connection, make_provider, walk

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client
    from pytest_django.fixtures import DjangoAssertNumQueries

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def silent(db: None, fake: FakeProvider) -> Provider:
    """Return a provider that says how long a token lives only to those who ask."""
    fake.oauth2.expires_in = None
    return make_provider(fake, introspection_endpoint=f"{fake.url}/introspect")


def left(connection: Connection) -> float | None:
    """Return the seconds until the token expires, None if nobody knows."""
    row: Any = Token.objects.annotate(now=DatabaseNow()).get(connection=connection)
    return None if row.expires_at is None else (row.expires_at - row.now).total_seconds()


@pytest.mark.rfc("7662", "2.1")
@pytest.mark.security("T17")
def test_a_new_token_has_the_life_that_the_service_tells_when_asked(
    silent: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    assert walk(browser, silent).status_code == 303
    connection = user.oauth_connections.get()
    (asked,) = fake.received("introspect")
    assert asked.form == {"token": flows.access_token(connection), "token_type_hint": "access_token"}
    assert asked.headers["authorization"].startswith("Basic ")
    assert 3590 < (left(connection) or 0) <= 3600
    assert Token.objects.get().next_refresh_at is not None


def test_so_has_a_refreshed_one_and_no_call_asks(
    silent: Provider,
    fake: FakeProvider,
    browser: Client,
    user: User,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    walk(browser, silent)
    connection = user.oauth_connections.get()
    Token.objects.update(expires_at=None, next_refresh_at=None)
    assert flows.refresh(connection).refreshed
    assert fake.count("introspect") == 2
    assert 3590 < (left(connection) or 0) <= 3600
    with django_assert_num_queries(1):
        flows.access_token(connection)
    with flows.session(connection) as http:
        assert http.get("/echo").status_code == 200
    assert fake.count("introspect") == 2


def test_a_token_that_comes_with_its_lifetime_is_not_asked_about(
    silent: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.oauth2.expires_in = 60
    walk(browser, silent)
    flows.refresh(user.oauth_connections.get())
    assert fake.count("introspect") == 0


@pytest.mark.parametrize(
    "wrong",
    [
        Answer(503),
        Answer(401),
        Answer(404),
        Answer(302, headers={"Location": "https://attacker.example"}),
        Answer(200, "<html>"),
        Answer(200, {"active": "true", "exp": 9999999999}),
        Answer(200, {"exp": 9999999999}),
        Answer(200, {"active": False}),
        Answer(200, {"active": True}),
        Answer(200, {"active": True, "exp": "soon"}),
        Answer(200, {"active": True, "exp": True}),
        Answer(200, {"active": True, "exp": 2**60}),
        Answer(200, {"active": True, "exp": -5}),
        Delay(seconds=7),
    ],
    ids=str,
)
def test_an_answer_of_no_use_costs_no_token(
    wrong: Any, silent: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.script("introspect", wrong)
    assert walk(browser, silent).status_code == 303
    connection = user.oauth_connections.get()
    assert left(connection) is None
    fake.script("introspect", wrong)
    Provider.objects.update(refresh_deadline=3)
    assert flows.refresh(connection).refreshed
    assert left(connection) is None
    assert flows.session(connection).get("echo").status_code == 200


@pytest.mark.security("T24")
@pytest.mark.parametrize("ahead", [-600, 0, 600])
def test_the_servers_clock_does_not_matter(
    ahead: int, silent: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    now = int(time.time()) + ahead
    fake.script("introspect", Answer(200, {"active": True, "iat": now, "exp": now + 900, "scope": "read"}))
    walk(browser, silent)
    assert 890 < (left(user.oauth_connections.get()) or 0) <= 900


def test_scopes_are_learnt_where_the_token_does_not_name_them(silent: Provider, fake: FakeProvider, user: User) -> None:
    connection = make_connection(silent, user, fake, scopes=["read", "write"])
    state = flows.introspect(connection)
    assert (state.active, state.scopes) == (True, ("read",))
    connection.refresh_from_db()
    assert connection.granted_scopes == ("read",)
    assert 3590 < (left(connection) or 0) <= 3600


def test_a_token_that_is_no_longer_good_is_renewed_at_the_next_call(
    silent: Provider, fake: FakeProvider, user: User
) -> None:
    connection = make_connection(silent, user, fake)
    fake.oauth2.grants[0].access.clear()
    state = flows.introspect(connection)
    assert not state.active
    assert fake.count("token") == 0
    with flows.session(connection) as http:
        assert http.get("/echo").status_code == 200
    assert fake.count("token") == 1
    connection.refresh_from_db()
    assert connection.is_active


def test_where_nothing_renews_it_the_user_is_asked(silent: Provider, fake: FakeProvider, user: User) -> None:
    access, _refresh = fake.oauth2.issue()
    connection = flows.import_connection(silent, user, access_token=access, subject="account-1")
    fake.oauth2.grants[0].access.clear()
    assert not flows.introspect(connection).active
    connection.refresh_from_db()
    assert (connection.status, connection.reason) == ("reauthorization_required", "expired")


def test_a_token_that_was_replaced_meanwhile_keeps_what_is_known_of_it(
    silent: Provider, fake: FakeProvider, user: User
) -> None:
    connection = make_connection(silent, user, fake)

    class Refreshing(Delay):
        def play(self, handler: Any, normal: Any) -> None:
            Token.objects.update(generation=99, expires_at=None)
            super().play(handler, normal)

    fake.script("introspect", Refreshing(seconds=0))
    flows.introspect(connection)
    assert left(connection) is None


@pytest.mark.security("B24", "H06")
def test_what_cannot_be_asked_says_so(silent: Provider, fake: FakeProvider, user: User) -> None:
    connection = make_connection(silent, user, fake)
    for columns, code in (
        ({"token_endpoint": f"{fake.url}/elsewhere"}, "provider_changed"),
        ({"introspection_endpoint": "file:///etc/passwd"}, "endpoint_not_allowed"),
        ({"introspection_endpoint": ""}, "provider_misconfigured"),
    ):
        Provider.objects.update(**columns)
        with pytest.raises(ConfigurationError) as caught:
            flows.introspect(connection)
        assert caught.value.code == code
        Provider.objects.update(
            token_endpoint=silent.token_endpoint, introspection_endpoint=silent.introspection_endpoint
        )
    assert not fake.requests
    fake.script("introspect", Answer(500))
    with pytest.raises(TokenEndpointError):
        flows.introspect(connection)


def test_an_unknown_life_stays_unknown(silent: Provider, fake: FakeProvider, user: User) -> None:
    connection = make_connection(silent, user, fake)
    fake.script("introspect", Answer(200, {"active": True}))
    assert flows.introspect(connection).expires_at is None
    assert left(connection) is None


def test_a_call_whose_token_still_works_does_not_wait_for_it(
    silent: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    walk(browser, silent)
    connection = user.oauth_connections.get()
    Provider.objects.update(stale_refresh_budget=1)
    soon = DatabaseNow() + timedelta(minutes=1)
    Token.objects.update(expires_at=soon, next_refresh_at=DatabaseNow(), last_refreshed_at=None)
    fake.script("introspect", Delay(seconds=4))
    begun = time.monotonic()
    assert flows.session(connection).get("/echo").status_code == 200
    assert fake.count("token") == 2, "it was refreshed on the way"
    assert time.monotonic() - begun < 3
