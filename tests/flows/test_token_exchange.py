"""Token exchange: another token for a connection's, which is handed over and kept nowhere. RFC 8693."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ConfigurationError, Disconnected, TokenEndpointError
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import shift_expiry

if TYPE_CHECKING:
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
NEW = {"access_token": "canary_access_new", "token_type": "Bearer", "issued_token_type": ACCESS_TOKEN}


@pytest.mark.security("S01")
def test_it_is_for_nobody_whom_the_caller_has_not_named(connection: Connection, fake: FakeProvider) -> None:
    Provider.objects.update(dialect={"resources": ["https://api.own.example/"]})
    flows.exchange_token(connection, resource="https://reports.example/")
    assert fake.received("token")[-1].body.decode().count("resource=") == 1


@pytest.mark.rfc("8693", "2.1")
@pytest.mark.rfc("8693", "2.2.1")
@pytest.mark.security("S01", "L01")
def test_another_token_comes_for_other_audiences_and_is_kept_nowhere(
    connection: Connection, fake: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    found = flows.exchange_token(
        connection, audience="reports", resource=["https://a.example/api", "https://b.example/api"], scopes=["read"]
    )
    request = fake.received("token")[-1]
    body = request.body.decode()
    assert request.form["grant_type"] == "urn:ietf:params:oauth:grant-type:token-exchange"
    assert request.form["subject_token"] == flows.access_token(connection)
    assert request.form["subject_token_type"] == request.form["requested_token_type"] == ACCESS_TOKEN
    assert (request.form["audience"], request.form["scope"]) == ("reports", "read")
    assert body.count("resource=https") == 2
    assert fake.oauth2.grant_of(found.access_token.reveal()) is not None
    assert found.access_token.reveal() != flows.access_token(connection)
    assert found.scopes == ("read",)
    assert found.expires_at is not None
    assert abs(found.expires_at - timezone.now() - timedelta(hours=1)) < timedelta(seconds=30)
    assert "canary" not in repr(found) + str(found) + caplog.text
    assert Connection.objects.count() == 1


def test_an_expired_token_is_refreshed_first(connection: Connection, fake: FakeProvider) -> None:
    shift_expiry(connection, timedelta(seconds=-1))
    flows.exchange_token(connection, audience="reports")
    refreshed, swapped = fake.received("token")
    assert refreshed.form["grant_type"] == "refresh_token"
    assert swapped.form["subject_token"] == flows.access_token(connection)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(400, {"error": "invalid_target"}), "provider_error"),
        (Answer(400, {"error": "invalid_grant"}), "invalid_grant"),
        (Answer(200, "<html>"), "bad_response"),
        (Answer(200, {**NEW, "issued_token_type": None}), "bad_response"),
        (Answer(200, {**NEW, "issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}), "bad_response"),
        (Answer(200, {**NEW, "token_type": "N_A"}), "token_type_unsupported"),
        (Answer(200, {**NEW, "access_token": "a b"}), "bad_token"),
        (Answer(503), "provider_unreachable"),
    ],
    ids=str,
)
def test_a_refusal_says_why_and_changes_nothing(
    answer: Answer, code: str, connection: Connection, fake: FakeProvider
) -> None:
    fake.script("token", answer)
    with pytest.raises(TokenEndpointError) as caught:
        flows.exchange_token(connection, audience="reports")
    assert caught.value.code == code
    connection.refresh_from_db()
    assert connection.is_active
    assert flows.session(connection).get("echo").status_code == 200


@pytest.mark.security("B24")
def test_a_token_is_shown_to_no_other_server_than_its_own(connection: Connection, fake: FakeProvider) -> None:
    Provider.objects.update(token_endpoint=f"{fake.url}/elsewhere")
    with pytest.raises(ConfigurationError) as caught:
        flows.exchange_token(connection, audience="reports")
    assert caught.value.code == "provider_changed"
    assert not fake.requests


def test_a_disconnected_account_has_nothing_to_exchange(connection: Connection, fake: FakeProvider) -> None:
    flows.revoke(connection)
    with pytest.raises(Disconnected):
        flows.exchange_token(connection)
    assert fake.count("token") == 0


def test_oauth1_has_no_such_thing(oauth1_connection: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        flows.exchange_token(oauth1_connection)
    assert caught.value.code == "provider_misconfigured"
