"""An OpenID provider that is none of ours: npm's oidc-provider, certified by the OpenID Foundation, over real HTTP."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.management import call_command
from django.test import Client

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ReauthorizationRequiredError
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing.factories import answer, shift_expiry
from tests.independent.life import CALLBACK, connect, found, live_a_life, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from pytest_django.live_server_helper import LiveServer

    from tests.independent.openid_server import OpenIDServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.needs("oidc-provider")]

FORM = "application/x-www-form-urlencoded"
OFFLINE = ("openid", "offline_access", "profile")


def query(url: str) -> dict[str, str]:
    """Return the parameters of an address."""
    return {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}


@pytest.mark.security("I01", "I02", "I03", "I04", "I05", "I19")
def test_what_one_command_discovers_lives_a_whole_life(
    openid_server: OpenIDServer, browser: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = openid_server.register(redirect_uris=[CALLBACK])
    monkeypatch.setenv("OP_SECRET", client["client_secret"])
    named = {"slug": "op", "client_id": client["client_id"], "client_secret_env": "OP_SECRET"}
    call_command("add_provider", issuer=openid_server.url, internal=True, stdout=StringIO(), **named)
    provider = Provider.objects.get()
    provider.api_base_url = f"{openid_server.url}/"
    provider.save()
    assert (provider.issuer, provider.identity_source) == (openid_server.url, "id_token")
    connect(browser, openid_server)
    mine = user.oauth_connections.get()
    assert mine.subject == "account-1"
    assert live_a_life(mine, "me", openid_server) == {"sub": "account-1"}


@pytest.mark.security("I21")
def test_its_metadata_stay_what_they_were(add_op: Callable[..., Provider]) -> None:
    assert flows.rediscover(add_op()) == {}


@pytest.mark.rfc("6749", "2.3.1")
@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_jwt", "none"])
def test_every_way_to_say_who_we_are_is_taken(
    method: str, add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    add_op(client={"token_endpoint_auth_method": method}, token_endpoint_auth_method=method)
    connect(browser, openid_server)
    live_a_life(user.oauth_connections.get(), "me", openid_server)


@pytest.mark.security("T17")
@pytest.mark.rfc("7523", "2.2")
def test_it_fetches_our_public_key_and_believes_what_we_sign(
    live_server: LiveServer, add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    method = {"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256"}
    provider = add_op(client={**method, "jwks_uri": f"{live_server.url}/oauth/jwks/op/"})
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    provider.seal("private_key", Secret(pem))
    provider.token_endpoint_auth_method = "private_key_jwt"
    provider.full_clean()
    provider.save()
    connect(browser, openid_server)
    live_a_life(user.oauth_connections.get(), "me", openid_server)
    Provider.objects.update(issuer="https://attacker.example")  # an assertion for another issuer is worth nothing here
    refused: Any = browser.post("/oauth/connect/op/")
    assert (refused.status_code, refused.context["code"]) == (400, "par_failed")
    assert "client authentication failed" in refused.content.decode()


@pytest.mark.security("A05")
@pytest.mark.rfc("7636", "4.4.1")
def test_pkce_is_what_it_asks_for_and_what_we_send(
    add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    provider = add_op(pushed_authorization_request_endpoint="", code_challenge_method="")
    refused: Any = answer(browser, openid_server.browser().get(start(browser), follow=False).location)
    assert (refused.status_code, Connection.objects.count()) == (400, 0)
    assert "PKCE" in refused.content.decode()
    provider.code_challenge_method = "S256"
    provider.save()
    url = start(browser)
    assert query(url)["code_challenge_method"] == "S256"
    callback = openid_server.consent(url).location
    stolen = {"grant_type": "authorization_code", "code": query(callback)["code"], "redirect_uri": CALLBACK}
    assert _token_request(provider, {**stolen, "code_verifier": "v" * 43}) == (400, "invalid_grant")
    url = start(browser)
    assert answer(browser, openid_server.consent(url).location).status_code == 303
    live_a_life(user.oauth_connections.get(), "me", openid_server)


@pytest.mark.security("A15")
@pytest.mark.rfc("9126", "2.1")
def test_a_request_that_must_be_pushed_is_pushed(
    add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    provider = add_op(client={"require_pushed_authorization_requests": True})
    url = start(browser)
    assert set(query(url)) == {"client_id", "request_uri"}
    assert answer(browser, openid_server.consent(url).location).status_code == 303
    live_a_life(user.oauth_connections.get(), "me", openid_server)
    again = openid_server.browser().get(url, follow=False)  # a reference is used up
    assert query(again.location)["error"] == "invalid_request_uri"
    Provider.objects.filter(pk=provider.pk).update(pushed_authorization_request_endpoint="")
    refused: Any = answer(browser, openid_server.browser().get(start(browser), follow=False).location)
    assert (refused.status_code, refused.context["code"]) == (400, "provider_error")


@pytest.mark.security("A15")
def test_a_pushed_request_that_it_refuses_ends_the_start(add_op: Callable[..., Provider], browser: Client) -> None:
    provider = add_op()
    Provider.objects.filter(pk=provider.pk).update(client_id="somebody-else")
    started: Any = browser.post("/oauth/connect/op/")
    assert (started.status_code, started.context["code"]) == (400, "par_failed")


@pytest.mark.security("B11", "B12")
@pytest.mark.rfc("9207", "2.4")
def test_its_answers_name_their_issuer_and_no_other_is_taken(
    add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    add_op()
    for change, code in ({"iss": "https://attacker.example"}, "issuer_mismatch"), ({"iss": None}, "issuer_missing"):
        sent = {**query(openid_server.consent(start(browser)).location), **change}
        kept = {name: value for name, value in sent.items() if value is not None}
        refused: Any = answer(browser, f"{CALLBACK}?{urlencode(kept)}")
        assert (refused.status_code, refused.context["code"]) == (400, code)
    assert not Connection.objects.exists()
    assert query(connect(browser, openid_server))["iss"] == openid_server.url
    assert user.oauth_connections.get().is_active


@pytest.mark.security("B13")
def test_who_cancels_is_told_so(add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client) -> None:
    add_op()
    person = openid_server.browser()
    page = person.get(start(browser))
    page = person.submit(page, page.form(button="Cancel"), button="Cancel", follow=False)
    refused: Any = answer(browser, person.get(page.location, follow=False).location)
    assert (refused.status_code, refused.context["code"]) == (400, "access_denied")


@pytest.mark.security("B20")
def test_an_answer_in_a_posted_form_finds_its_way(
    add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    add_op(response_mode="form_post")
    form = openid_server.consent(start(browser)).form(action=CALLBACK)
    assert form.fields["iss"] == openid_server.url
    elsewhere = Client(enforce_csrf_checks=True)  # another site's page: no cookie of ours
    page: Any = elsewhere.post(
        urlsplit(form.action).path, urlencode(form.fields), content_type=FORM, headers={"Origin": "null"}
    )
    assert page.status_code == 200
    assert not Connection.objects.exists()
    assert browser.get(page["Refresh"].removeprefix("0; url=")).status_code == 303
    live_a_life(user.oauth_connections.get(), "me", openid_server)


@pytest.mark.rfc("8707", "2")
def test_a_token_is_for_the_resource_that_was_named(
    add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    named = {"resources": [f"{openid_server.url}/api/"]}
    provider = add_op(scopes=("openid", "offline_access", "notes:read"), dialect=named)
    connect(browser, openid_server)
    mine = user.oauth_connections.get()
    assert "notes:read" in mine.granted_scopes
    assert found(f"{openid_server.url}/me", flows.access_token(mine)) == 403
    notes = live_a_life(mine, "api/notes", openid_server)
    assert notes == {"owner": "account-1", "scope": "notes:read", "notes": ["Remember the milk"]}
    provider.dialect["resources"] = [f"{openid_server.url}/other/"]
    provider.save()
    started: Any = browser.post("/oauth/connect/op/")
    assert (started.status_code, started.context["code"]) == (400, "par_failed")


def test_a_token_for_nothing_in_particular_opens_no_resource(
    add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    add_op()
    connect(browser, openid_server)
    with flows.session(user.oauth_connections.get()) as http:
        assert http.get("api/notes").status_code == 403


@pytest.mark.rfc("6749", "4.4")
def test_the_site_has_a_token_of_its_own(add_op: Callable[..., Provider], openid_server: OpenIDServer) -> None:
    provider = add_op(
        client={"grant_types": ["client_credentials"], "redirect_uris": [], "response_types": []},
        scopes=("notes:read",),
        dialect={"resources": [f"{openid_server.url}/api/"]},
    )
    with flows.client_session(provider) as http:
        assert http.get("api/notes").json()["owner"] == provider.client_id
    mine = Connection.objects.get()
    token = flows.access_token(mine)
    assert flows.revoke(mine) == "revoked"
    assert found(f"{openid_server.url}/api/notes", token) == 401


@pytest.mark.security("F08")
@pytest.mark.rfc("9700", "4.14.2")
def test_a_refresh_token_that_was_replaced_ends_the_grant_and_the_connection(
    add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    provider = add_op()
    connect(browser, openid_server)
    mine = user.oauth_connections.get()
    first = mine.token.open("refresh_token")
    assert flows.refresh(mine).refreshed
    mine.token.refresh_from_db()
    second = mine.token.open("refresh_token")
    assert first is not None
    assert second is not None
    assert second != first
    with flows.session(mine) as http:
        assert http.get("me").status_code == 200
    stolen = {"grant_type": "refresh_token", "refresh_token": first.reveal()}
    assert _token_request(provider, stolen) == (
        400,
        "invalid_grant",
    )  # reuse: the thief gets nothing, and nobody keeps anything
    with flows.session(mine) as http:
        assert http.get("me").status_code == 401
    with pytest.raises(ReauthorizationRequiredError):
        flows.refresh(mine)
    mine.refresh_from_db()
    assert (mine.status, mine.reason) == ("reauthorization_required", "invalid_grant")


@pytest.mark.security("F01", "F07")
def test_a_rotating_server_sees_each_refresh_token_once(
    add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    add_op()
    connect(browser, openid_server)
    mine = user.oauth_connections.get()
    for _ in range(5):
        shift_expiry(mine, timedelta(seconds=-1))
        with flows.session(mine) as http:
            assert http.get("me").status_code == 200
    assert mine.is_active


@pytest.mark.security("I05", "I07")
def test_an_id_token_is_signed_as_was_agreed_or_refused(
    add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    provider = add_op(client={"id_token_signed_response_alg": "ES256"})
    refused: Any = answer(browser, openid_server.consent(start(browser)).location)
    assert (refused.status_code, refused.context["code"]) == (400, "id_token_invalid")
    assert not Connection.objects.exists()
    provider.dialect["id_token_signed_response_alg"] = "ES256"
    provider.save()
    connect(browser, openid_server)
    assert user.oauth_connections.get().subject == "account-1"


@pytest.mark.security("I15")
@pytest.mark.parametrize("signed", [False, True])
def test_its_userinfo_tells_the_account_signed_or_not(
    signed: bool, add_op: Callable[..., Provider], openid_server: OpenIDServer, browser: Client, user: User
) -> None:
    add_op(
        client={"userinfo_signed_response_alg": "ES256"} if signed else {},
        scopes=OFFLINE,
        identity_source="userinfo",
        dialect={"userinfo_signed_response_alg": "ES256"} if signed else {},
    )
    connect(browser, openid_server)
    mine = user.oauth_connections.get()
    assert (mine.subject, mine.label) == ("account-1", "Ada Lovelace")


def _token_request(provider: Provider, fields: dict[str, str]) -> tuple[int, str]:
    """Ask as a thief who has the client's secret as well; return the status and the error."""
    secret = provider.open("client_secret")
    assert secret is not None
    done = requests.post(provider.token_endpoint, data=fields, auth=(provider.client_id, secret.reveal()), timeout=10)
    return done.status_code, done.json().get("error", "")
