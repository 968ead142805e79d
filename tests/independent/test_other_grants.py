"""Codes for other devices, and introspection, at a server that is none of ours: npm's oidc-provider, over real HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ReauthorizationRequiredError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Connection, Token
from tests.independent.life import connect, live_a_life

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from tests.independent.openid_server import OpenIDServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.needs("oidc-provider")]

DEVICE = {
    "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
    "redirect_uris": [],
    "response_types": [],
}


def start(browser: Client) -> tuple[str, Any]:
    """Ask for a code; return the page that shows it, and what it shows."""
    started: Any = browser.post("/oauth/connect/op/", {"way": "device"})
    assert started.status_code == 303, started.content
    page = str(started["Location"])
    shown: Any = browser.get(page)
    return page, shown.context["device"]


def look_again(browser: Client, page: str) -> Any:
    """Look once the interval is over."""
    AuthorizationRequest.objects.filter(taken_at=None).update(next_poll_at=DatabaseNow())
    return browser.get(page)


@pytest.mark.security("T20")
@pytest.mark.rfc("8628", "3.5")
def test_a_code_that_is_entered_elsewhere_lives_a_whole_life(
    add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    provider = add_op(client=DEVICE)
    assert provider.device_authorization_endpoint == f"{openid_server.url}/device/auth"
    page, device = start(browser)
    assert look_again(browser, page).status_code == 200  # the server: authorization_pending
    openid_server.enter(device.verification_uri, device.user_code)
    assert look_again(browser, page).status_code == 303
    mine = user.oauth_connections.get()
    assert (mine.subject, mine.grant_type) == ("account-1", "device_code")
    live_a_life(mine, "me", openid_server)


@pytest.mark.security("T20")
def test_a_code_that_is_refused_elsewhere_connects_nothing(
    add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client
) -> None:
    add_op(client=DEVICE)
    page, device = start(browser)
    openid_server.enter(device.verification_uri, device.user_code, button="Cancel")
    refused = look_again(browser, page)
    assert (refused.status_code, refused.context["code"]) == (400, "access_denied")
    assert not Connection.objects.exists()


@pytest.mark.rfc("7662", "2.1")
def test_it_says_how_long_a_token_lives_and_whether_it_still_does(
    add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    provider = add_op()
    assert provider.introspection_endpoint == f"{openid_server.url}/token/introspection"
    connect(browser, openid_server)
    mine = user.oauth_connections.get()
    Token.objects.update(expires_at=None, next_refresh_at=None)
    state = flows.introspect(mine)
    assert state.active
    assert state.expires_at is not None
    assert Token.objects.get().expires_at == state.expires_at
    refresh_token, secret = mine.token.open("refresh_token"), provider.open("client_secret")
    assert refresh_token is not None
    assert secret is not None
    ended = requests.post(
        provider.revocation_endpoint,
        data={"token": refresh_token.reveal()},
        auth=(provider.client_id, secret.reveal()),
        timeout=10,
    )
    assert ended.status_code == 200
    assert not flows.introspect(mine).active
    with flows.session(mine) as http, pytest.raises(ReauthorizationRequiredError):
        http.get("me")
