"""The fake provider's HTTP side: routes, the log of what was received, and the queue of faults."""

from __future__ import annotations

import socket
import threading
from collections import defaultdict, deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, urlsplit

from django_oauth_flows.testing.api import ProtectedAPI
from django_oauth_flows.testing.faults import Answer, write
from django_oauth_flows.testing.oauth1 import OAuth1Server
from django_oauth_flows.testing.oauth2 import OAuth2Server
from django_oauth_flows.testing.openid import OpenIDServer
from django_oauth_flows.testing.playing import Player
from django_oauth_flows.testing.registrar import Registrar

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

    from django_oauth_flows.testing.faults import Fault


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived. ``headers`` have lower-case names."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    certificate: bytes = field(default=b"", repr=False)  # the client's, as DER, if it has shown one

    @property
    def path(self) -> str:
        """Return the path."""
        return urlsplit(self.url).path

    @property
    def query(self) -> list[tuple[str, str]]:
        """Return the query's parameters."""
        return parse_qsl(urlsplit(self.url).query, keep_blank_values=True)

    @property
    def form(self) -> dict[str, str]:
        """Return the body's parameters."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


class FakeProvider:
    """A provider on loopback that does as it is told.

    ``oauth2``, ``oauth1`` and ``openid`` hold the servers' state and switches (lifetimes, rotation, grace, denial, identity);
    ``script(endpoint, fault, …)`` decides how the next requests to an endpoint are answered; ``with fake.down():`` nobody is;
    ``requests`` and ``count`` tell what arrived. Endpoints: ``authorize``, ``par``, ``device``, ``introspect``, ``token``, ``revoke``, ``userinfo``,
    ``jwks``, ``discovery``, ``metadata``, ``temporary``, ``authorize1``,
    ``token1``, ``revoke1``, ``register``, ``api``.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self.peers: set[socket.socket] = set()  # open at present
        self._queues: dict[str, deque[Fault]] = defaultdict(deque)
        self._lock = threading.Lock()
        self.server = _Server((host, 0), type("Handler", (_Handler,), {"fake": self}))
        self.server.tls = tls
        self.host = host
        self.url = f"{'https' if tls else 'http'}://{host}:{self.server.server_address[1]}"
        self.oauth2 = OAuth2Server(self.url)
        self.oauth1 = OAuth1Server(self.url)
        self.api = ProtectedAPI(self.oauth2, self.oauth1)
        self.openid = OpenIDServer(self.url, self.oauth2, self.api)
        self.registrar = Registrar(self.url, self.oauth2)
        self.played: Player | None = None
        self._routes: dict[str, tuple[str, Callable[[Received], Answer]]] = {
            "/authorize": ("authorize", self.oauth2.authorize),
            "/par": ("par", self.oauth2.push),
            "/device": ("device", self.oauth2.device),
            "/introspect": ("introspect", self.oauth2.introspect),
            "/token": ("token", self.oauth2.token),
            "/revoke": ("revoke", self.oauth2.revoke),
            "/register": ("register", self.registrar.register),
            "/userinfo": ("userinfo", self.openid.userinfo),
            "/jwks": ("jwks", self.openid.jwks),
            "/.well-known/openid-configuration": ("discovery", self.openid.metadata),
            "/.well-known/oauth-authorization-server": ("metadata", self.openid.metadata),
            "/oauth1/temporary": ("temporary", self.oauth1.temporary),
            "/oauth1/authorize": ("authorize1", self.oauth1.authorize),
            "/oauth1/token": ("token1", self.oauth1.token),
            "/oauth1/revoke": ("revoke1", self.oauth1.revoke),
        }

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def play(self, columns: Mapping[str, Any]) -> dict[str, Any]:
        """Be the server that the ``columns`` of a provider's row describe, its dialect included; return them for this fake.

        Every address comes back on this fake, its host as the first step of the path and its placeholders as they are, so that
        ``make_provider(fake, **fake.play(columns))`` is that provider, to be walked through. The endpoints keep their names
        (``token``, ``userinfo``, …) in ``script``, ``count`` and ``received``; there are two more, ``refresh_endpoint`` and
        ``second_exchange``. A request that is not in the dialect is answered with 400 and ``invalid_request``, and the
        description says what was wrong. ``played.subject`` is the id of the account that identity must find, ``played.said``
        what the server says beside its tokens. Other columns than those that say how a server is spoken to come back untouched.
        """
        self.played = Player(self, columns)
        return self.played.columns

    def script(self, endpoint: str, *faults: Fault) -> None:
        """Answer the next requests to ``endpoint`` with these, one each."""
        self._queues[endpoint].extend(faults)

    def count(self, endpoint: str) -> int:
        """Return how many requests an endpoint has received."""
        return sum(self._endpoint(request.path) == endpoint for request in self.requests)

    def received(self, endpoint: str) -> list[Received]:
        """Return what an endpoint has received."""
        return [request for request in self.requests if self._endpoint(request.path) == endpoint]

    def fault_for(self, endpoint: str, request: Received) -> Fault | None:
        """Return what goes wrong with this request: what was scripted next. Override it to decide by the request itself."""
        return self._queues[endpoint].popleft() if self._queues[endpoint] else None

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections for the time of the block, at the same address and without forgetting anything."""
        address, tls = self.server.server_address, self.server.tls
        self.__exit__()
        for peer in list(self.peers):
            with suppress(OSError):  # it is gone already
                peer.shutdown(socket.SHUT_RDWR)
        try:
            yield
        finally:
            self.server = _Server(address, self.server.RequestHandlerClass)
            self.server.tls = tls
            self.__enter__()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Log one request and answer it."""
        length = int(handler.headers.get("Content-Length") or 0)
        body = (
            _chunked(handler) if handler.headers.get("Transfer-Encoding") == "chunked" else handler.rfile.read(length)
        )
        headers = {name.lower(): value for name, value in handler.headers.items()}
        shown = handler.connection.getpeercert(binary_form=True) if self.server.tls is not None else None
        request = Received(handler.command, self.url + handler.path, headers, body, shown or b"")
        endpoint = self._endpoint(request.path)
        with self._lock:
            self.requests.append(request)
            fault = self.fault_for(endpoint, request)
        act = self._routes.get(request.path, ("api", self.api.answer))[1]
        if self.played is not None:
            act = self.played.answer

        def normal() -> Answer:
            with self._lock:
                return act(request)

        if fault is None:
            write(handler, normal())
        else:
            fault.play(handler, normal)

    def _endpoint(self, path: str) -> str:
        if self.played is not None:
            return self.played.endpoint(path)
        return self._routes[path][0] if path in self._routes else "api"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    tls: ssl.SSLContext | None = None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    fake: FakeProvider
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        self.fake.connections += 1
        if self.fake.server.tls is not None:
            self.request = self.fake.server.tls.wrap_socket(self.request, server_side=True)
        self.fake.peers.add(self.request)
        super().setup()

    def finish(self) -> None:
        self.fake.peers.discard(self.request)
        super().finish()
        if self.fake.server.tls is not None:
            self.request.close()

    def handle_one_request(self) -> None:
        try:
            self.raw_requestline = self.rfile.readline(65537)
        except OSError:
            self.raw_requestline = b""
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        try:
            self.fake.answer(self)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


def _chunked(handler: BaseHTTPRequestHandler) -> bytes:
    body = bytearray()
    while size := int(handler.rfile.readline().split(b";")[0], 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return bytes(body)
