"""Group T from end to end: what an odd answer of the token endpoint does to the page, the rows and the next call."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from django_oauth_flows import flows
from django_oauth_flows.exceptions import MissingScopes
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Connection, Token
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Answer, Delay
from django_oauth_flows.testing.factories import shift_expiry, walk

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

GOOD = {"access_token": "abc", "token_type": "Bearer"}


def issued(fake: FakeProvider, members: str = "") -> Answer:
    """Return an answer with an access token that works, and further members as JSON text."""
    access, _ = fake.oauth2.issue()
    return Answer(200, f'{{"access_token": "{access}", "token_type": "Bearer"{members}}}')


def lifetime_left(connection: Connection) -> float:
    """Return the seconds until the access token expires, by the database's clock."""
    token: Any = Token.objects.annotate(now=DatabaseNow()).get(connection=connection)
    return (token.expires_at - token.now).total_seconds()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        pytest.param(Answer(307, headers={"Location": "/token2"}), "provider_redirect", marks=pytest.mark.security("T02")),
        pytest.param(Answer(200, {"error": "invalid_grant"}), "invalid_grant", marks=pytest.mark.security("T03")),
        pytest.param(Answer(200, "<html>Log in</html>"), "bad_response", marks=pytest.mark.security("T04")),
        pytest.param(Answer(204), "bad_response", marks=pytest.mark.security("T04")),
        pytest.param(Answer(200, {**GOOD, "access_token": None}), "bad_token", marks=pytest.mark.security("T07")),
        pytest.param(Answer(200, {**GOOD, "access_token": "a\r\nX: 1"}), "bad_token", marks=pytest.mark.security("T07")),
        pytest.param(Answer(200, {**GOOD, "token_type": "mac"}), "token_type_unsupported", marks=pytest.mark.security("T08")),
    ],
)  # fmt: skip
def test_an_answer_without_a_usable_token_is_refused_with_its_code_and_stores_nothing(
    fault: Answer, code: str, browser: Client, provider: Provider, fake: FakeProvider
) -> None:
    fake.script("token", fault)
    response = walk(browser, provider)
    assert response.status_code == 400
    assert f"<code>{code}</code>".encode() in response.content
    assert [request.path for request in fake.requests] == ["/authorize", "/token"]
    assert not Connection.objects.exists()
    request = AuthorizationRequest.objects.get()
    assert (request.outcome, request.failure) == ("failed", code)


