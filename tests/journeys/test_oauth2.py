"""An account connected over OAuth 2: start, consent, callback, call, refresh, disconnect."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from django_oauth_flows import flows
from django_oauth_flows.exceptions import Disconnected
from django_oauth_flows.models import Connection, ConnectionEvent, Revocation
from django_oauth_flows.testing.factories import shift_expiry, walk

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_user_connects_calls_and_disconnects(
    browser: Client, provider: Provider, user: User, fake: FakeProvider
) -> None:
    response = walk(browser, provider, next="/notes/?page=2")
    assert response.status_code == 303
    assert response["Location"] == "/notes/?page=2"

    connection = user.oauth_connections.get()
    assert (connection.subject, connection.label) == ("account-1", "Ada Lovelace")
    assert connection.granted_scopes == ("read",)
    assert connection.status == Connection.Status.ACTIVE
    assert connection.token.refresh_token is not None

    with flows.session(connection, purpose="test") as http:
        assert http.get("/echo").json()["path"] == "/api/echo"
        assert http.get("echo?q=1").status_code == 200

    assert flows.revoke(connection, actor=user) == Revocation.Outcome.REVOKED
    assert fake.count("revoke") == 2
    assert [r.form["token_type_hint"] for r in fake.received("revoke")] == ["refresh_token", "access_token"]
    connection.refresh_from_db()
    assert connection.status == Connection.Status.REVOKED
    with pytest.raises(Disconnected), flows.session(connection) as http:
        http.get("/echo")
    kinds = list(ConnectionEvent.objects.order_by("id").values_list("kind", flat=True))
    assert kinds == ["authorized", "revoked", "revocation_finished"]


def test_an_expired_token_is_refreshed_on_the_way_and_the_rotated_one_is_kept(
    connection: Connection, fake: FakeProvider
) -> None:
    shift_expiry(connection, timedelta(seconds=-1))
    with flows.session(connection) as http:
        assert http.get("/echo").status_code == 200
        assert http.get("/echo").status_code == 200
    assert fake.count("token") == 1
    shift_expiry(connection, timedelta(seconds=-1))
    with flows.session(connection) as http:
        assert http.get("/echo").status_code == 200
    assert fake.count("token") == 2


def test_the_site_calls_with_its_own_token(provider: Provider, fake: FakeProvider) -> None:
    for _ in range(3):
        with flows.client_session(provider) as http:
            assert http.get("/echo").status_code == 200
    assert fake.count("token") == 1
    assert fake.received("token")[0].form["grant_type"] == "client_credentials"
