"""Connections that go where they were checked to go, and end when their time is over.

A name is resolved once, every answer is vetted, and the socket is opened to a vetted address, while TLS and the Host
header keep the name. During an :class:`Exchange` every send and receive waits at most until its deadline, so that a peer
that drips one byte at a time is cut off like one that is silent.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import time
from contextlib import contextmanager
from contextvars import ContextVar
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from django_oauth_flows.exceptions import RequestBlocked
from django_oauth_flows.protocol.addresses import is_allowed, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("oauth_flows")

DEFAULT_CONNECT_TIMEOUT = 5.0

MAX_INFORMATIONAL = 20
"""How many 1xx answers may come before the final one."""


class Exchange:
    """One protocol request with a total deadline. ``sent``: whether any byte of it has left."""

    __slots__ = ("_expires", "sent")

    def __init__(self, seconds: float) -> None:
        self._expires = time.monotonic() + seconds
        self.sent = False

    def remaining(self) -> float:
        """Return the seconds left; raise ``TimeoutError`` if there are none."""
        seconds = self._expires - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the deadline has passed")
        return seconds


_current: ContextVar[Exchange | None] = ContextVar("oauth_flows_exchange", default=None)


@contextmanager
def exchange(seconds: float) -> Iterator[Exchange]:
    """Bound everything this thread sends and receives in the block by one deadline."""
    running = Exchange(seconds)
    token = _current.set(running)
    try:
        yield running
    finally:
        _current.reset(token)


class _DeadlineMixin:
    """Shorten the socket's timeout before each operation to what is left of the running exchange."""

    def recv_into(self, *args: Any) -> int:
        self._shorten()
        return super().recv_into(*args)  # type: ignore[misc,no-any-return]

    def sendall(self, *args: Any) -> None:
        if (running := _current.get()) is not None:
            running.sent = True
            self._shorten()
        super().sendall(*args)  # type: ignore[misc]

    def _shorten(self) -> None:
        if (running := _current.get()) is not None:
            self.settimeout(running.remaining())  # type: ignore[attr-defined]


class DeadlineSocket(_DeadlineMixin, socket.socket):
    """A plain socket under a deadline."""


class DeadlineSSLSocket(_DeadlineMixin, ssl.SSLSocket):
    """A TLS socket under a deadline; its handshake has the timeout that the plain socket was left with."""


class FinalResponse(http.client.HTTPResponse):
    """The final answer. ``http.client`` skips status 100 alone, and takes any other 1xx for the answer (RFC 9110 §15.2).

    What follows it would then be read as the answer to somebody else's request on the same connection.
    """

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MAX_INFORMATIONAL):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status >= HTTPStatus.OK:
                return version, status, reason
            if status == HTTPStatus.SWITCHING_PROTOCOLS:  # nobody has asked for that
                break
            http.client.parse_headers(self.fp)
        self.close()
        raise http.client.BadStatusLine("1xx")


class _GuardedMixin:
    """Open the connection to a vetted address only."""

    response_class: Any = FinalResponse
    internal = False
    vetted = True
    debuglevel = 0  # http.client's process-wide switch would print headers and bodies
    host: str
    port: int
    timeout: Any
    source_address: Any

    def _new_conn(self) -> socket.socket:
        running = _current.get()
        seconds = DEFAULT_CONNECT_TIMEOUT if running is None else running.remaining()
        if isinstance(self.timeout, (int, float)):
            seconds = min(seconds, self.timeout)
        until = time.monotonic() + seconds
        host = self._dns_host.rstrip(".")  # type: ignore[attr-defined]
        failure: OSError = OSError("the host has no address")
        for family, address in self._addresses(host, seconds):
            try:
                return _connect(family, str(address), self.port, until)
            except OSError as error:
                failure = error
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, "timed out") from None
        raise NewConnectionError(self, "refused") from None  # type: ignore[arg-type]

    def _addresses(self, host: str, seconds: float) -> Any:
        try:
            answers = resolve(host, self.port, timeout=seconds)
        except OSError:
            raise NewConnectionError(self, "not resolved") from None  # type: ignore[arg-type]
        if self.vetted and not all(is_allowed(address, internal=self.internal) for _, address in answers):
            logger.warning("oauth_flows.address_not_allowed", extra={"host": host, "internal": self.internal})
            raise RequestBlocked(
                "The host has an address that may not be connected to.",
                code="address_not_allowed",
                hint="Private addresses need a provider that staff marked as internal.",
            )
        return answers


def _connect(family: socket.AddressFamily, address: str, port: int, until: float) -> socket.socket:
    sock = DeadlineSocket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(until - time.monotonic(), 0.001))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((address, port))
        sock.settimeout(max(until - time.monotonic(), 0.001))  # what is left for the handshake
    except OSError:
        sock.close()
        raise
    return sock


class GuardedHTTPConnection(_GuardedMixin, HTTPConnection):
    """Plain http; only ever to this machine, which the caller has checked."""


class GuardedHTTPSConnection(_GuardedMixin, HTTPSConnection):
    """https to public addresses."""


class InternalHTTPConnection(GuardedHTTPConnection):
    """Plain http for a provider marked as internal."""

    internal = True


class InternalHTTPSConnection(GuardedHTTPSConnection):
    """https for a provider marked as internal: private addresses are allowed."""

    internal = True


class ProxyHTTPConnection(GuardedHTTPConnection):
    """To the proxy that staff configured: the proxy decides where it goes from there."""

    vetted = False


class ProxyHTTPSConnection(GuardedHTTPSConnection):
    """To the proxy that staff configured, for https."""

    vetted = False
