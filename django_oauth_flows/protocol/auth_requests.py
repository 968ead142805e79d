"""Authentication for a ``requests.Session`` of the caller's own, by the same rules as our session's.

TLS, proxies, timeouts, cookies and redirects are the caller's client's business. What is ours: the token is put on requests
to listed hosts only, and a refused one is replaced once, where the request still bears it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests
from requests.utils import rewind_body

from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.protocol.use import Use, check_placement, is_rewindable, is_stream, may_repeat

if TYPE_CHECKING:
    from django_oauth_flows.protocol.use import TokenSource


class RequestsAuth(requests.auth.AuthBase):
    """``requests.get(url, auth=…)``, or ``session.auth = …``; threads may share it.

    A request to a host that is not listed raises :class:`RequestBlocked`, one whose connection has no valid token what the
    token source raises; after a 401 the token is replaced once, and the request repeated if it can be.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put a valid token on the request, and look after its answer."""
        use = Use(self._source, *self._source.current())
        check_placement(use.registration)
        use(prepared)
        prepared.register_hook("response", _Answered(use))  # type: ignore[no-untyped-call]
        return prepared


class _Answered:
    """Looks at each answer to a request and its redirects, and repeats what was refused."""

    def __init__(self, use: Use) -> None:
        self._use = use

    def __reduce__(self) -> tuple[type[_Ignored], tuple[()]]:
        """Stay here when a response is pickled, with the request that knows us."""
        return _Ignored, ()

    def __call__(self, response: requests.Response, **options: Any) -> requests.Response:
        """Return the answer, or the one to the repeated request; ``options`` are the adapter's."""
        request, adapter = response.request, getattr(response, "connection", None)
        if adapter is None or not self._use.bears(str(request.url), request.headers.get("Authorization")):
            return response
        self._use.hear(response.headers)
        if response.status_code != HTTPStatus.UNAUTHORIZED:
            return response
        try:
            use = self._next(response)
        except OAuthFlowsError:
            response.close()
            raise
        if use is None:
            return response
        response.close()
        if is_stream(request.body):
            rewind_body(request)
        self._use = use
        use(request)
        again: requests.Response = adapter.send(request, **options)
        again.history.append(response)
        return self(again, **options)

    def _next(self, response: requests.Response) -> Use | None:
        """Return the use to repeat a refused request with, if it is to be repeated."""
        use, request, repeatable = self._use, response.request, may_repeat(response)
        if moved := use.moved(str(request.url), repeatable=repeatable):
            return moved
        if excused := use.excused(response.headers, rewindable=is_rewindable(request)):
            return excused
        return use.newer(repeatable=repeatable) if use.blames_token(response.headers) else None


class _Ignored:
    """What a pickled request has instead."""

    def __call__(self, response: requests.Response, **_: Any) -> requests.Response:
        """Return the answer as it is."""
        return response