@pytest.mark.security("T06")
@pytest.mark.parametrize(
    ("value", "lifetime"),
    [
        ("null", 1800), ("true", 1800), ('"abc"', 1800), ("[]", 1800), ("{}", 1800), ("NaN", 1800), ("1e400", 1800),
        ("0", 0), ("-10", 0), ('"3600"', 3600), ('"3600.0"', 3600), ("3600.7", 3600), ("1" + "0" * 20, 315_360_000),
    ],
)  # fmt: skip
def test_no_lifetime_loses_the_connection_and_an_unknown_one_is_the_providers(
    value: str, lifetime: int, browser: Client, provider: Provider, fake: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.access_token_lifetime = 1800
    provider.save()
    fake.script("token", issued(fake, f', "expires_in": {value}'))
    assert walk(browser, provider).status_code == 303
    token = Token.objects.get()
    assert token.issued_at is not None
    assert token.expires_at == token.issued_at + timedelta(seconds=lifetime)
    warned = [r.levelname for r in caplog.records if r.getMessage() == "oauth_flows.lifetime_not_understood"]
    assert warned == (["WARNING"] if lifetime == 1800 and value != "null" else [])


@pytest.mark.security("T06")
def test_a_token_that_is_born_expired_is_refreshed_once_and_then_used(
    connection: Connection, fake: FakeProvider
) -> None:
    shift_expiry(connection, timedelta(seconds=-1))
    fake.script("token", issued(fake, ', "expires_in": 0'))
    with flows.session(connection) as http:
        for _ in range(3):
            assert http.get("/echo").status_code == 200
    assert fake.count("token") == 1


@pytest.mark.security("T09")
def test_a_minimal_answer_connects_and_is_shown_as_not_renewable(
    browser: Client, provider: Provider, user: User, fake: FakeProvider
) -> None:
    fake.script("token", issued(fake))
    assert walk(browser, provider).status_code == 303
    connection = user.oauth_connections.get()
    assert (connection.token.expires_at, connection.token.refresh_token) == (None, None)
    shown = browser.get(f"/api/oauth/v1/connections/{connection.pk}/").json()
    assert (shown["status"], shown["renewable"], shown["expires_at"]) == ("active", False, None)
    with flows.session(connection) as http:
        assert http.get("/echo").status_code == 200


@pytest.mark.security("T10")
@pytest.mark.parametrize(
    ("scope", "granted", "missing"),
    [
        ("", ("read", "write"), ()), (', "scope": null', ("read", "write"), ()), (', "scope": ""', (), ("read", "write")),
        (', "scope": "read"', ("read",), ("write",)), (', "scope": ["read"]', ("read",), ("write",)),
        (', "scope": "write,read"', ("write", "read"), ()), (', "scope": "read write more"', ("read", "write", "more"), ()),
    ],
)  # fmt: skip
def test_a_narrower_grant_connects_says_what_is_missing_and_fails_early(
    *, scope: str, granted: tuple[str, ...], missing: tuple[str, ...], browser: Client, provider: Provider, user: User, fake: FakeProvider
) -> None:  # fmt: skip
    fake.script("token", issued(fake, scope))
    assert walk(browser, provider, scopes="read write").status_code == 303
    connection = user.oauth_connections.get()
    assert (connection.granted_scopes, connection.missing_scopes) == (granted, missing)
    before = len(fake.requests)
    if missing:
        with pytest.raises(MissingScopes) as caught:
            flows.session(connection, scopes=["read", "write"])
        assert caught.value.scopes == missing
    else:
        flows.session(connection, scopes=["read", "write"])
    assert len(fake.requests) == before


@pytest.mark.security("T24")
def test_a_lifetime_counts_from_the_request_and_not_from_its_late_answer(
    browser: Client, provider: Provider, user: User, fake: FakeProvider
) -> None:
    fake.script("token", Delay(seconds=1.2), Delay(seconds=1.2))
    walk(browser, provider)
    connection = user.oauth_connections.get()
    assert 3590 < lifetime_left(connection) < 3600 - 1.1
    flows.refresh(connection)
    assert 3590 < lifetime_left(connection) < 3600 - 1.1


@pytest.mark.security("T24")
@pytest.mark.parametrize("minutes", [-10, 10])
def test_neither_our_clock_nor_the_providers_decides_when_a_token_expires(
    minutes: int, browser: Client, provider: Provider, user: User, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, right_now, right_time = timedelta(minutes=minutes), timezone.now, time.time
    monkeypatch.setattr(timezone, "now", lambda: right_now() + wrong)
    monkeypatch.setattr(time, "time", lambda: right_time() + wrong.total_seconds())
    answer = issued(fake, ', "expires_in": 3600, "refresh_token": "r"')
    fake.script("token", Answer(200, answer.body, {"Date": "Thu, 01 Jan 1970 00:00:00 GMT"}))
    walk(browser, provider)
    connection = user.oauth_connections.get()
    assert 3590 < lifetime_left(connection) <= 3600
    shift_expiry(connection, timedelta(minutes=5))
    flows.access_token(connection)
    assert fake.count("token") == 1
    shift_expiry(connection, timedelta(minutes=-5))
    fake.script("token", issued(fake, ', "expires_in": 3600'))
    flows.access_token(connection)
    assert fake.count("token") == 2
    assert 3590 < lifetime_left(connection) <= 3600


@pytest.mark.security("T04", "F05")
@pytest.mark.parametrize("value", ['"a\\u0000b"', '"\\ud800"', "NaN", "-Infinity", "1e400", '{"a": ["\\u0000"]}'])
def test_a_kept_member_that_no_database_takes_loses_neither_connection_nor_refresh(
    value: str, browser: Client, provider: Provider, user: User, fake: FakeProvider
) -> None:
    provider.dialect = {"kept_token_fields": ["team", "plan"]}
    provider.save()
    fake.script("token", issued(fake, f', "team": {value}, "plan": "free", "refresh_token": "first"'))
    assert walk(browser, provider).status_code == 303
    fake.script("token", issued(fake, f', "team": {value}, "plan": "paid", "refresh_token": "second"'))
    flows.refresh(user.oauth_connections.get())
    token = Token.objects.select_related("connection").get()
    assert token.extra == {"plan": "paid"}
    assert token.open("refresh_token") == Secret("second")
