"""The auth objects without a database: what a chain of answers costs, whatever the source of tokens has to offer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests

from django_oauth_flows.exceptions import RequestBlocked
from django_oauth_flows.protocol.auth_httpx import HttpxAuth
from django_oauth_flows.protocol.auth_requests import RequestsAuth
from django_oauth_flows.testing import Answer, FakeProvider
from tests.protocol.sources import oauth1, oauth2

if TYPE_CHECKING:
    from tests.protocol.sources import Source

REJECTED = Answer(401, b"", {"WWW-Authenticate": 'Bearer error="invalid_token"'})


def by_requests(source: Source, method: str, url: str) -> int:
    with requests.Session() as http:
        http.trust_env, http.auth = False, RequestsAuth(source)
        return int(http.request(method, url, timeout=10).status_code)


def by_httpx(source: Source, method: str, url: str) -> int:
    with httpx.Client(auth=HttpxAuth(source), trust_env=False, follow_redirects=True) as http:
        return http.request(method, url).status_code


def by_async_httpx(source: Source, method: str, url: str) -> int:
    async def call() -> int:
        async with httpx.AsyncClient(auth=HttpxAuth(source), trust_env=False, follow_redirects=True) as http:
            return (await http.request(method, url)).status_code

    return asyncio.run(call())


each = pytest.mark.parametrize("call", [by_requests, by_httpx, by_async_httpx])


@each
@pytest.mark.security("F15")
def test_one_newer_token_is_tried_however_many_there_are(call: Any, fake: FakeProvider, register: Any) -> None:
    source = oauth2(fake, register, "old", "older", "oldest")
    fake.script("api", *[REJECTED] * 9)
    assert call(source, "GET", f"{fake.url}/api/x") == 401
    assert (fake.count("api"), source.rejected) == (2, [0])


@each
@pytest.mark.security("F15", "H09")
def test_one_newer_token_is_tried_for_a_whole_chain_of_redirects(call: Any, fake: FakeProvider, register: Any) -> None:
    source = oauth2(fake, register, "old", "older", "oldest")
    fake.script("api", REJECTED, Answer(302, b"", {"Location": "/api/next"}), *[REJECTED] * 9)
    assert call(source, "GET", f"{fake.url}/api/x") == 401
    assert [request.path for request in fake.received("api")] == ["/api/x", "/api/x", "/api/next"]
    assert source.rejected == [0]


@each
@pytest.mark.security("F15")
def test_a_chain_that_refuses_every_signature_ends(call: Any, fake: FakeProvider, register: Any) -> None:
    source = oauth1(fake, register)
    fake.script("api", Answer(307, b"", {"Location": "/api/next"}), *[REJECTED] * 9)
    assert call(source, "GET", f"{fake.url}/api/x") == 401
    assert [request.path for request in fake.received("api")] == ["/api/x", "/api/next", "/api/next"]


@each
def test_a_signature_is_made_anew_only_where_the_request_may_be_repeated(
    call: Any, fake: FakeProvider, register: Any
) -> None:
    fake.script("api", Answer(307, b"", {"Location": "/api/next"}), Answer(401))
    assert call(oauth1(fake, register), "POST", f"{fake.url}/api/x") == 401
    assert fake.count("api") == 2


@each
def test_another_method_signs_as_well(call: Any, fake: FakeProvider, register: Any) -> None:
    source = oauth1(fake, register, signature_method="HMAC-SHA256")
    assert call(source, "GET", f"{fake.url}/api/x?a=1&a=2") == 200


@each
def test_what_must_not_be_signed_is_not_sent(call: Any, fake: FakeProvider, register: Any) -> None:
    source = oauth1(fake, register, signature_method="PLAINTEXT")
    with pytest.raises(RequestBlocked) as caught:
        call(source, "GET", f"{fake.url}/api/x")
    assert caught.value.code == "scheme_not_allowed"
    assert not fake.requests
