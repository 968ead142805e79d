"""Tokens that are bound to a key, from the start of a grant to its end: RFC 9449, against a server that checks every proof."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import requests
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError

from django_oauth_flows import flows
from django_oauth_flows.exceptions import (
    ConfigurationError,
    ReauthorizationRequiredError,
    TokenUnavailable,
)
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider, Revocation, Token
from django_oauth_flows.protocol import dpop
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import begin, make_connection, make_provider, walk
from tests.flows.test_async import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider
    from django_oauth_flows.testing.server import Received

pytestmark = pytest.mark.django_db(transaction=True)

CHALLENGE = Answer(400, {"error": "use_dpop_nonce"}, {"DPoP-Nonce": "again"})
API_CHALLENGE = Answer(401, {}, {"WWW-Authenticate": 'DPoP error="use_dpop_nonce"', "DPoP-Nonce": "again"})


@pytest.fixture(autouse=True)
def _no_nonces_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dpop, "_nonces", dpop.NonceCache())


@pytest.fixture
def bound(db: None, fake: FakeProvider) -> Provider:
    """Return a provider whose tokens are bound to keys."""
    fake.oauth2.requires_dpop = True
    return make_provider(fake, dpop_bound_access_tokens=True)


@pytest.fixture
def connected(bound: Provider, browser: Client, user: User) -> Connection:
    """Return a connection that was made there."""
    assert walk(browser, bound).status_code == 303
    return user.oauth_connections.get()


def key_of(connection: Connection) -> Secret | None:
    """Return the key that a connection's token is bound to."""
    return Token.objects.select_related("connection").get(connection=connection).open("dpop_key")


def claims_of(request: Received) -> dict[str, Any]:
    """Return what the proof of a request says."""
    body = request.headers["dpop"].split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=="))
    return found


def by_session(connection: Connection, method: str, url: str, **options: Any) -> int:
    with flows.session(connection) as http:
        return http.request(method, url, **options).status_code


def by_requests(connection: Connection, method: str, url: str, **options: Any) -> int:
    with requests.Session() as http:
        http.auth = flows.requests_auth(connection)
        return http.request(method, url, timeout=10, **options).status_code


def by_httpx(connection: Connection, method: str, url: str, *, data: Any = None) -> int:
    with httpx.Client(auth=flows.httpx_auth(connection), follow_redirects=True) as http:
        return http.request(method, url, content=data).status_code


CLIENTS = [by_session, by_requests, by_httpx]


