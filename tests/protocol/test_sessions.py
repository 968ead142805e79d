"""Every request of a session by itself: only what it prepared, from any thread, repeated once after a 401."""

from __future__ import annotations

import pickle
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
import requests

from django_oauth_flows.exceptions import Disconnected, RequestBlocked, TokenUnavailable
from django_oauth_flows.protocol.session import OAuthSession
from django_oauth_flows.testing import Answer, Delay, FakeProvider
from tests.protocol.sources import Source, oauth1, oauth2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django_oauth_flows.protocol.messages import ClientRegistration, Credentials

REJECTED = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


def seen(fake: FakeProvider) -> list[tuple[str, str]]:
    return [(request.method, request.path) for request in fake.received("api")]


# Only what the session prepared


@pytest.mark.security("H08")
def test_a_foreign_request_is_not_sent_nor_turned_into_the_last_one(fake: FakeProvider, register: Any) -> None:
    source = oauth2(fake, register)
    with FakeProvider() as other, OAuthSession(source) as http:
        for url in (f"{fake.url}/api/drafts/7", f"{other.url}/anything"):
            foreign = requests.Request("DELETE", url).prepare()
            for _ in range(2):  # before the session's first request, and after it
                with pytest.raises(RequestBlocked) as caught:
                    http.send(foreign)
                assert caught.value.code == "request_not_prepared"
                assert http.get("/photos/1").ok
        assert not other.requests
    assert set(seen(fake)) == {("GET", "/api/photos/1")}


@pytest.mark.security("H08")
def test_a_prepared_request_goes_where_it_was_prepared_to_go(fake: FakeProvider, register: Any) -> None:
    with FakeProvider() as other, OAuthSession(oauth2(fake, register)) as http:
        mine = requests.Request("POST", "/orders", data={"item": "1"}, auth=("ada", "password"))
        prepared = http.prepare_request(mine)
        assert http.get("/between").ok
        assert http.send(prepared).json()["path"] == "/api/orders"
        assert (mine.url, mine.auth) == ("/orders", ("ada", "password")), "the caller's own stays as it is"
        for change in ({"url": f"{other.url}/steal"}, {"url": f"{fake.url}/api/other"}):
            prepared = http.prepare_request(mine)
            vars(prepared).update(change)
            with pytest.raises(RequestBlocked):
                http.send(prepared)
        prepared = http.prepare_request(mine)
        prepared.headers["Host"] = "evil.example"
        with pytest.raises(RequestBlocked):
            http.send(prepared)
        assert not other.requests


@pytest.mark.security("H08", "T23")
def test_another_sessions_request_is_a_foreign_one(fake: FakeProvider, register: Any) -> None:
    with OAuthSession(oauth2(fake, register)) as ada, OAuthSession(oauth2(fake, register)) as bob:
        assert bob.get("/echo").ok
        with pytest.raises(RequestBlocked):
            bob.send(ada.prepare_request(requests.Request("GET", "/echo")))
        with pytest.raises(RequestBlocked):
            bob.send(pickle.loads(pickle.dumps(bob.get("/echo"))).request)  # noqa: S301 - our own
    assert fake.count("api") == 2


@pytest.mark.security("D06")
@pytest.mark.parametrize("make", [oauth1, oauth2])
def test_a_request_that_is_sent_again_is_authenticated_anew(make: Any, fake: FakeProvider, register: Any) -> None:
    source = make(fake, register)
    with OAuthSession(source) as http:
        response = http.get("/echo", params={"q": "1"})
        assert http.send(response.request).ok
        first, second = (request.headers["authorization"] for request in fake.received("api"))
        assert (first == second) is (make is oauth2), "a nonce serves once"
        source.failure = Disconnected("gone")
        with pytest.raises(Disconnected):
            http.send(response.request)
    assert fake.count("api") == 2


def test_what_the_caller_changed_before_sending_is_what_is_repeated(fake: FakeProvider, register: Any) -> None:
    fake.script("api", Answer(401, b"", REJECTED))
    with OAuthSession(oauth2(fake, register, "old")) as http:
        prepared = http.prepare_request(requests.Request("PUT", "/x", data="first"))
        prepared.prepare_body("second", None)
        assert http.send(prepared).ok
    assert [request.body for request in fake.received("api")] == [b"second", b"second"]


def test_a_redirect_can_be_followed_by_hand(fake: FakeProvider, register: Any) -> None:
    fake.script("api", Answer(302, b"", {"Location": "/api/next"}))
    with OAuthSession(oauth1(fake, register)) as http:
        response = http.get("/first", allow_redirects=False)
        assert response.next is not None
        assert http.send(response.next).json()["path"] == "/api/next"


@pytest.mark.security("H08")
@pytest.mark.parametrize("value", ["evil.example", b"evil.example"])
def test_the_token_goes_to_no_other_host_by_the_host_header(value: Any, fake: FakeProvider, register: Any) -> None:
    with OAuthSession(oauth2(fake, register)) as http:
        with pytest.raises(RequestBlocked) as caught:
            http.get("/echo", headers={"hOST": value})
        assert caught.value.code == "header_not_allowed"
        http.headers["Host"] = value
        with pytest.raises(RequestBlocked):
            http.get("/echo")
    assert not fake.requests


