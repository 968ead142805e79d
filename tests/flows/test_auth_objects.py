"""Clients of the caller's own with our authentication: the same rules as in our session, for requests and for httpx."""

from __future__ import annotations

import io
import pickle
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests
from asgiref.sync import async_to_sync

from django_oauth_flows import flows
from django_oauth_flows.exceptions import (
    ConfigurationError,
    Disconnected,
    MissingScopes,
    RequestBlocked,
    TokenUnavailable,
)
from django_oauth_flows.flows import usage
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.testing import Answer, FakeProvider
from django_oauth_flows.testing.factories import shift_expiry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.django_db(transaction=True)

REJECTED = Answer(401, b"", {"WWW-Authenticate": 'Bearer error="invalid_token"'})


class RequestsClient:
    """A plain ``requests.Session``."""

    def __init__(self, connection: Connection, **options: Any) -> None:
        self.auth = flows.requests_auth(connection, **options)

    def __call__(self, method: str, url: str, *, stream: bytes = b"", **values: Any) -> Any:
        """Send a request; ``stream`` is a body that can be had once. Follows redirects."""
        with requests.Session() as http:
            http.trust_env, http.auth = False, self.auth
            if stream:
                values["data"] = iter([stream])
            return http.request(method, url, timeout=10, **values)


class HttpxClient:
    """A plain ``httpx.Client``."""

    def __init__(self, connection: Connection, **options: Any) -> None:
        self.auth = flows.httpx_auth(connection, **options)

    def __call__(self, method: str, url: str, *, stream: bytes = b"", **values: Any) -> Any:
        """Send a request, as above."""
        with httpx.Client(auth=self.auth, trust_env=False, follow_redirects=True) as http:
            if stream:
                values["content"] = iter([stream])
            return http.request(method, url, timeout=10, **values)


class AsyncHttpxClient(HttpxClient):
    """A plain ``httpx.AsyncClient``, in an event loop of its own."""

    def __call__(self, method: str, url: str, *, stream: bytes = b"", **values: Any) -> Any:
        """Send a request, as above."""

        async def body() -> AsyncIterator[bytes]:
            yield stream

        async def call() -> Any:
            async with httpx.AsyncClient(auth=self.auth, trust_env=False, follow_redirects=True) as http:
                if stream:
                    values["content"] = body()
                return await http.request(method, url, timeout=10, **values)

        return async_to_sync(call)()


class SessionClient:
    """Our own session, for what it has in common with them."""

    def __init__(self, connection: Connection, **options: Any) -> None:
        self.http = flows.session(connection, **options)

    def __call__(self, method: str, url: str, *, stream: bytes = b"", **values: Any) -> Any:
        """Send a request, as above."""
        if stream:
            values["data"] = iter([stream])
        return self.http.request(method, url, **values)


OWN = {"requests": RequestsClient, "httpx": HttpxClient, "async httpx": AsyncHttpxClient}
ALL = {**OWN, "session": SessionClient}


def each(clients: dict[str, Any]) -> Any:
    """Run a test with each of these clients."""
    return pytest.mark.parametrize("client", clients.values(), ids=clients)


@pytest.fixture
def other(provider: Provider) -> Iterator[FakeProvider]:
    """Return another origin that is listed, too."""
    with FakeProvider() as running:
        Provider.objects.update(api_hosts=[running.url.removeprefix("http://")])
        yield running


def authorizations(fake: FakeProvider) -> list[str | None]:
    return [request.headers.get("authorization") for request in fake.received("api")]


# After a 401


@each(ALL)
@pytest.mark.security("F15")
def test_a_401_costs_one_refresh_and_one_repetition(client: Any, connection: Connection, fake: FakeProvider) -> None:
    fake.oauth2.grants[0].access.clear()  # refused there, while it looks fresh here
    call = client(connection)
    for body in ("one", "two"):
        assert call("PUT", f"{fake.url}/api/x", data={"q": body}).status_code == 200
    assert [request.body for request in fake.received("api")] == [b"q=one", b"q=one", b"q=two"]
    assert fake.count("token") == 1
    refused, *good = authorizations(fake)
    assert refused not in good
    assert len(set(good)) == 1


