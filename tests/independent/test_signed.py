"""Signed requests and answers, details and registration at a server that is none of ours: npm's oidc-provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.test import Client

from django_oauth_flows import flows
from django_oauth_flows.models import Connection
from django_oauth_flows.protocol.keys import new_private_key, public_jwk
from django_oauth_flows.testing.factories import answer
from tests.independent.life import CALLBACK, connect, live_a_life, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from django_oauth_flows.models import Provider
    from tests.independent.openid_server import OpenIDServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.needs("oidc-provider")]

FORM = "application/x-www-form-urlencoded"
DETAILS = [{"type": "note", "actions": ["read"]}]


@pytest.mark.rfc("7591", "3.1")
def test_a_client_that_it_has_registered_lives_a_whole_life(
    db: None, openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    flows.register_provider(openid_server.url, slug="op", internal=True, api_base_url=f"{openid_server.url}/")
    connect(browser, openid_server)
    live_a_life(user.oauth_connections.get(), "me", openid_server)


@pytest.mark.security("A15")
@pytest.mark.rfc("9101", "5.1")
@pytest.mark.parametrize("pushed", [False, True])
@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "EdDSA"])
def test_it_takes_requests_that_we_have_signed_and_no_others(
    algorithm: str,
    pushed: bool,
    add_op: Callable[..., Provider],
    openid_server: OpenIDServer,
    browser: Client,
    user: User,
) -> None:
    key = new_private_key(algorithm)
    only_signed = {"request_object_signing_alg": algorithm, "require_signed_request_object": True}
    provider = add_op(client={**only_signed, "jwks": {"keys": [public_jwk(key, algorithm)]}})
    if not pushed:
        provider.pushed_authorization_request_endpoint = ""
        provider.save()
        unsigned: Any = answer(browser, openid_server.browser().get(start(browser), follow=False).location)
        assert (unsigned.status_code, unsigned.context["code"]) == (400, "provider_error")
    provider.seal("private_key", key)
    provider.dialect["request_object_signing_alg"] = algorithm
    provider.full_clean()
    provider.save()
    assert set(parse_qs(urlsplit(start(browser)).query)) == {"client_id", "request_uri" if pushed else "request"}
    connect(browser, openid_server)
    live_a_life(user.oauth_connections.get(), "me", openid_server)


@pytest.mark.security("B18")
@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_its_signed_answers_are_believed_and_unsigned_ones_are_not(
    algorithm: str, add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    add_op(
        client={"authorization_signed_response_alg": algorithm},
        response_mode="jwt",
        dialect={} if algorithm == "RS256" else {"authorization_signed_response_alg": algorithm},
    )
    back = openid_server.consent(start(browser)).location
    assert set(parse_qs(urlsplit(back).query)) == {"response"}
    head, body, signature = back.partition("response=")[2].split(".")
    forged: Any = answer(browser, f"{CALLBACK}?response={head}.{body}.{signature[::-1]}")
    assert forged.status_code == 400
    assert not Connection.objects.exists()
    callback = connect(browser, openid_server)
    assert set(parse_qs(urlsplit(callback).query)) == {"response"}
    live_a_life(user.oauth_connections.get(), "me", openid_server)


@pytest.mark.security("B20")
def test_its_signed_answer_in_a_form_finds_its_way(
    add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    add_op(response_mode="form_post.jwt")
    form = openid_server.consent(start(browser)).form(action=CALLBACK)
    assert set(form.fields) == {"response"}
    path, elsewhere = urlsplit(form.action).path, Client(enforce_csrf_checks=True)
    page: Any = elsewhere.post(path, urlencode(form.fields), content_type=FORM, headers={"Origin": "null"})
    assert browser.get(page["Refresh"].removeprefix("0; url=")).status_code == 303
    live_a_life(user.oauth_connections.get(), "me", openid_server)


@pytest.mark.rfc("9396", "7")
def test_the_details_that_it_grants_are_kept(
    add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    add_op(
        client={"authorization_details_types": ["note"]},
        scopes=("openid", "offline_access", "notes:read"),
        dialect={"authorization_details": DETAILS, "resources": [f"{openid_server.url}/api/"]},
    )
    connect(browser, openid_server)
    mine = user.oauth_connections.get()
    assert mine.authorization_details == DETAILS
    live_a_life(mine, "api/notes", openid_server)
