"""A ``requests.Session`` for one connection: its token goes to the listed hosts, and nowhere else.

What belongs to one request (provider, token, signature) stays with that request, so that threads may share a session.
The connections below it are shared by all users of the process; cookies, headers and credentials are not.
"""

from __future__ import annotations

from copy import copy
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import BaseAdapter
from requests.cookies import RequestsCookieJar
from requests.utils import rewind_body

from django_oauth_flows.exceptions import OAuthFlowsError, RequestBlocked
from django_oauth_flows.protocol.failures import presentable
from django_oauth_flows.protocol.pool import adapter_for
from django_oauth_flows.protocol.use import Use, as_text, is_rewindable, is_stream, may_repeat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.protocol.secret import Secret
    from django_oauth_flows.protocol.use import TokenSource

DEFAULT_TIMEOUT = (5.0, 30.0)
"""Seconds to connect, and between two bytes of an answer; pass ``timeout=`` for others."""


class OAuthSession(requests.Session):
    """Call an API: ``http.get("/path")``. Relative URLs are appended to the provider's API base URL.

    A request to any other host raises :class:`RequestBlocked` before a name is resolved. Redirects within the origin are
    followed with credentials attached anew; any other is returned as it is. After a 401 the token is replaced once and
    the request repeated, if it can be. Errors are those of ``requests``; they name the host and hold nothing secret.
    """

    def __init__(self, source: TokenSource) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies = RequestsCookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
        self._source = source
        self._gate = _Gate(source)

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request with a valid token; takes what ``requests.Session.request`` takes, and ignores ``auth``.

        Raises :class:`RequestBlocked`, and whatever the token source raises when there is no valid token.
        """
        kwargs.setdefault("timeout", DEFAULT_TIMEOUT)
        return super().request(method, as_text(url), *args, **kwargs)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare with a token that is valid now; raises what :meth:`request` raises."""
        use = Use(self._source, *self._source.current())
        ours = copy(request)  # the caller's may be prepared elsewhere, and must not bring our token there
        ours.url, ours.auth = use.absolute(request.url), use
        try:
            return super().prepare_request(ours)
        except Exception as error:  # noqa: BLE001 - raised below
            failure = presentable(error, method=ours.method, url=ours.url)
        raise failure

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send what this session prepared; raises :class:`RequestBlocked` for anything else."""
        kwargs.setdefault("timeout", DEFAULT_TIMEOUT)
        try:
            return super().send(request, **kwargs)
        except Exception as error:  # noqa: BLE001 - raised below
            failure = presentable(error, method=request.method, url=request.url)
        raise failure

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Return how to read the answer. TLS and proxies are the provider's, whatever is asked for, set, or in the environment."""
        return {"proxies": {}, "stream": self.stream if stream is None else stream, "verify": True, "cert": None}

    def get_adapter(self, url: str) -> BaseAdapter:
        """Return the gate, whatever the URL: what may pass depends on the request."""
        return self._gate

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where to follow to: only within the origin that has just answered. A hostile address is not followed.

        A session with ``max_redirects`` 0 does not even look: for that, ``requests`` would read the redirect's whole body.
        """
        use = _use_of(resp.request)
        if use is None or not resp.is_redirect or not self.max_redirects:
            return None
        try:
            location = super().get_redirect_target(resp)
            return use.redirect_target(location) if location else None
        except (ValueError, RequestBlocked):
            return None

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Authenticate the followed request itself; an OAuth 1.0a signature holds for one URL only."""
        use = _use_of(response.request)
        if use is not None:
            use.follow(prepared_request)


class _Gate(BaseAdapter):
    """The only way out of a session. What it has not prepared does not pass; a refused token is replaced here, once."""

    def __init__(self, source: TokenSource) -> None:
        super().__init__()
        self._source = source

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send once, and once more if the first answer is a 401 that a newer token may mend.

        Before that, one that a nonce mends is answered with it (RFC 9449 §9); it says nothing about the token. TLS and proxies are the provider's; ``verify``, ``cert`` and ``proxies`` are not looked at.
        """
        use, response = _excused(self._admitted(request), request, stream=stream, timeout=timeout)
        if response.status_code != HTTPStatus.UNAUTHORIZED or not use.blames_token(response.headers):
            return response
        try:
            newer = use.newer(repeatable=may_repeat(response))
        except OAuthFlowsError:
            response.close()
            raise
        if newer is None:
            return response
        _anew(request, use, newer, response)
        _, response = _excused(newer, request, stream=stream, timeout=timeout)
        if response.ok:
            self._source.replaced(use.credentials)
        return response

    def close(self) -> None:
        """Leave the connections open: they belong to the process."""

    def _admitted(self, request: requests.PreparedRequest) -> Use:
        """Return the use of a request of our own; one that was sent before is authenticated anew."""
        use = _use_of(request)
        if use is None or not use.made(request, self._source):
            raise RequestBlocked("A session only sends what it prepared itself.", code="request_not_prepared")
        if not use.sent:
            return use
        again = Use(self._source, *self._source.current())
        again(use.unsigned(request))
        return again


def secrets_of(response: requests.Response) -> tuple[Secret, ...]:
    """Return the secrets with which ``response`` was asked for: they have no place in what is made of it."""
    use = _use_of(response.request)
    found = (use.credentials.access_token, use.credentials.token_secret) if use is not None else ()
    return tuple(secret for secret in found if secret is not None)


def _use_of(request: requests.PreparedRequest) -> Use | None:
    return getattr(request, "oauth_use", None)


def _excused(
    use: Use, request: requests.PreparedRequest, *, stream: bool, timeout: Any
) -> tuple[Use, requests.Response]:
    """Send; once more if a nonce was missing. Return the last use and its answer."""
    response = _send(use, request, stream=stream, timeout=timeout)
    if response.status_code != HTTPStatus.UNAUTHORIZED:
        return use, response
    again = use.excused(response.headers, rewindable=is_rewindable(request))
    if again is None:
        return use, response
    _anew(request, use, again, response)
    return again, _send(again, request, stream=stream, timeout=timeout)


def _anew(request: requests.PreparedRequest, old: Use, new: Use, refused: requests.Response) -> None:
    """Leave a refused answer, and authenticate its request once more."""
    refused.close()
    if is_stream(request.body):
        rewind_body(request)
    new(old.unsigned(request))


def _send(use: Use, prepared: requests.PreparedRequest, *, stream: bool, timeout: Any) -> requests.Response:
    """Send; the response's URL is the one asked for, without the signature that ``raise_for_status()`` would print."""
    use.sent = True
    response = adapter_for(use.registration.api_transport).send(prepared, stream=stream, timeout=timeout)
    response.url = use.asked
    use.hear(response.headers)
    return response
