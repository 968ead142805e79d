"""Serve a WSGI application on 127.0.0.1 from threads of this process; for the example and for tests only."""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.handlers.wsgi import WSGIHandler


class QuietHandler(WSGIRequestHandler):
    """Handles requests without a line in the log for each."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


class Server(ThreadedWSGIServer):
    """A thread for each connection; a client that hangs up is no error worth printing."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: Django has logged what went wrong in a view."""


@contextmanager
def serve(application: WSGIHandler, *, port: int = 0, tls: tuple[str, str] | None = None) -> Iterator[str]:
    """Serve ``application`` while the context lasts; yield its base URL. ``tls``: PEM files of certificate and key."""
    try:
        server = Server(("127.0.0.1", port), QuietHandler)
    except OSError as error:
        raise OSError(error.errno, f"Cannot serve on 127.0.0.1:{port}: {error.strerror}") from None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        # The handshake happens in the connection's own thread, at its first read: a slow client blocks nobody.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.base_environ["HTTPS"] = "on"
    server.set_app(application)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
