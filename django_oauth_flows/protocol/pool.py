"""Shared pools of open connections: one per way of connecting, for all users of a process, with nothing of theirs in it."""

from __future__ import annotations

import hashlib
import os
import ssl
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import certifi
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager, ProxyManager, Retry
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import make_headers, parse_url

from django_oauth_flows.protocol import sockets

if TYPE_CHECKING:
    from requests import PreparedRequest
    from urllib3 import BaseHTTPResponse
    from urllib3.connectionpool import ConnectionPool

    from django_oauth_flows.protocol.messages import TransportPolicy
    from django_oauth_flows.protocol.secret import Secret

HOSTS, CONNECTIONS_PER_HOST = 32, 32

ONCE = Retry(total=False, redirect=False)
"""Nothing is sent twice, and errors are raised as they are."""


class GuardedAdapter(HTTPAdapter):
    """An adapter over a guarded pool. Closing a session leaves the pool open for the next one."""

    def __init__(self, manager: PoolManager) -> None:
        super().__init__(max_retries=0)
        self.poolmanager = manager

    def exchange(self, request: PreparedRequest, *, timeout: float) -> BaseHTTPResponse:
        """Send ``request`` outside of any session: no cookies, no redirects, no retries, the answer unread."""
        pool: Any = self.get_connection_with_tls_context(request)
        response: BaseHTTPResponse = pool.urlopen(
            str(request.method),
            self.request_url(request, None),
            request.body,
            request.headers,
            retries=ONCE,
            redirect=False,
            assert_same_host=False,
            timeout=timeout,
            preload_content=False,
            decode_content=False,
        )
        return response

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Leave out the pool that ``requests`` would make: ours is set right after."""

    def get_connection_with_tls_context(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> ConnectionPool:
        """Pick by URL alone; TLS is decided once, by the pool's context."""
        return self.poolmanager.connection_from_url(request.url)  # type: ignore[no-any-return]

    def cert_verify(self, *args: Any) -> None:
        """Do nothing: the context verifies, and no session may switch that off."""

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        """Return what goes into the request line: a full URL only towards a plain-http proxy."""
        if isinstance(self.poolmanager, ProxyManager) and str(request.url).startswith("http:"):
            return str(request.url)
        return request.path_url

    def close(self) -> None:
        """Keep the connections: they belong to the process, not to one session."""


def adapter_for(policy: TransportPolicy) -> GuardedAdapter:
    """Return the process's adapter for this way of connecting; a client certificate has connections of its own."""
    key = (policy.internal, policy.ca_bundle, policy.proxy, _digest(policy.client_certificate))
    adapter = _adapters.get(key)
    if adapter is None:
        with _lock:
            adapter = _adapters.setdefault(key, GuardedAdapter(_manager(policy)))
    return adapter


def _manager(policy: TransportPolicy) -> PoolManager:
    context = tls_context(policy.ca_bundle)
    if policy.client_certificate is not None:
        from django_oauth_flows.protocol.certificates import present  # cryptography is for those who have one

        present(context, policy.client_certificate)
    options: dict[str, Any] = {"num_pools": HOSTS, "maxsize": CONNECTIONS_PER_HOST, "ssl_context": context}
    manager = _proxy_manager(policy.proxy, options) if policy.proxy else PoolManager(**options)
    kind = "proxy" if policy.proxy else "internal" if policy.internal else "public"
    manager.pool_classes_by_scheme = _POOLS[kind]
    return manager


def _proxy_manager(url: str, options: dict[str, Any]) -> ProxyManager:
    """Return a manager that shows the proxy the credentials in its URL: urllib3 does not read them there."""
    credentials = parse_url(url).auth
    # As UTF-8 (RFC 7617 §2.1): urllib3 would refuse what Latin-1 does not have.
    spelled = unquote(credentials).encode().decode("latin-1") if credentials else None
    headers = make_headers(proxy_basic_auth=spelled)
    return ProxyManager(url, proxy_headers=headers, **options)


def tls_context(ca_bundle: str) -> ssl.SSLContext:
    """Return a verifying context of TLS 1.2 or newer that trusts ``ca_bundle``, or the usual authorities if it is ""."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca_bundle or certifi.where())
    context.sslsocket_class = sockets.DeadlineSSLSocket
    return context


def _pools(plain: type, tls: type) -> dict[str, Any]:
    return {
        "http": type(f"{plain.__name__}Pool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type(f"{tls.__name__}Pool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }


_POOLS = {
    "public": _pools(sockets.GuardedHTTPConnection, sockets.GuardedHTTPSConnection),
    "internal": _pools(sockets.InternalHTTPConnection, sockets.InternalHTTPSConnection),
    "proxy": _pools(sockets.ProxyHTTPConnection, sockets.ProxyHTTPSConnection),
}


def _digest(secret: Secret | None) -> bytes:
    return b"" if secret is None else hashlib.sha256(secret.reveal().encode()).digest()


_adapters: dict[tuple[bool, str, str, bytes], GuardedAdapter] = {}
_lock = threading.Lock()


def _forget() -> None:
    """Start anew in a forked child: two processes must not talk on one connection."""
    global _lock  # noqa: PLW0603 - a lock that another thread held at the fork would stay locked
    _lock = threading.Lock()
    _adapters.clear()


os.register_at_fork(after_in_child=_forget)