@each(ALL)
@pytest.mark.security("F15")
def test_a_401_for_ever_is_returned_after_one_refresh_and_one_repetition(
    client: Any, connection: Connection, fake: FakeProvider
) -> None:
    call = client(connection)
    fake.script("api", *[REJECTED] * 9)
    assert call("GET", f"{fake.url}/api/x").status_code == 401
    assert (fake.count("api"), fake.count("token")) == (2, 1)
    assert call("GET", f"{fake.url}/api/x").status_code == 401  # a token so young is not replaced
    assert (fake.count("api"), fake.count("token")) == (3, 1)


@each(ALL)
@pytest.mark.security("F15")
def test_a_post_is_repeated_only_if_the_token_was_all_that_was_wrong(
    client: Any, connection: Connection, fake: FakeProvider
) -> None:
    call = client(connection)
    fake.script("api", Answer(401, b"who are you?"))
    refused = call("POST", f"{fake.url}/api/orders", data={"item": "1"})
    assert (refused.status_code, refused.content) == (401, b"who are you?")
    assert (fake.count("api"), fake.count("token")) == (1, 1)
    assert call("POST", f"{fake.url}/api/orders", data={"item": "2"}).status_code == 200
    Token.objects.update(last_refreshed_at=None)
    fake.script("api", REJECTED)
    assert call("POST", f"{fake.url}/api/orders", data={"item": "3"}).status_code == 200
    assert [request.body for request in fake.received("api")] == [b"item=1", b"item=2", b"item=3", b"item=3"]
    assert fake.count("token") == 2
    first, second, *_ = authorizations(fake)
    assert first != second, "what cannot be repeated has its token replaced for those that come"


@each(ALL)
@pytest.mark.security("F15")
def test_a_body_that_is_gone_is_not_sent_again(client: Any, connection: Connection, fake: FakeProvider) -> None:
    call = client(connection)
    fake.script("api", REJECTED)
    assert call("PUT", f"{fake.url}/api/file", stream=b"once").status_code == 401
    assert [request.body for request in fake.received("api")] == [b"once"]
    assert call("PUT", f"{fake.url}/api/file", stream=b"twice").status_code == 200
    assert fake.count("token") == 1


@each({"requests": RequestsClient, "session": SessionClient})
@pytest.mark.security("F15")
def test_a_file_is_sent_again_from_where_it_began(client: Any, connection: Connection, fake: FakeProvider) -> None:
    file = io.BytesIO(b"head|the rest")
    file.seek(5)
    fake.script("api", REJECTED)
    assert client(connection)("PUT", f"{fake.url}/api/file", data=file).status_code == 200
    assert [request.body for request in fake.received("api")] == [b"the rest", b"the rest"]


@each(ALL)
@pytest.mark.security("F15")
def test_a_403_says_nothing_about_the_token(client: Any, connection: Connection, fake: FakeProvider) -> None:
    fake.script("api", Answer(403, b"", {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}))
    assert client(connection)("GET", f"{fake.url}/api/x").status_code == 403
    assert (fake.count("api"), fake.count("token")) == (1, 0)


@each(ALL)
def test_a_refresh_that_fails_is_raised_unless_the_answer_says_more(
    client: Any, connection: Connection, fake: FakeProvider
) -> None:
    call = client(connection)
    fake.script("api", Answer(401, b"mine"), REJECTED)
    fake.script("token", Answer(503))
    assert call("POST", f"{fake.url}/api/x", data={"a": "b"}).content == b"mine"
    Token.objects.update(not_before=None)
    fake.script("token", Answer(503))
    with pytest.raises(TokenUnavailable):
        call("GET", f"{fake.url}/api/x")
    assert call("GET", f"{fake.url}/api/x").status_code == 200


# Where the token goes


