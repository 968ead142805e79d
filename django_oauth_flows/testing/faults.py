"""What can go wrong with one answer: queue these with ``FakeProvider.script``."""

from __future__ import annotations

import json
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from http.server import BaseHTTPRequestHandler


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: status, body (bytes, text, or anything for JSON) and headers that replace the usual ones."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def play(self, handler: BaseHTTPRequestHandler, normal: Callable[[], Answer]) -> None:
        """Send it; ``normal`` is not called, so nothing happens at the provider."""
        write(handler, self)

    def encoded(self) -> tuple[bytes, str]:
        """Return the body as bytes, and its content type."""
        if isinstance(self.body, bytes):
            return self.body, "application/octet-stream"
        if isinstance(self.body, str):
            return self.body.encode("utf-8", "surrogatepass"), "text/plain; charset=utf-8"
        return json.dumps(self.body).encode(), "application/json"


class Fault(Protocol):
    """One way to answer. ``normal()`` lets the provider act and returns what it would have said."""

    def play(self, handler: BaseHTTPRequestHandler, normal: Callable[[], Answer]) -> None:
        """Answer, or fail to."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Answer as usual, after ``seconds``, or once ``until`` is set; ``reached`` is set when the request has arrived."""

    seconds: float = 0.0
    until: threading.Event | None = None
    reached: threading.Event | None = None

    def play(self, handler: BaseHTTPRequestHandler, normal: Callable[[], Answer]) -> None:
        """Act at once, answer late: what a slow network looks like."""
        answer = normal()
        if self.reached is not None:
            self.reached.set()
        if self.until is not None:
            self.until.wait(30)
        time.sleep(self.seconds)
        write(handler, answer)


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection without an answer, ``acted`` or not."""

    acted: bool = True

    def play(self, handler: BaseHTTPRequestHandler, normal: Callable[[], Answer]) -> None:
        """Hang up."""
        if self.acted:
            normal()
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class Reset:
    """Act, send ``after`` bytes of the answer, then reset the TCP connection."""

    after: int = 0

    def play(self, handler: BaseHTTPRequestHandler, normal: Callable[[], Answer]) -> None:
        """Cut the line."""
        raw = serialise(normal())
        handler.wfile.write(raw[: self.after])
        handler.close_connection = True
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()


@dataclass(frozen=True, slots=True)
class Half:
    """Act, send ``share`` of the answer, then close."""

    share: float = 0.5

    def play(self, handler: BaseHTTPRequestHandler, normal: Callable[[], Answer]) -> None:
        """Stop in the middle."""
        raw = serialise(normal())
        handler.wfile.write(raw[: int(len(raw) * self.share)])
        handler.close_connection = True


@dataclass(frozen=True, slots=True)
class Drip:
    """Act, then send one byte every ``interval`` seconds, at most for ``limit`` seconds."""

    interval: float = 0.05
    limit: float = 30.0

    def play(self, handler: BaseHTTPRequestHandler, normal: Callable[[], Answer]) -> None:
        """Keep the reader busy and its timeouts quiet."""
        until = time.monotonic() + self.limit
        handler.close_connection = True
        for byte in serialise(normal()):
            if time.monotonic() > until:
                return
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(self.interval)


@dataclass(frozen=True, slots=True)
class Endless:
    """Send ``head`` and then ``chunk`` again and again, up to ``limit`` bytes."""

    head: bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    chunk: bytes = b" " * 65536
    limit: int = 1 << 30

    def play(self, handler: BaseHTTPRequestHandler, normal: Callable[[], Answer]) -> None:
        """Never stop of our own accord."""
        handler.close_connection = True
        handler.wfile.write(self.head)
        for _ in range(self.limit // len(self.chunk)):
            handler.wfile.write(self.chunk)


def serialise(answer: Answer) -> bytes:
    """Return an answer as it goes on the wire."""
    body, content_type = answer.encoded()
    headers = {"Content-Type": content_type, "Content-Length": str(len(body)), **answer.headers}
    lines = [f"HTTP/1.1 {answer.status} Status", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def write(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    """Send a whole answer."""
    handler.wfile.write(serialise(answer))
    handler.wfile.flush()
