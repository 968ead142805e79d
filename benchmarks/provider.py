"""A stub provider as fast as plain Python allows: fixed answers over TLS, kept-alive connections, counted."""

from __future__ import annotations

import itertools
import json
import socket
import ssl
import sys
import threading
import time

CHUNK = b"x" * 65536
LATENCY = 0.05
"""Seconds that ``/slow/token`` takes."""
counter = itertools.count()
accepted: list[int] = []


def answer(path: str, received: int) -> bytes:
    """Return the body for a path."""
    if path == "/slow/token":
        time.sleep(LATENCY)
    if path.endswith("/token"):
        number = next(counter)
        token = {"access_token": f"access-{number}", "refresh_token": f"refresh-{number}", "token_type": "Bearer"}
        return json.dumps({**token, "expires_in": 3600, "scope": "read", "sub": f"account-{number}"}).encode()
    if path == "/stats":
        return json.dumps({"connections": len(accepted)}).encode()
    return json.dumps({"ok": True, "received": received}).encode()


def read_body(stream: ssl.SSLSocket, headers: bytes, rest: bytes) -> int:
    """Swallow a body of known length, or in chunks; return its size."""
    lower = headers.lower()
    if b"transfer-encoding: chunked" in lower:
        size, tail = len(rest), rest[-8:]
        while not tail.endswith(b"0\r\n\r\n"):
            data = stream.recv(1 << 20)
            size, tail = size + len(data), (tail + data)[-8:]
        return size
    length = int(lower.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
    got = len(rest)
    while got < length:
        got += len(stream.recv(1 << 20))
    return got


def serve(plain: socket.socket, context: ssl.SSLContext) -> None:
    """Answer requests on one connection until it closes."""
    accepted.append(plain.fileno())
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with context.wrap_socket(plain, server_side=True) as stream:
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                data = stream.recv(65536)
                if not data:
                    return
                buffer += data
            headers, _, buffer = buffer.partition(b"\r\n\r\n")
            path = headers.split(b" ", 2)[1].decode()
            received = read_body(stream, headers, buffer)
            buffer = b""
            if "download=" in path:
                size = int(path.partition("download=")[2])
                stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                for _ in range(size // len(CHUNK)):
                    stream.sendall(CHUNK)
                continue
            body = answer(path, received)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            stream.sendall(head + body)


def quietly(plain: socket.socket, context: ssl.SSLContext) -> None:
    """Let clients hang up as they like."""
    try:
        serve(plain, context)
    except OSError:
        plain.close()


def main() -> None:
    """Listen on a free port and print it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            plain, _ = listener.accept()
            threading.Thread(target=quietly, args=(plain, context), daemon=True).start()


if __name__ == "__main__":
    main()
