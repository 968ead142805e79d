"""Time, size and state of outbound requests, over real sockets."""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import threading
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests

from django_oauth_flows.exceptions import OAuthFlowsError, OutcomeUnknown, ProviderUnreachable, TokenEndpointError
from django_oauth_flows.protocol import pool
from django_oauth_flows.protocol.messages import ClientRegistration, Credentials
from django_oauth_flows.protocol.oauth2 import OAuth2Flow
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.protocol.session import OAuthSession
from django_oauth_flows.testing import Answer, Delay, Drip, Drop, Endless, FakeProvider, Reset
from django_oauth_flows.testing.faults import serialise, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1024 * 1024


def memory() -> int:
    return int(psutil.Process().memory_info().rss)


class Informational:
    """Say so many times that the answer is coming, and later answer as usual."""

    def __init__(self, status: str = "103 Early Hints", *, times: int = 1) -> None:
        self.status, self.times = status, times

    def play(self, handler: Any, normal: Callable[[], Answer]) -> None:
        head = f"HTTP/1.1 {self.status}\r\nLink: </a.css>; rel=preload\r\n\r\n".encode()
        handler.wfile.write(head * self.times)
        handler.wfile.flush()
        time.sleep(0.2)
        write(handler, normal())


class Source:
    """A token source that can have something newer."""

    def __init__(self, registration: ClientRegistration, *tokens: str) -> None:
        self.registration, self.tokens, self.asked = registration, list(tokens), 0

    def current(self, *, rejected: Credentials | None = None) -> tuple[ClientRegistration, Credentials]:
        self.asked += 1
        if rejected is not None and len(self.tokens) > 1:
            self.tokens.pop(0)
        return self.registration, Credentials(Secret(self.tokens[0]), generation=-len(self.tokens))

    def replaced(self, rejected: Credentials) -> None:
        """Hear of it."""


@pytest.mark.security("T12")
@pytest.mark.parametrize("fault", ["silence", "drip", "head drip", "blackhole"])
def test_the_deadline_is_total_however_the_time_is_wasted(fault: str, fake: FakeProvider, register: Any) -> None:
    registration = register(fake, transport={"deadline": 1.0})
    with contextlib.ExitStack() as opened:
        if fault == "blackhole":
            object.__setattr__(registration.server, "token_endpoint", f"http://127.0.0.1:{blackhole(opened)}/t")
        else:
            slow = {"silence": Delay(seconds=4), "drip": Drip(interval=0.1), "head drip": Drip(interval=0.2)}
            fake.script("token", slow[fault])
        started = time.monotonic()
        with pytest.raises(ProviderUnreachable):
            OAuth2Flow(registration).client_credentials()
        assert time.monotonic() - started < 3


class LateSilence:
    """Begin to answer after a while, and fall silent."""

    def play(self, handler: Any, _: Callable[[], Answer]) -> None:
        time.sleep(1.6)
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        handler.wfile.flush()
        time.sleep(4)


@pytest.mark.security("T12")
def test_who_falls_silent_late_has_what_is_left_of_the_deadline(fake: FakeProvider, register: Any) -> None:
    fake.script("token", LateSilence())
    started = time.monotonic()
    with pytest.raises(ProviderUnreachable):
        OAuth2Flow(register(fake, transport={"deadline": 2.0})).client_credentials()
    assert time.monotonic() - started < 3


def blackhole(opened: contextlib.ExitStack) -> int:
    """Return a port whose queue is full, so that further connections hang."""
    full = opened.enter_context(socket.socket())
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    for _ in range(4):
        waiting = opened.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(full.getsockname())
    return int(full.getsockname()[1])


@dataclass(frozen=True)
class BodyDrip:
    """Send the head at once, and then one byte of the body every tenth of a second."""

    def play(self, handler: Any, normal: Callable[[], Answer]) -> None:
        """Keep the reader busy."""
        head, _, body = serialise(normal()).partition(b"\r\n\r\n")
        handler.close_connection = True
        handler.wfile.write(head + b"\r\n\r\n")
        for byte in body:
            handler.wfile.write(bytes([byte]))
            time.sleep(0.1)