@each(OWN)
@pytest.mark.security("H08")
def test_the_token_goes_to_listed_hosts_only(client: Any, connection: Connection, fake: FakeProvider) -> None:
    call = client(connection)
    with FakeProvider() as elsewhere:
        for url in (f"{elsewhere.url}/api/x", "http://api.example/x", "https://api.example/x", "https://127.0.0.1/x"):
            with pytest.raises(RequestBlocked):
                call("GET", url)
        with pytest.raises(RequestBlocked) as caught:
            call("GET", f"{fake.url}/api/x", headers={"Host": elsewhere.url.removeprefix("http://")})
        assert caught.value.code == "header_not_allowed"
        assert not elsewhere.requests
    assert not fake.requests


@each(OWN)
@pytest.mark.security("H08")
def test_plain_http_is_for_internal_providers(client: Any, connection: Connection, fake: FakeProvider) -> None:
    Provider.objects.update(internal=False)
    with pytest.raises(RequestBlocked):
        client(connection)("GET", f"{fake.url}/api/x")
    assert not fake.requests


@each(OWN)
@pytest.mark.security("H09")
@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_to_another_origin_takes_no_token_along_nor_gets_one_there(
    status: int, client: Any, connection: Connection, fake: FakeProvider, other: FakeProvider
) -> None:
    fake.script("api", Answer(status, b"", {"Location": f"{other.url}/api/gone"}))
    other.script("api", REJECTED)
    assert client(connection)("PUT", f"{fake.url}/api/x", data={"a": "b"}).status_code == 401
    assert authorizations(other) == [None]
    assert fake.count("token") == 0, "that the other origin got no token is not the token's fault"


@each(OWN)
@pytest.mark.security("H09")
def test_a_redirect_back_from_another_origin_finds_no_token_either(
    client: Any, connection: Connection, fake: FakeProvider, other: FakeProvider
) -> None:
    fake.script("api", Answer(302, b"", {"Location": f"{other.url}/api/gone"}))
    other.script("api", Answer(302, b"", {"Location": f"{fake.url}/api/back"}))
    assert client(connection)("GET", f"{fake.url}/api/x").status_code == 401
    assert [value is None for value in authorizations(fake)] == [False, True]
    assert fake.count("token") == 0


@each(OWN)
@pytest.mark.security("H09", "F15")
def test_what_is_refused_after_a_redirect_within_the_origin_is_repeated_there_once(
    client: Any, connection: Connection, fake: FakeProvider
) -> None:
    on = Answer(302, b"", {"Location": "/api/next"})
    call = client(connection)
    fake.script("api", on, REJECTED)
    assert call("GET", f"{fake.url}/api/x").json()["path"] == "/api/next"
    assert [request.path for request in fake.received("api")] == ["/api/x", "/api/next", "/api/next"]
    Token.objects.update(last_refreshed_at=None)
    fake.script("api", REJECTED, on, REJECTED)
    assert call("GET", f"{fake.url}/api/x").status_code == 401
    assert [request.path for request in fake.received("api")[3:]] == ["/api/x", "/api/x", "/api/next"]
    assert fake.count("token") == 2, "a chain of redirects has its token replaced once"


# OAuth 1.0a


@each(OWN)
@pytest.mark.rfc("5849", "3.4")
def test_oauth1_signs_query_and_form(client: Any, oauth1_connection: Connection, fake: FakeProvider) -> None:
    call = client(oauth1_connection)
    assert call("GET", f"{fake.url}/api/x", params={"q": "a b", "r": "ü"}).status_code == 200
    assert call("POST", f"{fake.url}/api/x?q=1", data={"item": "a+b", "name": "ü ~"}).status_code == 200
    assert call("POST", f"{fake.url}/api/x", json={"not": "signed"}).status_code == 200
    assert call("PUT", f"{fake.url}/api/x", stream=b"not signed").status_code == 200
    assert [request.body for request in fake.received("api")][3] == b"not signed"


