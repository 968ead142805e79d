"""What a ``requests.Session`` may be asked for: every request by itself, from any thread, and errors that hold no secret."""

from __future__ import annotations

import pickle
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import requests

from django_oauth_flows.exceptions import Disconnected, RequestBlocked, TokenUnavailable
from django_oauth_flows.protocol.messages import ClientRegistration, Credentials
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.protocol.session import OAuthSession
from django_oauth_flows.testing import Answer, Delay, Drop, FakeProvider, Half

if TYPE_CHECKING:
    from collections.abc import Iterator

REJECTED = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class Source:
    """A token source whose token can be replaced, or be gone."""

    def __init__(self, registration: ClientRegistration, *tokens: str, secret: str = "") -> None:
        self.registration, self.tokens, self.generation = registration, list(tokens), 0
        self.secret = Secret(secret) if secret else None
        self.rejected: list[int] = []
        self.failure: Exception | None = None
        self._lock = threading.Lock()

    def current(self, *, rejected: Credentials | None = None) -> tuple[ClientRegistration, Credentials]:
        with self._lock:
            if rejected is not None:
                self.rejected.append(rejected.generation)
                if rejected.generation == self.generation and self.generation + 1 < len(self.tokens):
                    self.generation += 1
            if self.failure is not None and rejected is None:
                raise self.failure
            token = self.tokens[self.generation]
            return self.registration, Credentials(Secret(token), self.secret, generation=self.generation)


def oauth2(fake: FakeProvider, register: Any, *stale: str, **changes: Any) -> Source:
    return Source(register(fake, **changes), *stale, fake.oauth2.issue()[0])


def oauth1(fake: FakeProvider, register: Any, **changes: Any) -> Source:
    token, secret = fake.oauth1.issue()
    return Source(register(fake, protocol="oauth1", **changes), token, secret=secret)


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


# Redirects


@pytest.mark.security("H09")
@pytest.mark.parametrize(
    "location",
    ["https://[bad", "https://127.0.0.1:99999999/", "//host:port/", "/caf\xe9", "//@/", "http://\x00/", "https:///", "http://%/",
     "\\\\evil.example/x", "//evil.example\\@127.0.0.1/", "javascript:alert(1)", "/" + "x" * 9000, "mailto:a@b", ""],
)  # fmt: skip
@pytest.mark.parametrize("make", [oauth1, oauth2])
def test_no_location_crashes_the_caller_or_leads_away(
    location: str, make: Any, fake: FakeProvider, register: Any
) -> None:
    fake.script("api", Answer(302, b"", {"Location": location}))
    with OAuthSession(make(fake, register)) as http:
        response = http.get("/echo")
    if response.status_code != 302:  # read as a path of this very host
        assert response.url.startswith(f"{fake.url}/")
        assert "evil" not in response.url.split("/")[2]
    assert len(fake.requests) == 1 + (response.status_code != 302)


@pytest.mark.security("H09", "O05")
def test_a_redirect_to_protocol_parameters_of_others_is_not_followed(fake: FakeProvider, register: Any) -> None:
    fake.script("api", Answer(302, b"", {"Location": "/api/x?oauth_verifier=evil"}))
    with OAuthSession(oauth1(fake, register)) as http:
        assert http.get("/echo").status_code == 302