@pytest.mark.security("T12")
@pytest.mark.parametrize("fault", [Delay(seconds=4), Drip(interval=0.1), BodyDrip()], ids=["silence", "drip", "body"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_deadline_is_total_with_and_without_tls(
    *, scheme: str, fault: Any, fake: FakeProvider, tls_fake: FakeProvider, register: Any, ca_bundle: str
) -> None:
    server = tls_fake if scheme == "https" else fake
    flow = OAuth2Flow(register(server, transport={"deadline": 1.0, "ca_bundle": ca_bundle}))
    server.script("token", fault)
    started = time.monotonic()
    with pytest.raises(ProviderUnreachable):
        flow.client_credentials()
    assert time.monotonic() - started < 3


@pytest.mark.security("T12")
@pytest.mark.parametrize("fault", ["silent handshake", "dripping handshake", "resolver", "late connection"])
def test_the_deadline_includes_the_resolver_and_the_handshake(
    fault: str, fake: FakeProvider, register: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    registration = register(fake, transport={"deadline": 2.0})
    with contextlib.ExitStack() as opened:
        address = "slow.example"
        if fault == "resolver":
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(4) or [])
        else:
            address = f"127.0.0.1:{no_tls(opened, drips=fault.startswith('dripping'))}"
        if fault == "late connection":
            connect = socket.socket.connect
            monkeypatch.setattr(socket.socket, "connect", lambda *args: (time.sleep(1.8), connect(*args)))
        object.__setattr__(registration.server, "token_endpoint", f"https://{address}/t")
        started = time.monotonic()
        with pytest.raises(ProviderUnreachable):
            OAuth2Flow(registration).client_credentials()
        assert time.monotonic() - started < 3


def no_tls(opened: contextlib.ExitStack, *, drips: bool) -> int:
    """Return the port of a server that never ends its handshake: says nothing, or a byte now and then."""
    listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))

    def answer() -> None:
        with contextlib.suppress(OSError):
            talking = opened.enter_context(listener.accept()[0])
            for byte in b"\x16\x03\x03\x40\x00" + b"\x00" * 50:
                talking.sendall(bytes([byte]))
                time.sleep(0.1)

    if drips:
        threading.Thread(target=answer, daemon=True).start()
    return int(listener.getsockname()[1])