@each(OWN)
@pytest.mark.rfc("5849", "3.4.1")
@pytest.mark.security("H09")
def test_oauth1_signs_anew_after_a_redirect_within_the_origin_only(
    client: Any, oauth1_connection: Connection, fake: FakeProvider, other: FakeProvider
) -> None:
    call = client(oauth1_connection)
    fake.script("api", Answer(302, b"", {"Location": "/api/next"}))
    assert call("GET", f"{fake.url}/api/x").json()["path"] == "/api/next"
    fake.script("api", Answer(302, b"", {"Location": f"{other.url}/api/gone"}))
    assert call("GET", f"{fake.url}/api/x").status_code == 401
    assert authorizations(other) == [None]


@each(OWN)
@pytest.mark.security("F15")
def test_oauth1_has_nothing_to_replace_a_refused_token_with(
    client: Any, oauth1_connection: Connection, fake: FakeProvider
) -> None:
    fake.script("api", REJECTED)
    assert client(oauth1_connection)("GET", f"{fake.url}/api/x").status_code == 401
    assert fake.count("api") == 1


@each(OWN)
@pytest.mark.security("H09")
@pytest.mark.parametrize("placement", ["query", "body"])
def test_a_signature_stands_in_no_place_that_a_redirect_takes_along(
    placement: str, client: Any, oauth1_connection: Connection, fake: FakeProvider
) -> None:
    Provider.objects.update(signature_placement=placement)
    with pytest.raises(ConfigurationError) as caught:
        client(oauth1_connection)("POST", f"{fake.url}/api/x", data={"a": "b"})
    assert caught.value.code == "provider_misconfigured"
    assert "flows.session()" in caught.value.hint
    assert not fake.requests


# The connection


@each(OWN)
def test_a_token_that_is_due_is_refreshed_first_and_its_use_is_noted(
    client: Any, connection: Connection, fake: FakeProvider
) -> None:
    call = client(connection, purpose="Show your photos")
    assert call("GET", f"{fake.url}/api/x").status_code == 200
    shift_expiry(connection, timedelta(seconds=-1))
    assert call("GET", f"{fake.url}/api/x").status_code == 200
    assert (fake.count("api"), fake.count("token")) == (2, 1)
    usage.flush()
    assert Connection.objects.get().last_purpose == "Show your photos"


@each(OWN)
def test_a_connection_that_cannot_serve_says_why(client: Any, connection: Connection, fake: FakeProvider) -> None:
    with pytest.raises(MissingScopes):
        client(connection, scopes=["admin"])
    call = client(connection)
    flows.revoke(connection)
    with pytest.raises(Disconnected):
        call("GET", f"{fake.url}/api/x")
    assert fake.count("api") == 0


def test_an_answer_can_still_be_pickled_and_asks_for_nothing_when_it_is_used_again(
    connection: Connection, fake: FakeProvider
) -> None:
    response = RequestsClient(connection)("GET", f"{fake.url}/api/x")
    copy = pickle.loads(pickle.dumps(response))  # noqa: S301 - our own
    assert copy.json() == response.json()
    fake.script("api", REJECTED)
    with requests.Session() as http:
        http.trust_env = False
        assert http.send(copy.request).status_code == 401
    assert fake.count("token") == 0


def test_without_httpx_one_is_told_what_to_install(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "django_oauth_flows.protocol.auth_httpx", raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ConfigurationError) as caught:
        flows.httpx_auth(connection)
    assert caught.value.code == "extra_missing"
    assert "[httpx]" in caught.value.hint


def test_the_examples_of_the_page_run(
    connection: Connection, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    page = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")
    own, httpx_s, sdk, coroutine = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for block in (own, httpx_s, sdk, coroutine):
        names: dict[str, Any] = {"connection": connection}
        exec(block.replace("https://api.example.com/", f"{fake.url}/api/"), names)  # noqa: S102 - our own page
        if block == sdk:
            assert names["token"] in fake.oauth2.grants[0].access
            continue
        photos = async_to_sync(names["photos"])(connection) if block == coroutine else names["photos"]
        assert photos.status_code == 200
    assert [request.path for request in fake.received("api")] == ["/api/photos"] * 3
