"""What a connection to somebody else's server goes through, from the first click to the call that fails."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests

from django_oauth_flows import flows
from django_oauth_flows.exceptions import Disconnected
from django_oauth_flows.testing.factories import answer, shift_expiry

if TYPE_CHECKING:
    from django.test import Client

    from django_oauth_flows.models import Connection
    from tests.independent.openid_server import OpenIDServer

CALLBACK = "http://testserver/oauth/callback/op/"


def start(browser: Client) -> str:
    """Press *Connect*; return where the browser is sent."""
    started: Any = browser.post("/oauth/connect/op/")
    assert started.status_code == 303, started.content
    location: str = started["Location"]
    return location


def connect(browser: Client, server: OpenIDServer) -> str:
    """Connect, consent, and follow the redirect to the callback; return the callback's address."""
    callback = server.consent(start(browser)).location
    assert callback.startswith(CALLBACK)
    response = answer(browser, callback)
    assert response.status_code == 303, response.content
    return callback


def found(url: str, token: str) -> int:
    """Call as whoever has found the token could; return the status."""
    return requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10).status_code


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
        assert found(f"{server.url}/{path}", second) == 200
        assert flows.revoke(connection) == "revoked"
        with pytest.raises(Disconnected):
            http.get(path)
    assert found(f"{server.url}/{path}", second) == 401
    return dict(called.json())