@pytest.mark.security("T13")
@pytest.mark.parametrize(
    "fault",
    [
        Drop(acted=False),
        Reset(),
        Reset(after=30),
        Reset(after=120),
        Endless(head=b"garbage\r\n\r\n", limit=0),
        Endless(head=b"HTTP/1.1 abc\r\n\r\n", limit=0),
        Endless(head=b'{"access_token":"a"}', limit=0),
        Endless(head=b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n", limit=0),
        Endless(head=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\nabc", limit=0),
        Endless(head=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc", limit=0),
        Endless(head=b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}", limit=0),
    ],
)
def test_a_broken_answer_is_an_unreachable_provider(fault: Any, fake: FakeProvider, register: Any) -> None:
    fake.script("token", fault)
    with pytest.raises(OutcomeUnknown):
        OAuth2Flow(register(fake)).client_credentials()
    assert fake.count("token") == 1
    assert OAuth2Flow(register(fake)).client_credentials().access_token  # the pool is not poisoned


class LateBody:
    """Redirect at once, and send the body a second later, on a connection that stays open."""

    def play(self, handler: Any, normal: Callable[[], Answer]) -> None:
        """Let the next request begin before this answer ends."""
        handler.wfile.write(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 5\r\n\r\n")
        time.sleep(1)
        handler.wfile.write(b"later")


@pytest.mark.security("T13", "T23")
def test_the_rest_of_a_refused_answer_is_not_the_next_ones_beginning(fake: FakeProvider, register: Any) -> None:
    flow = OAuth2Flow(register(fake))
    fake.script("token", LateBody())
    with pytest.raises(TokenEndpointError):
        flow.client_credentials()
    assert flow.client_credentials().access_token


@pytest.mark.security("T13", "T15")
def test_a_provider_that_was_never_reached_has_certainly_not_acted(register: Any) -> None:
    with FakeProvider() as gone:
        registration = register(gone)
    with pytest.raises(ProviderUnreachable) as caught:
        OAuth2Flow(registration).client_credentials()
    assert type(caught.value) is ProviderUnreachable


@pytest.mark.security("T14")
@pytest.mark.parametrize(
    "fault",
    [
        Endless(),
        Endless(head=b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n"),
        Endless(
            head=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk=b"10000\r\n" + b"x" * 65536 + b"\r\n"
        ),
        Answer(200, gzip.compress(b" " * 200 * MIB), {"Content-Encoding": "gzip"}),
        Answer(200, gzip.compress(gzip.compress(b" " * 100 * MIB)), {"Content-Encoding": "gzip, gzip"}),
        Answer(200, zlib.compress(b" " * 50 * MIB), {"Content-Encoding": "deflate"}),
        Answer(200, b"x", {"Content-Encoding": "br"}),
        Answer(200, {"access_token": "abc", "token_type": "Bearer"}, {"Content-Encoding": "zstd"}),
    ],
    ids=["endless", "length", "chunked", "gzip", "gzip-gzip", "deflate", "br", "zstd"],
)
def test_no_answer_bloats_the_process(fault: Any, fake: FakeProvider, register: Any) -> None:
    flow = OAuth2Flow(register(fake, transport={"deadline": 10.0}))
    flow.client_credentials()
    fake.script("token", fault)
    before = memory()
    with pytest.raises(TokenEndpointError) as caught:
        flow.client_credentials()
    assert caught.value.code == "bad_response"
    assert memory() - before < 16 * MIB
    assert fake.received("token")[0].headers["accept-encoding"] == "identity"


@pytest.mark.security("T23")
def test_pooled_connections_carry_nothing_from_one_user_to_the_next(fake: FakeProvider, register: Any) -> None:
    registration = register(fake)
    tokens = [fake.oauth2.issue()[0] for _ in range(8)]

    def use(token: str) -> None:
        for _ in range(5):
            with OAuthSession(Source(registration, token)) as http:
                http.headers["X-User"] = token[-8:]
                assert http.get("/echo").status_code == 200
                assert not http.cookies

    threads = [threading.Thread(target=use, args=[token]) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fake.received("api")) == 40
    for request in fake.received("api"):
        assert request.headers["authorization"].endswith(request.headers["x-user"])
        assert "cookie" not in request.headers


@pytest.mark.security("T23")
def test_what_is_set_on_one_session_is_not_on_another(fake: FakeProvider, register: Any) -> None:
    registration = register(fake)
    one, two = (OAuthSession(Source(registration, fake.oauth2.issue()[0])) for _ in range(2))
    one.headers["X-User"], one.params = "one", {"user": "one"}
    one.cookies.set("user", "one")
    assert two.get("/echo").status_code == 200
    (request,) = fake.received("api")
    assert {"x-user", "cookie"} & set(request.headers) == set()
    assert request.query == []


@pytest.mark.security("T23")
def test_cookies_of_protocol_endpoints_are_never_kept(fake: FakeProvider, register: Any) -> None:
    flow = OAuth2Flow(register(fake))
    body = {"access_token": "abc", "token_type": "Bearer"}
    fake.script("token", Answer(200, body, {"Set-Cookie": "a=1"}))
    flow.client_credentials()
    flow.client_credentials()
    assert all("cookie" not in request.headers for request in fake.requests)


def test_a_new_session_per_call_opens_no_new_connection(tls_fake: FakeProvider, register: Any, ca_bundle: str) -> None:
    registration = register(tls_fake, transport={"ca_bundle": ca_bundle})
    token, _ = tls_fake.oauth2.issue()
    for _ in range(20):
        with OAuthSession(Source(registration, token)) as http:
            assert http.get("/echo").status_code == 200
    assert tls_fake.connections == 1


def test_a_forked_child_opens_its_own_connections(fake: FakeProvider, register: Any) -> None:
    registration = register(fake)
    token, _ = fake.oauth2.issue()
    OAuthSession(Source(registration, token)).get("/echo")
    assert pool._adapters
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"0" if pool._adapters else b"1")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"1"
    assert pool._adapters


def test_a_401_is_answered_with_one_newer_token_and_one_repetition(fake: FakeProvider, register: Any) -> None:
    good, _ = fake.oauth2.issue()
    source = Source(register(fake), "old", good)
    with OAuthSession(source) as http:
        assert http.get("/echo").status_code == 200
        assert fake.count("api") == 2
        assert source.asked == 2
    stuck = Source(register(fake), "old", "older", "oldest")
    with OAuthSession(stuck) as http:
        assert http.get("/echo").status_code == 401
    assert fake.count("api") == 4


@pytest.mark.parametrize(
    ("method", "challenge", "repeated"),
    [
        ("PUT", "", True),
        ("DELETE", "", True),
        ("POST", "", False),
        ("PATCH", "", False),
        ("POST", 'Bearer error="invalid_token"', True),
    ],
)
def test_only_what_was_certainly_not_done_is_repeated(
    method: str, challenge: str, repeated: bool, fake: FakeProvider, register: Any
) -> None:
    good, _ = fake.oauth2.issue()
    fake.script("api", Answer(401, b"", {"WWW-Authenticate": challenge}))
    with OAuthSession(Source(register(fake), "old", good)) as http:
        response = http.request(method, "/echo", data=b"body")
    assert response.status_code == (200 if repeated else 401)
    assert fake.count("api") == (2 if repeated else 1)
    assert all(request.body == b"body" for request in fake.received("api"))


def test_a_file_is_rewound_and_a_generator_is_not_repeated(fake: FakeProvider, register: Any, tmp_path: Any) -> None:
    path = tmp_path / "photo"
    path.write_bytes(b"p" * 100_000)
    good, _ = fake.oauth2.issue()
    with OAuthSession(Source(register(fake), "old", good)) as http, path.open("rb") as file:
        assert http.put("/echo", data=file).json()["size"] == 100_000

    def stream() -> Iterator[bytes]:
        yield b"once"

    with OAuthSession(Source(register(fake), "old", good)) as http:
        assert http.put("/echo", data=stream()).status_code == 401


def test_a_403_is_not_repeated(fake: FakeProvider, register: Any) -> None:
    fake.script("api", Answer(403))
    source = Source(register(fake), "old", "new")
    with OAuthSession(source) as http:
        assert http.get("/echo").status_code == 403
    assert source.asked == 1


def test_gzip_streaming_long_tokens_and_absolute_urls(fake: FakeProvider, register: Any) -> None:
    token, _ = fake.oauth2.issue()
    with OAuthSession(Source(register(fake), token)) as http:
        fake.script("api", Answer(200, gzip.compress(b'{"a": 1}'), {"Content-Encoding": "gzip"}))
        assert http.get("/zipped").json() == {"a": 1}
        with http.get("/bytes/300000", stream=True) as response:
            assert sum(len(chunk) for chunk in response.iter_content(8192)) == 300_000
        assert http.get(f"{fake.url}/api/echo").status_code == 200
    grant = fake.oauth2.grants[0]
    grant.access["t" * 16_000] = time.monotonic() + 60
    with OAuthSession(Source(register(fake), "t" * 16_000)) as http:
        assert http.get("/echo").status_code == 200


def test_sending_and_fetching_much_needs_little_memory(fake: FakeProvider, register: Any) -> None:
    token, _ = fake.oauth2.issue()
    chunk = b"c" * 65536

    def stream() -> Iterator[bytes]:
        for _ in range(400):
            yield chunk

    with OAuthSession(Source(register(fake), token)) as http:
        http.get("/echo")
        chunked = Endless(head=b"HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n", limit=50 * MIB)
        fake.script("api", chunked)
        before = memory()
        with http.get("/big", stream=True) as response:
            assert sum(len(part) for part in response.iter_content(65536)) == 50 * MIB
        assert memory() - before < 16 * MIB
        assert http.put("/echo", data=stream()).json()["size"] == 400 * 65536


@pytest.mark.parametrize("path", ["", "/", "echo", "/echo"])
def test_relative_urls_are_appended_to_the_api_base(path: str, fake: FakeProvider, register: Any) -> None:
    token, _ = fake.oauth2.issue()
    with OAuthSession(Source(register(fake), token)) as http:
        assert http.get(path).json()["path"] == f"/api/{path.lstrip('/')}"


def test_a_session_sends_only_what_it_prepared(fake: FakeProvider, register: Any) -> None:
    http = OAuthSession(Source(register(fake), "t"))
    with pytest.raises(OAuthFlowsError):
        http.send(requests.Request("GET", fake.url).prepare())


def test_defaults_have_timeouts_and_a_caller_may_change_them(fake: FakeProvider, register: Any) -> None:
    token, _ = fake.oauth2.issue()
    fake.script("api", Delay(seconds=2))
    with OAuthSession(Source(register(fake), token)) as http, pytest.raises(requests.exceptions.ReadTimeout):
        http.get("/slow", timeout=0.3)


def test_callable_register(register: Callable[..., ClientRegistration], fake: FakeProvider) -> None:
    assert "proxy" not in repr(register(fake, transport={"proxy": "http://user:pass@proxy.example"}))


@pytest.mark.security("T12")
@pytest.mark.parametrize("hint", [Informational(), Informational("102 Processing", times=3)])
def test_an_answer_that_is_announced_first_is_nobody_elses(
    hint: Informational, fake: FakeProvider, register: Any
) -> None:
    registration = register(fake)
    tokens = [fake.oauth2.issue()[0] for _ in range(2)]
    fake.script("api", hint)
    heard = []
    for token in tokens:
        with OAuthSession(Source(registration, token)) as http:
            answer = http.get("/echo", headers={"Whose": token})
            heard.append((answer.status_code, token in answer.text))
    assert heard == [(200, True)] * 2


@pytest.mark.security("T12")
def test_a_token_that_is_announced_first_is_nobody_elses(fake: FakeProvider, register: Any) -> None:
    flow, grants = OAuth2Flow(register(fake)), [fake.oauth2.issue() for _ in range(2)]
    fake.script("token", Informational())
    first, second = (flow.refresh(Secret(refresh)) for _, refresh in grants)
    owners = [fake.oauth2.grant_of(tokens.access_token.reveal()) for tokens in (first, second)]
    assert owners == fake.oauth2.grants


@pytest.mark.parametrize("hint", [Informational("101 Switching Protocols"), Informational(times=25)])
def test_what_only_announces_an_answer_is_none(hint: Informational, fake: FakeProvider, register: Any) -> None:
    flow, (_, refresh) = OAuth2Flow(register(fake)), fake.oauth2.issue()
    fake.script("token", hint)
    with pytest.raises(OutcomeUnknown):
        flow.refresh(Secret(refresh))
    assert flow.refresh(Secret(fake.oauth2.issue()[1])).access_token  # on another connection
