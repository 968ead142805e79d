"""Authentication for an ``httpx`` client of the caller's own, sync and async, by the same rules as our session's.

TLS, proxies, timeouts, cookies and redirects are the caller's client's business. What is ours: the token is put on requests
to listed hosts only, and a refused one is replaced once, where the request still bears it. The only door for ``httpx``.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import httpx
import requests
from requests.structures import CaseInsensitiveDict

from django_oauth_flows.protocol import dpop
from django_oauth_flows.protocol.use import Use, check_placement, is_repeatable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from django_oauth_flows.protocol.use import TokenSource


class HttpxAuth(httpx.Auth):
    """``httpx.Client(auth=…)``, ``httpx.AsyncClient(auth=…)``, or ``auth=`` of one request; threads and tasks may share it.

    A request to a host that is not listed raises :class:`RequestBlocked`, one whose connection has no valid token what the
    token source raises; after a 401 the token is replaced once, and the request repeated if it can be.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send with a valid token; replace it after a 401."""
        use: Use | None = Use(self._source, *self._source.current())
        while use is not None:
            response = yield _authenticated(request, use)
            request = response.request
            if not _is_refused(response, use):
                return
            again = _proven_anew(response, use)
            if again is None and use.blames_token(response.headers):
                again = use.newer(repeatable=_may_repeat(response))
            use = again

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Do the same without blocking the event loop."""
        use: Use | None = Use(self._source, *await self._source.acurrent())
        while use is not None:
            response = yield _authenticated(request, use)
            request = response.request
            if not _is_refused(response, use):
                return
            again = _proven_anew(response, use)
            if again is None and use.blames_token(response.headers):
                again = await use.anewer(repeatable=_may_repeat(response))
            use = again


_DEFAULTS = ("*/*", f"python-httpx/{httpx.__version__}")
"""Header values that say nothing: httpx always sends them."""


def _authenticated(request: httpx.Request, use: Use) -> httpx.Request:
    """Let ``use`` authenticate a stand-in of the request, and take over what that has changed."""
    check_placement(use.registration)
    prepared = requests.PreparedRequest()
    prepared.method, prepared.url = request.method, str(request.url)
    prepared.headers = CaseInsensitiveDict()
    if request.headers.get("Host") != request.url.netloc.decode("ascii"):  # httpx always sets it
        prepared.headers["Host"] = request.headers.get("Host", "")
    if "Content-Type" in request.headers:
        prepared.headers["Content-Type"] = request.headers["Content-Type"]
    prepared.body = (request.read() or None) if _is_held(request) else request.stream  # type: ignore[assignment]
    use(prepared)
    if use.registration.dialect.api_parameters:
        request.url = httpx.URL(str(prepared.url))
    for name, _ in use.registration.dialect.api_headers:
        if request.headers.get(name) in (None, *_DEFAULTS) and name in prepared.headers:
            request.headers[name] = prepared.headers[name]
    for name in ("Authorization", "Content-Type", dpop.HEADER):
        if name in prepared.headers:
            request.headers[name] = prepared.headers[name]
        else:
            request.headers.pop(name, None)
    return request


def _is_refused(response: httpx.Response, use: Use) -> bool:
    """Tell whether our token was, rather than the lack of it at another origin; take note of what its server says."""
    request = response.request
    is_ours = use.bears(str(request.url), request.headers.get("Authorization"))
    if is_ours:
        use.hear(response.headers)
    return response.status_code == HTTPStatus.UNAUTHORIZED and is_ours


def _proven_anew(response: httpx.Response, use: Use) -> Use | None:
    """Return the use to repeat the request with, if not the token was wrong but the signature or proof beside it."""
    url, repeatable = str(response.request.url), _may_repeat(response)
    return use.moved(url, repeatable=repeatable) or use.excused(response.headers, rewindable=_is_held(response.request))


def _may_repeat(response: httpx.Response) -> bool:
    request, challenge = response.request, response.headers.get("WWW-Authenticate", "")
    return is_repeatable(request.method, challenge, rewindable=_is_held(request))


def _is_held(request: httpx.Request) -> bool:
    """Tell whether the body is in memory: it can be read to be signed, and sent once more."""
    return isinstance(request.stream, httpx.ByteStream)
