"""Rich authorization requests: what exactly is asked for, and what exactly was granted. RFC 9396."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ScopeNotAllowed
from django_oauth_flows.models import Connection, Token
from django_oauth_flows.protocol.dialect import Dialect
from django_oauth_flows.testing.factories import answer, consent, make_connection, make_provider, walk

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

ACCOUNTS = {
    "type": "account_information",
    "actions": ["list_accounts", "read_balances"],
    "locations": ["https://rs.example"],
}
PAYMENT = {"type": "payment_initiation", "instructedAmount": {"currency": "EUR", "amount": "123.50"}}


@pytest.fixture
def detailed(db: None, fake: FakeProvider) -> Provider:
    """Return a provider that is asked for accounts, and may be asked for payments."""
    dialect = {"authorization_details": [ACCOUNTS], "authorization_details_types": ["payment_initiation"]}
    return make_provider(fake, dialect=dialect)


def details_of(url: str) -> Any:
    """Return the authorization details in a request."""
    return json.loads(parse_qs(urlsplit(url).query)["authorization_details"][0])


def start(provider: Provider, user: User, **asked: Any) -> str:
    """Start as the site's own code does; return where the browser is sent."""
    started = flows.start_authorization(
        provider, user=user, session_auth_hash=user.get_session_auth_hash(), site_url="http://testserver", **asked
    )
    return started.authorization_url


@pytest.mark.rfc("9396", "3")
@pytest.mark.parametrize("pushed", [False, True])
def test_the_details_are_sent_and_what_was_granted_is_kept(
    pushed: bool, detailed: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    if pushed:
        detailed.pushed_authorization_request_endpoint, fake.oauth2.requires_par = f"{fake.url}/par", True
        detailed.save()
    granted = [{**ACCOUNTS, "actions": ["list_accounts"]}]  # the user has unticked one
    fake.oauth2.granted_details = granted
    url: str = browser.post("/oauth/connect/fake/")["Location"]
    if pushed:
        assert set(parse_qs(urlsplit(url).query)) == {"client_id", "request_uri"}
        assert json.loads(fake.received("par")[0].form["authorization_details"]) == [ACCOUNTS]
    else:
        assert details_of(url) == [ACCOUNTS]
    answer(browser, consent(url))
    connection = user.oauth_connections.get()
    assert connection.authorization_details == granted
    assert "<code>account_information</code>: list_accounts</dd>" in browser.get("/oauth/").content.decode()
    (row,) = browser.get("/api/oauth/v1/connections/").json()["results"]
    assert row["authorization_details"] == granted


@pytest.mark.rfc("9396", "7")
def test_a_refresh_that_says_less_is_believed_and_one_that_says_nothing_changes_nothing(
    detailed: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    walk(browser, detailed)
    connection: Connection = user.oauth_connections.get()
    assert connection.authorization_details == [ACCOUNTS]
    fake.oauth2.grants[0].details = None
    flows.refresh(connection)
    assert Connection.objects.get().authorization_details == [ACCOUNTS]
    fake.oauth2.grants[0].details = less = [{"type": "account_information", "actions": []}]
    flows.refresh(connection)
    assert Connection.objects.get().authorization_details == less


def test_a_caller_asks_for_listed_types_only(detailed: Provider, user: User) -> None:
    assert details_of(start(detailed, user, authorization_details=[PAYMENT])) == [PAYMENT]
    for refused in ([{"type": "everything"}], [{"actions": ["all"]}], [{"type": "account_information", "x": object()}]):
        with pytest.raises(ScopeNotAllowed) as caught:
            start(detailed, user, authorization_details=refused)
        assert caught.value.code == "details_not_allowed"


def test_a_reconnect_asks_for_what_was_granted(detailed: Provider, browser: Client, user: User) -> None:
    asked = start(detailed, user, authorization_details=[PAYMENT])
    assert details_of(asked) == [PAYMENT]
    walk(browser, detailed)
    token = Token.objects.get()
    token.extra["authorization_details"] = [PAYMENT, {"type": "no longer listed"}]
    token.save()
    connection = Connection.objects.get()
    assert details_of(start(detailed, user, reconnect=connection)) == [PAYMENT]
    Token.objects.update(extra={})
    assert details_of(start(detailed, user, reconnect=Connection.objects.get())) == [ACCOUNTS]


@pytest.mark.parametrize("said", ["everything", [1], [{}], [{"type": 7}], {"type": "x"}])
def test_nonsense_for_what_was_granted_is_nothing(
    said: Any, detailed: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.oauth2.granted_details = said
    assert walk(browser, detailed).status_code == 303
    assert user.oauth_connections.get().authorization_details == []
    assert browser.get("/oauth/").status_code == 200


def test_nothing_is_asked_for_or_kept_where_the_dialect_knows_no_details(
    provider: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.oauth2.granted_details = [ACCOUNTS]
    walk(browser, provider)
    assert "authorization_details" not in dict(fake.received("authorize")[0].query)
    assert user.oauth_connections.get().authorization_details == []


@pytest.mark.parametrize(
    "value",
    [
        {"authorization_details": "text"},
        {"authorization_details": [{"actions": []}]},
        {"authorization_details": [{"type": "x"}] * 21},
        {"authorization_details": [{"type": "x" * 4000}]},
        {"authorization_parameters": {"authorization_details": "[]"}},
    ],
)
def test_the_schema_refuses(value: Any) -> None:
    with pytest.raises(ValueError, match="authorization_details"):
        Dialect.from_json(value)


@pytest.mark.rfc("9396", "2")
def test_a_code_for_another_device_is_asked_for_with_them_and_with_what_was_granted(
    fake: FakeProvider, user: User
) -> None:
    details = {"authorization_details": [{"type": "pay"}], "authorization_details_types": ["look"]}
    device = {"device_authorization_endpoint": f"{fake.url}/device", "offers_device_flow": True}
    provider = make_provider(fake, dialect=details, **device)
    flows.start_device_authorization(provider, user=user, session_auth_hash="hash")
    connection = make_connection(provider, user, fake)
    Token.objects.update(extra={"authorization_details": [{"type": "look"}]})
    connection = Connection.objects.get(pk=connection.pk)
    flows.start_device_authorization(provider, user=user, session_auth_hash="hash", reconnect=connection)
    asked = [json.loads(request.form["authorization_details"]) for request in fake.received("device")]
    assert asked == [[{"type": "pay"}], [{"type": "look"}]]