@pytest.mark.parametrize("placement", ["header", "query"])
def test_the_callers_own_authorization_is_replaced(placement: str, fake: FakeProvider, register: Any) -> None:
    with OAuthSession(oauth1(fake, register, signature_placement=placement)) as http:
        http.auth = ("a", "b")
        assert http.get("/x", headers={"authorization": "Basic abc"}, auth=("c", "d")).ok
        assert http.get("/x", headers={"Authorization": b'OAuth oauth_token="x"'}).ok
    assert not [r for r in fake.requests if "Basic" in r.headers.get("authorization", "")]


# Threads


def test_threads_that_share_a_session_get_their_own_answers(fake: FakeProvider, register: Any) -> None:
    tokens = [fake.oauth2.issue()[0] for _ in range(60)]
    source = Source(register(fake), *tokens)
    calls, wrong, barrier = 20, [], threading.Barrier(8)
    fake.script("api", *[Delay(0), Answer(401, b"", REJECTED), Delay(0.002)] * 40)

    def call(http: OAuthSession, number: int) -> None:
        barrier.wait()
        for turn in range(calls):
            method = ("GET", "POST", "DELETE")[turn % 3]
            response = http.request(method, f"/t{number}-{turn}", data=f"{number}-{turn}")
            sent = response.request
            if response.ok:
                got = response.json()
                wrong.extend([got] if (got["method"], got["path"]) != (method, f"/api/t{number}-{turn}") else [])
            wrong.extend([sent] if sent.body != f"{number}-{turn}" else [])

    pace = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with OAuthSession(source) as http:
            threads = [threading.Thread(target=call, args=(http, number)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(pace)
    assert wrong == []
    asked = {
        (method, f"/api/t{n}-{t}")
        for n in range(8)
        for t in range(calls)
        for method in [("GET", "POST", "DELETE")[t % 3]]
    }
    assert set(seen(fake)) == asked
    assert fake.count("api") <= 8 * calls + 40, "one repetition for a 401"


def test_a_401_is_repeated_as_it_was_sent_whatever_was_sent_meanwhile(fake: FakeProvider, register: Any) -> None:
    reached, until = threading.Event(), threading.Event()

    class Late(Delay):
        def play(self, handler: Any, normal: Any) -> None:
            super().play(handler, lambda: Answer(401, b"", REJECTED))

    fake.script("api", Late(until=until, reached=reached))
    answers: list[Any] = []
    with OAuthSession(oauth2(fake, register, "old")) as http:
        slow = threading.Thread(target=lambda: answers.append(http.post("/a", data="a").json()["path"]))
        slow.start()
        assert reached.wait(5)
        http.put("/b", data="b")
        until.set()
        slow.join()
    assert answers == ["/api/a"]
    assert [(r.method, r.path, r.body) for r in fake.received("api")][-1] == ("POST", "/api/a", b"a")


# After a 401


def test_the_hop_that_was_refused_is_repeated_and_only_once(fake: FakeProvider, register: Any) -> None:
    refused = Answer(401, b"", REJECTED)
    with OAuthSession(oauth2(fake, register, "old", "older")) as http:
        fake.script("api", Answer(303, b"", {"Location": "/api/done"}), refused, refused, refused)
        assert http.post("/orders", data={"item": "1"}).status_code == 401
    assert seen(fake) == [("POST", "/api/orders"), ("GET", "/api/done"), ("GET", "/api/done")]
    assert [request.body for request in fake.received("api")] == [b"item=1", b"", b""]


@pytest.mark.security("F15")
def test_a_chain_of_redirects_has_its_token_replaced_once(fake: FakeProvider, register: Any) -> None:
    source = oauth2(fake, register, "old")
    refused, on = Answer(401, b"", REJECTED), Answer(302, b"", {"Location": "/api/next"})
    fake.script("api", refused, on, refused)
    with OAuthSession(source) as http:
        assert http.get("/first").status_code == 401
    assert seen(fake) == [("GET", "/api/first"), ("GET", "/api/first"), ("GET", "/api/next")]
    assert source.rejected == [0]


@pytest.mark.parametrize("how", ["post", "stream"])
def test_a_401_that_cannot_be_repeated_still_has_the_token_replaced(
    how: str, fake: FakeProvider, register: Any
) -> None:
    def stream() -> Iterator[bytes]:
        yield b"once"

    source = oauth2(fake, register, "old")
    with OAuthSession(source) as http:
        fake.script("api", Answer(401, b"refused"))
        first = http.post("/orders", data="x") if how == "post" else http.put("/files/1", data=stream())
        assert (first.status_code, first.content) == (401, b"refused")
        assert source.rejected == [0]
        assert fake.count("api") == 1
        assert http.post("/orders", data="x").status_code == 200


def test_a_refresh_that_fails_does_not_hide_the_answer_to_what_cannot_be_repeated(
    fake: FakeProvider, register: Any
) -> None:
    class Failing(Source):
        def current(self, *, rejected: Credentials | None = None) -> tuple[ClientRegistration, Credentials]:
            if rejected is not None:
                raise TokenUnavailable("not now")
            return super().current()

    with OAuthSession(Failing(register(fake), "old")) as http:
        fake.script("api", Answer(401), Answer(401))
        assert http.post("/orders", data="x").status_code == 401
        with pytest.raises(TokenUnavailable):
            http.get("/orders")