@pytest.mark.security("H09")
def test_the_default_port_is_the_same_origin(
    tls_fake: FakeProvider, register: Any, ca_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_oauth_flows.protocol import sockets

    real, port = sockets._connect, int(tls_fake.url.rpartition(":")[2])
    # The fake cannot listen on 443: a connection to it is led there.
    monkeypatch.setattr(sockets, "_connect", lambda family, address, _, until: real(family, address, port, until))
    policy = {"ca_bundle": ca_bundle, "api_base_url": "https://127.0.0.1/api/"}
    with OAuthSession(oauth2(tls_fake, register, transport=policy)) as http:
        for location in (
            "https://127.0.0.1:443/api/next",
            "https://127.0.0.1/api/next",
            "HTTPS://127.0.0.1:443/api/next",
        ):
            tls_fake.script("api", Answer(302, b"", {"Location": location}))
            assert http.get("/first").json()["path"] == "/api/next"
        tls_fake.script("api", Answer(302, b"", {"Location": "https://127.0.0.1:8443/api/next"}))
        assert http.get("/first").status_code == 302


class AppendSlash(Answer):
    """Redirect to the same address with a slash, and the whole query."""

    def play(self, handler: Any, normal: Any) -> None:
        path, mark, query = handler.path.partition("?")
        Answer(self.status, b"", {"Location": f"{path}/{mark}{query}"}).play(handler, normal)


@pytest.mark.security("O13")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("method", ["HMAC-SHA1", "PLAINTEXT"])
def test_a_signature_that_a_redirect_echoes_is_made_anew(
    status: int, method: str, tls_fake: FakeProvider, register: Any, ca_bundle: str
) -> None:
    policy = {"ca_bundle": ca_bundle}
    source = oauth1(tls_fake, register, signature_placement="query", signature_method=method, transport=policy)
    tls_fake.script("api", AppendSlash(status))
    with OAuthSession(source) as http:
        response = http.get("/a", params={"q": "1 2", "r": "ü"})
    assert response.status_code == 200
    last = tls_fake.received("api")[-1]
    assert last.path == "/api/a/"
    assert [pair for pair in last.query if not pair[0].startswith("oauth_")] == [("q", "1 2"), ("r", "ü")]
    names = [name for name, _ in last.query]
    assert len(names) == len(set(names))


@pytest.mark.security("O13")
@pytest.mark.parametrize("status", [307, 308])
def test_a_signature_in_a_form_is_made_anew_as_well(status: int, fake: FakeProvider, register: Any) -> None:
    fake.script("api", Answer(status, b"", {"Location": "/api/b"}))
    with OAuthSession(oauth1(fake, register, signature_placement="body")) as http:
        assert http.post("/a", data={"q": "1"}).status_code == 200
    names = [pair.split(b"=")[0] for pair in fake.received("api")[-1].body.split(b"&")]
    assert len(names) == len(set(names))
    assert b"q" in names


# URLs and bodies


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        ("/a b", "/api/a%20b", []), ("/x?q=a b", "/api/x", [("q", "a b")]), ("/café?x=☃", "/api/caf%C3%A9", [("x", "☃")]),
        ("/web/https://example.org/x", "/api/web/https://example.org/x", []), ("/x?a=%zz", "/api/x", [("a", "%zz")]),
        ("web/http://127.0.0.1:9/", "/api/web/http://127.0.0.1:9/", []), ("/s?ids[]=1&ids[]=2", "/api/s", [("ids[]", "1"), ("ids[]", "2")]),
        ("/x?next=https://evil.example/", "/api/x", [("next", "https://evil.example/")]), ("items:batch", "/api/items:batch", []),
        ("https:evil.example", "/api/https:evil.example", []), (b"/x", "/api/x", []), (" /x", "/api/x", []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("make", [oauth1, oauth2])
@pytest.mark.parametrize("placement", ["header", "query"])
def test_paths_and_queries_are_quoted_as_requests_does(
    url: Any, path: str, query: Any, make: Any, placement: str, fake: FakeProvider, register: Any
) -> None:
    with OAuthSession(make(fake, register, signature_placement=placement)) as http:
        assert http.get(url).ok
    (received,) = fake.received("api")
    assert received.path == path
    assert [pair for pair in received.query if not pair[0].startswith("oauth_")] == query


def test_an_absolute_url_is_quoted_as_well(fake: FakeProvider, register: Any) -> None:
    with OAuthSession(oauth2(fake, register)) as http:
        assert http.get(f"{fake.url}/api/a b?q=c d").json()["path"] == "/api/a%20b"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("ids[]=1&ids[]=2", ""), ("a b", ""), ("{}", ""), ("a=1;b=2", ""), ("ü=☃", ""), ("", ""), (b"ids[]=1", ""), (b"", ""), ("a=1&&b", ""),
        (b"\xff\xfe", "body_not_allowed"), ("a=%zz", "body_not_allowed"), ("a=%", "body_not_allowed"), ("a=%ff", "body_not_allowed"),
        ("a=1&oauth_token=evil", "parameter_not_allowed"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("placement", ["header", "query", "body"])
@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded; charset=utf-8"]
)
def test_a_form_is_signed_in_every_spelling_or_refused(
    data: Any, code: str, placement: str, kind: str, fake: FakeProvider, register: Any
) -> None:
    with OAuthSession(oauth1(fake, register, signature_placement=placement)) as http:
        if not code:
            assert http.post("/x", data=data, headers={"Content-Type": kind}).ok
            raw = data.encode() if isinstance(data, str) else data
            assert placement == "body" or fake.received("api")[0].body == raw
            return
        with pytest.raises(RequestBlocked) as caught:
            http.post("/x", data=data, headers={"Content-Type": kind})
    assert caught.value.code == code
    assert not fake.requests


def test_a_get_with_a_form_is_refused_and_one_with_its_type_only_is_signed(fake: FakeProvider, register: Any) -> None:
    with OAuthSession(oauth1(fake, register)) as http:
        assert http.get("/x", headers={"Content-Type": "application/x-www-form-urlencoded"}).ok
        for data in ({"a": "1"}, "a=1"):
            with pytest.raises(RequestBlocked) as caught:
                http.get("/x", data=data)
            assert caught.value.code == "body_not_allowed"


# Errors


@contextmanager
def closed() -> Iterator[str]:
    """Return a URL where nobody listens."""
    with FakeProvider() as gone:
        url = gone.url
    yield url


def told(error: BaseException) -> str:
    """Return everything an error and what it holds say."""
    assert error.__cause__ is None
    assert error.__context__ is None
    request = vars(getattr(error, "request", None) or error)
    return f"{error} {error!r} {error.args!r} {vars(error)!r} {request!r}"


def frames(error: BaseException) -> str:
    """Return the variables of all frames but the tests', as a tracker would collect them."""
    collected, traceback = "", error.__traceback__
    while traceback is not None:
        if "/tests/" not in traceback.tb_frame.f_code.co_filename:
            collected += repr(traceback.tb_frame.f_locals)
        traceback = traceback.tb_next
    return collected


FAILURES: dict[str, tuple[Any, type[Exception]]] = {
    "nobody listens": (None, requests.ConnectionError),
    "dropped": (Drop(acted=False), requests.ConnectionError),
    "late": (Delay(1.0), requests.ReadTimeout),
    "half an answer": (Half(0.9), requests.exceptions.ChunkedEncodingError),
    "no gzip": (Answer(200, "<html>", {"Content-Encoding": "gzip"}), requests.exceptions.ContentDecodingError),
    "in circles": (Answer(302, b"", {"Location": "/api/x?private=value"}), requests.TooManyRedirects),
}


@pytest.mark.security("L03")
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("placement", ["header", "query", "body"])
@pytest.mark.parametrize("make", [oauth1, oauth2])
def test_an_error_names_the_host_and_nothing_that_was_sent(
    failure: str, placement: str, make: Any, fake: FakeProvider, register: Any
) -> None:
    fault, kind = FAILURES[failure]
    source = make(fake, register, signature_placement=placement)
    host = fake.url.partition("//")[2]
    with OAuthSession(source) as http:
        http.max_redirects = 2
        if fault is None:
            fake.server.shutdown()
            fake.server.server_close()
            fake.server.shutdown = lambda: None  # the fixture's own is to find nothing left
        else:
            fake.script("api", *[fault] * 3)
        with pytest.raises(kind) as caught:
            http.post("/x", params={"private": "value"}, data={"hidden": "body"}, timeout=0.4)
    error: Any = caught.value
    assert str(error).startswith(f"The call to {host} failed: ")
    assert error.request.url == f"{fake.url}/api/x"
    secret = source.secret.reveal() if source.secret else source.tokens[0]
    for word in (source.tokens[0], secret, "oauth_signature", "oauth_token", "Bearer"):
        assert word not in told(error) + frames(error)
    assert "private" not in told(error)
    assert "hidden" not in told(error)


@pytest.mark.security("L03")
def test_a_plaintext_signature_is_in_no_error(tls_fake: FakeProvider, register: Any, ca_bundle: str) -> None:
    """It is both secrets; in the query also the response's URL would tell it, which ``raise_for_status()`` prints."""
    policy = {"ca_bundle": ca_bundle}
    source = oauth1(tls_fake, register, signature_placement="query", signature_method="PLAINTEXT", transport=policy)
    assert source.secret is not None
    with OAuthSession(source) as http:
        tls_fake.script("api", Drop(acted=False), Answer(404, b""), Answer(404, b""))
        with pytest.raises(requests.ConnectionError) as dropped:
            http.get("/x?a=1")
        response = http.get("/x?a=1")
        assert response.url == f"{tls_fake.url}/api/x?a=1"
        with pytest.raises(requests.HTTPError) as refused:
            response.raise_for_status()
        http.hooks["response"] = lambda answer, **_: answer.raise_for_status()
        with pytest.raises(requests.HTTPError, match="status 404") as hooked:
            http.get("/x?a=1")
        assert hooked.value.response.status_code == 404
        hooked.value.response.close()
    for caught in (dropped, hooked):
        assert source.secret.reveal() not in told(caught.value) + frames(caught.value)
    assert source.secret.reveal() not in f"{refused.value} {refused.value!r}"


@pytest.mark.security("L03", "H11")
def test_an_error_of_tls_says_what_is_wrong(tls_fake: FakeProvider, register: Any) -> None:
    with OAuthSession(oauth2(tls_fake, register)) as http, pytest.raises(requests.exceptions.SSLError) as caught:
        http.get("/x?private=1")
    assert "certificate" in str(caught.value)
    assert "private" not in told(caught.value)


@pytest.mark.security("L03")
def test_an_error_of_preparing_tells_nothing_either(fake: FakeProvider, register: Any) -> None:
    with OAuthSession(oauth2(fake, register)) as http:
        with pytest.raises(requests.exceptions.InvalidHeader) as header:
            http.get("/x?private=1", headers={"X-A": "private\r\nX-B: 1"})
        with pytest.raises(RequestBlocked) as parameter:
            http.get("/x", params={"q": "private\ud800"})
    for caught in (header, parameter):
        assert "private" not in f"{caught.value} {caught.value!r} {caught.value.args!r}"
        assert caught.value.__context__ is None