@pytest.mark.security("T19")
@pytest.mark.rfc("9449", "5")
@pytest.mark.rfc("9449", "10")
@pytest.mark.parametrize("pushes", [False, True])
@pytest.mark.parametrize("public", [False, True])
def test_one_key_goes_with_a_grant_from_its_start_to_its_end(
    *, pushes: bool, public: bool, bound: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.oauth2.public = public
    bound.token_endpoint_auth_method = "none" if public else "client_secret_basic"
    bound.pushed_authorization_request_endpoint = f"{fake.url}/par" if pushes else ""
    bound.save()
    assert walk(browser, bound).status_code == 303
    mine = user.oauth_connections.get()
    key = key_of(mine)
    assert key is not None
    asked = fake.received("par")[0].form if pushes else dict(fake.received("authorize")[0].query)
    assert asked["dpop_jkt"] == dpop.thumbprint_of(key) == fake.oauth2.grants[0].jkt
    assert mine.token.token_type == "DPoP"
    assert by_session(mine, "GET", "echo?page=2") == 200
    assert flows.refresh(mine).refreshed
    assert key_of(mine) == key
    assert by_session(mine, "POST", "echo", data=b"x") == 200
    scheme, _, token = fake.received("api")[-1].headers["authorization"].partition(" ")
    assert (scheme, claims_of(fake.received("api")[-1])["ath"]) == ("DPoP", dpop.hash_of(Secret(token)))
    assert flows.revoke(mine) == Revocation.Outcome.REVOKED
    assert not fake.oauth2.grants[0].alive
    assert all(revocation.dpop_key is None for revocation in Revocation.objects.all())


@pytest.mark.rfc("9449", "5")
def test_every_grant_has_a_key_of_its_own(
    connected: Connection, bound: Provider, fake: FakeProvider, make_user: Callable[..., User]
) -> None:
    from django.test import Client

    other = Client()
    other.force_login(make_user("bob"))
    fake.oauth2.subject = "account-2"
    walk(other, bound)
    theirs = Connection.objects.exclude(pk=connected.pk).get()
    assert key_of(theirs) != key_of(connected)
    assert {by_session(row, "GET", "echo") for row in (connected, theirs)} == {200}


@pytest.mark.security("T19")
@pytest.mark.rfc("9449", "8")
def test_a_nonce_at_the_token_endpoint_costs_neither_code_nor_grant(
    bound: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.oauth2.dpop.demands_nonces = True
    assert walk(browser, bound).status_code == 303
    first, second = fake.received("token")
    assert first.form == second.form
    assert "nonce" not in claims_of(first)
    assert claims_of(second)["nonce"]
    assert claims_of(first)["jti"] != claims_of(second)["jti"]
    mine = user.oauth_connections.get()
    fake.oauth2.dpop.forget_nonces()
    assert flows.refresh(mine).refreshed
    assert fake.count("token") == 4
    flows.refresh(mine)
    assert fake.count("token") == 5  # it is remembered
    mine.token.refresh_from_db()
    assert (mine.token.failure_count, mine.token.attempt_count, mine.token.last_failure) == (0, 0, "")
    fake.oauth2.dpop.rotates_nonces = True
    for _ in range(3):
        flows.refresh(mine)
    assert fake.count("token") == 8  # a good answer names the next
    fake.oauth2.dpop.forget_nonces()
    assert flows.revoke(mine) == Revocation.Outcome.REVOKED
    assert not fake.oauth2.grants[0].alive


@pytest.mark.security("T19")
@pytest.mark.rfc("7523", "3")
def test_a_repeated_request_is_authenticated_anew(
    bound: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.oauth2.dpop.demands_nonces = True
    bound.token_endpoint_auth_method = "client_secret_jwt"
    bound.save()
    assert walk(browser, bound).status_code == 303  # the fake takes each assertion once
    first, second = (request.form["client_assertion"] for request in fake.received("token"))
    assert first != second
    assert user.oauth_connections.get().is_active


@pytest.mark.security("T19")
@pytest.mark.parametrize(
    ("challenge", "sent"),
    [
        (CHALLENGE, 2),
        (Answer(401, CHALLENGE.body, CHALLENGE.headers), 2),
        (Answer(400, CHALLENGE.body), 1),
        (Answer(400, CHALLENGE.body, {"DPoP-Nonce": "two words"}), 1),
        (Answer(400, CHALLENGE.body, {"DPoP-Nonce": "n" * 1001}), 1),
    ],
    ids=str,
)
def test_a_server_that_is_never_content_loses_nothing(
    challenge: Answer, sent: int, bound: Provider, connected: Connection, fake: FakeProvider, browser: Client
) -> None:
    before = fake.count("token")
    fake.script("token", *[challenge] * sent)
    with pytest.raises(TokenUnavailable) as caught:
        flows.refresh(connected)
    assert caught.value.code == "use_dpop_nonce"
    assert fake.count("token") == before + sent
    token = Token.objects.get(connection=connected)
    assert (token.attempt_count, token.last_failure) == (0, "use_dpop_nonce")  # no doubt is left behind
    assert Connection.objects.get(pk=connected.pk).is_active
    assert flows.refresh(connected).refreshed
    fake.script("token", *[challenge] * sent)
    assert b"<code>use_dpop_nonce</code>" in walk(browser, bound).content


@pytest.mark.security("T19")
@pytest.mark.rfc("9449", "9")
@pytest.mark.parametrize("call", CLIENTS)
@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", b"x" * 9), ("PUT", b"y")])
def test_a_nonce_at_the_api_is_given_once_and_remembered(
    *, call: Any, method: str, body: bytes | None, connected: Connection, fake: FakeProvider
) -> None:
    tokens = fake.count("token")
    fake.api.dpop.demands_nonces = True
    fake.api.dpop.scheme = "dPOP"
    url = f"{fake.url}/api/echo"
    assert call(connected, method, url, data=body) == 200
    first, second = fake.received("api")
    assert (first.body, first.url) == (second.body, second.url) == (body or b"", url)
    assert call(connected, method, url, data=body) == 200
    assert fake.count("api") == 3
    fake.api.dpop.rotates_nonces = True
    for _ in range(3):
        assert call(connected, method, url, data=body) == 200
    assert fake.count("api") == 6
    assert fake.count("token") == tokens  # the token was never at fault


@pytest.mark.security("T19")
def test_an_asynchronous_client_gives_the_nonce_and_takes_the_newer_token(
    connected: Connection, fake: FakeProvider
) -> None:
    fake.api.dpop.demands_nonces = True

    async def main() -> None:
        async with httpx.AsyncClient(auth=flows.httpx_auth(connected)) as http:
            for _ in range(2):
                assert (await http.post(f"{fake.url}/api/echo", content=b"x")).status_code == 200
            assert fake.count("api") == 3
            fake.oauth2.grants[0].access.clear()
            assert (await http.get(f"{fake.url}/api/echo")).status_code == 200
            fake.script("api", *[API_CHALLENGE] * 9)
            assert (await http.get(f"{fake.url}/api/echo")).status_code == 401

    run(main)
    assert (fake.count("api"), fake.count("token")) == (7, 2)


@pytest.mark.security("T19")
@pytest.mark.parametrize("call", CLIENTS)
def test_an_api_that_is_never_content_has_its_answer_returned(
    call: Any, connected: Connection, fake: FakeProvider
) -> None:
    tokens = fake.count("token")
    fake.script("api", *[API_CHALLENGE] * 9)
    assert call(connected, "GET", f"{fake.url}/api/echo") == 401
    assert (fake.count("api"), fake.count("token")) == (2, tokens)


@pytest.mark.security("T19")
@pytest.mark.parametrize("call", CLIENTS)
def test_a_proof_that_is_refused_says_nothing_of_the_token(
    call: Any, connected: Connection, fake: FakeProvider
) -> None:
    tokens = fake.count("token")
    fake.script("api", Answer(401, {}, {"WWW-Authenticate": 'DPoP error="invalid_dpop_proof"'}))
    assert call(connected, "GET", f"{fake.url}/api/echo") == 401
    assert (fake.count("api"), fake.count("token")) == (1, tokens)


@pytest.mark.security("T19", "T01")
@pytest.mark.parametrize("call", CLIENTS)
def test_a_refused_token_is_replaced_and_the_new_one_proven(
    call: Any, connected: Connection, fake: FakeProvider
) -> None:
    fake.api.dpop.demands_nonces = True
    fake.oauth2.grants[0].access.clear()
    assert call(connected, "GET", f"{fake.url}/api/echo") == 200
    assert fake.count("token") == 2
    assert [request.headers["authorization"][:5] for request in fake.received("api")] == ["DPoP "] * 3


@pytest.mark.security("T19")
def test_a_body_that_is_gone_is_not_sent_twice_and_one_that_can_be_rewound_is(
    connected: Connection, fake: FakeProvider
) -> None:
    def once() -> Iterator[bytes]:
        yield b"chunk"

    fake.api.dpop.demands_nonces = True
    assert by_session(connected, "POST", "echo", data=once()) == 401
    assert fake.count("api") == 1
    assert by_session(connected, "POST", "echo", data=once()) == 200  # it was told the nonce
    fake.api.dpop.forget_nonces()
    assert by_session(connected, "POST", "echo", data=io.BytesIO(b"a file")) == 200
    assert [request.body for request in fake.received("api")[-2:]] == [b"a file", b"a file"]


@pytest.mark.security("H09")
@pytest.mark.rfc("9449", "4.2")
@pytest.mark.parametrize("call", CLIENTS)
def test_a_redirected_request_is_proven_for_where_it_goes(call: Any, connected: Connection, fake: FakeProvider) -> None:
    fake.script("api", Answer(307, headers={"Location": "/api/echo/elsewhere?page=2"}))
    assert call(connected, "GET", f"{fake.url}/api/echo") == 200
    last = fake.received("api")[-1]
    assert claims_of(last)["htu"] == f"{fake.url}/api/echo/elsewhere"
    assert fake.count("token") == 1


@pytest.mark.security("T08")
@pytest.mark.rfc("9449", "5")
@pytest.mark.parametrize("kind", ["Bearer", "bearer", None, "mac"])
def test_a_token_that_anybody_could_use_is_refused(
    *, kind: str | None, bound: Provider, connected: Connection, fake: FakeProvider, browser: Client, user: User
) -> None:
    def downgraded() -> Answer:
        answer = {"access_token": "canary_access_loose", "refresh_token": "canary_refresh_loose", "expires_in": 3600}
        return Answer(200, {**answer, **({"token_type": kind} if kind else {})})

    fake.script("token", downgraded())
    with pytest.raises(TokenUnavailable) as caught:
        flows.refresh(connected)
    assert caught.value.code == "token_type_downgrade"
    assert by_session(connected, "GET", "echo") == 200  # with the token before
    flows.revoke(connected)
    fake.script("token", downgraded())
    assert b"<code>token_type_downgrade</code>" in walk(browser, bound).content
    assert not user.oauth_connections.filter(status="active").exists()
    assert not any("loose" in request.headers.get("authorization", "") for request in fake.requests)


@pytest.mark.security("T08")
@pytest.mark.rfc("9449", "5")
@pytest.mark.parametrize("spelled", ["DPoP", "dpop", "dPOP"])
def test_the_type_of_a_bound_token_is_spelled_in_any_case(
    *, spelled: str, bound: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.oauth2.dpop_token_type = spelled
    assert walk(browser, bound).status_code == 303
    assert user.oauth_connections.get().token.token_type == "DPoP"


@pytest.mark.security("T08")
def test_a_bound_token_that_nobody_asked_for_is_refused(
    provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    fake.oauth2.token_type = "DPoP"
    assert b"<code>token_type_unsupported</code>" in walk(browser, provider).content


@pytest.mark.rfc("9449", "5")
def test_a_refresh_token_is_worth_nothing_with_another_key(connected: Connection, fake: FakeProvider) -> None:
    token = Token.objects.select_related("connection").get(connection=connected)
    token.seal("dpop_key", dpop.new_key())
    token.save()
    with pytest.raises(ReauthorizationRequiredError):
        flows.refresh(connected)


@pytest.mark.rfc("9449", "5")
@pytest.mark.parametrize(("public", "goes_on"), [(True, False), (False, True)])
def test_a_reconnect_keeps_no_refresh_token_that_is_bound_to_the_key_before(
    *, public: bool, goes_on: bool, bound: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.oauth2.public = public
    bound.token_endpoint_auth_method = "none" if public else "client_secret_basic"
    bound.save()
    walk(browser, bound)
    before = key_of(user.oauth_connections.get())
    fake.oauth2.issues_refresh_tokens = False
    walk(browser, bound)
    again = user.oauth_connections.get()
    assert key_of(again) not in (None, before)
    assert (again.token.refresh_token is not None) is goes_on


def test_a_parked_grant_keeps_its_key(
    bound: Provider, connected: Connection, fake: FakeProvider, make_user: Callable[..., User]
) -> None:
    from django.test import Client

    other = Client()
    other.force_login(make_user("bob"))
    parked = walk(other, bound)["Location"]
    other.post(parked, {"action": "adopt"})
    theirs = Connection.objects.exclude(pk=connected.pk).get()
    assert key_of(theirs) not in (None, key_of(connected))
    assert by_session(theirs, "GET", "echo") == 200


def test_a_transfer_takes_the_key_along(connected: Connection, make_user: Callable[..., User]) -> None:
    before = key_of(connected)
    moved = flows.transfer(connected, to=make_user("bob"))
    assert key_of(moved) == before
    assert by_session(moved, "GET", "echo") == 200


@pytest.mark.rfc("9449", "5")
def test_the_sites_own_token_is_bound_while_its_provider_says_so(bound: Provider, fake: FakeProvider) -> None:
    fake.oauth2.dpop.demands_nonces = fake.api.dpop.demands_nonces = True
    with flows.client_session(bound) as http:
        assert http.get("echo").status_code == 200
        own = Connection.objects.get()
        key = key_of(own)
        assert key is not None
        asked = fake.count("token")
        assert asked == 2
        flows.refresh(own)
        assert (key_of(own), fake.count("token")) == (key, asked + 1)  # the same key, to which the nonce was given
        fake.oauth2.requires_dpop = False
        Provider.objects.update(dpop_bound_access_tokens=False)
        flows.refresh(own)
        assert key_of(own) is None
        assert http.get("echo").status_code == 200
        assert fake.received("api")[-1].headers["authorization"].startswith("Bearer ")
        assert "dpop" not in fake.received("api")[-1].headers


def test_tokens_from_before_the_switch_go_on_as_they_are(
    bound: Provider, connected: Connection, fake: FakeProvider, user: User
) -> None:
    """Both ways: what a token needs is decided by the key that it has."""
    fake.oauth2.requires_dpop = False
    old = make_connection(bound, user, fake, subject="account-0")
    Provider.objects.update(dpop_bound_access_tokens=True)
    assert flows.refresh(old).refreshed
    assert by_session(old, "GET", "echo") == 200
    assert "dpop" not in fake.received("api")[-1].headers
    Provider.objects.update(dpop_bound_access_tokens=False)
    assert flows.refresh(connected).refreshed
    assert by_session(connected, "GET", "echo") == 200
    assert "dpop" in fake.received("api")[-1].headers


@pytest.mark.rfc("9449", "7")
def test_a_token_that_is_bound_is_not_handed_out_alone(connected: Connection) -> None:
    with pytest.raises(ConfigurationError) as caught:
        flows.access_token(connected)
    assert caught.value.code == "token_bound"
    assert "canary" not in str(caught.value)


def test_nor_to_a_coroutine(connected: Connection) -> None:
    with pytest.raises(ConfigurationError) as caught:
        async_to_sync(flows.aaccess_token)(connected)
    assert caught.value.code == "token_bound"


@pytest.mark.rfc("9449", "7.1")
def test_userinfo_is_asked_with_a_proof_and_with_a_nonce(
    bound: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.api.dpop.demands_nonces = True
    assert walk(browser, bound).status_code == 303
    assert user.oauth_connections.get().subject == "account-1"
    first, second = fake.received("userinfo")
    assert claims_of(first)["ath"] == claims_of(second)["ath"]
    assert claims_of(second)["nonce"]


@pytest.mark.parametrize("refused", [0, 2])
def test_a_token_that_revokes_itself_is_proven(
    refused: int, bound: Provider, connected: Connection, fake: FakeProvider
) -> None:
    bound.dialect = {"revocation_authentication": "token", "revocation_token_parameter": ""}
    bound.save()
    fake.script("revoke", *[API_CHALLENGE] * refused, Answer(200))
    expected = Revocation.Outcome.PENDING if refused else Revocation.Outcome.REVOKED
    assert flows.revoke(connected) == expected
    asked = fake.received("revoke")
    assert all(request.headers["authorization"].startswith("DPoP ") for request in asked)
    assert all(claims_of(request)["ath"] for request in asked)
    if refused:
        assert claims_of(asked[1])["nonce"] == "again"
        Revocation.objects.update(next_attempt_at=None)
        assert flows.work_off_revocations() == 1


def test_the_authorization_commits_to_the_key(bound: Provider, fake: FakeProvider, browser: Client) -> None:
    """Whoever has caught the code cannot use it with a key of his own."""
    callback = begin(browser, bound)
    code = parse_qs(urlsplit(callback).query)["code"][0]
    fake.oauth2._codes[code]["dpop_jkt"] = dpop.thumbprint_of(dpop.new_key())
    parts = urlsplit(callback)
    assert b"<code>invalid_grant</code>" in browser.get(f"{parts.path}?{parts.query}").content


@pytest.mark.parametrize(
    "dialect",
    [
        {"api_auth_scheme": "Token"},
        {"api_token_header": "X-Token"},
        {"api_token_parameter": "token"},
        {"userinfo_auth_scheme": "none"},
    ],
)
def test_a_dialect_that_puts_tokens_elsewhere_is_refused(dialect: dict[str, Any], bound: Provider) -> None:
    bound.full_clean()
    bound.dialect = dialect
    with pytest.raises(ValidationError) as caught:
        bound.full_clean()
    assert set(caught.value.message_dict) == {"dpop_bound_access_tokens"}


def test_oauth1_has_no_such_tokens(oauth1_provider: Provider) -> None:
    oauth1_provider.dpop_bound_access_tokens = True
    with pytest.raises(ValidationError) as caught:
        oauth1_provider.full_clean()
    assert set(caught.value.message_dict) == {"dpop_bound_access_tokens"}


@pytest.mark.security("T19", "T20")
@pytest.mark.rfc("8628", "3.4")
def test_every_poll_for_a_code_on_another_device_is_proven_with_one_key(
    bound: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.oauth2.device_interval = 0
    fake.oauth2.dpop.demands_nonces = True
    bound.device_authorization_endpoint = f"{fake.url}/device"
    bound.save()
    page: str = browser.post("/oauth/connect/fake/", {"way": "device"})["Location"]  # type: ignore[index]
    for polls in (2, 3):  # the nonce is asked for once
        AuthorizationRequest.objects.update(next_poll_at=DatabaseNow())
        assert browser.get(page).status_code == 200
        assert fake.count("token") == polls
    ((_, device),) = fake.oauth2.devices.items()
    fake.oauth2.decide(device.user_code)
    AuthorizationRequest.objects.update(next_poll_at=DatabaseNow())
    assert browser.get(page).status_code == 303
    mine = user.oauth_connections.get()
    key = key_of(mine)
    assert key is not None
    assert fake.oauth2.grants[0].jkt == dpop.thumbprint_of(key)
    assert by_session(mine, "GET", "echo") == 200
    assert AuthorizationRequest.objects.get().dpop_key is None
