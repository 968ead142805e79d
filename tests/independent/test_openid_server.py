"""An OpenID provider that is none of ours: npm's oidc-provider, certified by the OpenID Foundation, over real HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from django.test import Client

from django_oauth_flows import flows
from django_oauth_flows.exceptions import Disconnected
from django_oauth_flows.testing.factories import answer, shift_expiry

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from django_oauth_flows.models import Connection, Provider
    from tests.independent.openid_server import OpenIDServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.needs("oidc-provider")]

CALLBACK = "http://testserver/oauth/callback/op/"


@pytest.fixture
def add(db: None, openid_server: OpenIDServer) -> Callable[..., Provider]:
    """Return a maker of providers: a client of its own at the server, and the rest from discovery."""

    def make(*, client: dict[str, Any] | None = None, scopes: Any = None, **columns: Any) -> Provider:
        registered = openid_server.register(redirect_uris=[CALLBACK], **(client or {}))
        provider = flows.add_discovered_provider(
            openid_server.url,
            slug="op",
            client_id=registered["client_id"],
            client_secret=registered.get("client_secret", ""),
            scopes=scopes,
            api_base_url=f"{openid_server.url}/",
            internal=True,
        )
        for name, value in columns.items():
            setattr(provider, name, value)
        provider.full_clean()
        provider.save()
        return provider

    return make


def start(browser: Client) -> str:
    """Start, and return where the browser is sent."""
    started: Any = browser.post("/oauth/connect/op/")
    assert started.status_code == 303, started.content
    return started["Location"]


def connect(browser: Client, server: OpenIDServer) -> str:
    """Start, consent, and follow the redirect to the callback; return the callback's address."""
    callback = server.consent(start(browser)).location
    assert callback.startswith(CALLBACK)
    response = answer(browser, callback)
    assert response.status_code == 303, response.content
    return callback


def bearer(url: str, token: Any) -> int:
    """Call with a token as anybody could who has found it."""
    return requests.get(url, headers={"Authorization": f"Bearer {token.reveal()}"}, timeout=10).status_code


def live_a_life(connection: Connection, path: str, server: OpenIDServer) -> dict[str, Any]:
    """Call, refresh, call with the new token, revoke, and see that no call works any more; return the last answer."""
    with flows.session(connection) as http:
        assert http.get(path).status_code == 200
    first = flows.access_token(connection)
    shift_expiry(connection, timedelta(seconds=-1))
    with flows.session(connection) as http:
        called = http.get(path)
        assert called.status_code == 200
        second = flows.access_token(connection)
        assert second != first
        assert bearer(f"{server.url}/{path}", second) == 200
        assert flows.revoke(connection) == "revoked"
        with pytest.raises(Disconnected):
            http.get(path)
    assert bearer(f"{server.url}/{path}", second) == 401
    return dict(called.json())


def test_probe(add, openid_server, browser, user):
    provider = add()
    callback = connect(browser, openid_server)
    mine = user.oauth_connections.get()
    print(callback, mine.token.scopes if hasattr(mine.token, "scopes") else mine.scopes, mine.token.refresh_token)
    live_a_life(mine, "me", openid_server)
