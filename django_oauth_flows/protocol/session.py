"""A ``requests.Session`` for one connection: its token goes to the listed hosts, and nowhere else.

What belongs to one request (provider, token, signature) stays with that request, so that threads may share a session.
The connections below it are shared by all users of the process; cookies, headers and credentials are not.
"""

from __future__ import annotations

from copy import copy
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin

import requests
from requests.adapters import BaseAdapter
from requests.cookies import RequestsCookieJar
from requests.utils import requote_uri, rewind_body

from django_oauth_flows.exceptions import OAuthFlowsError, RequestBlocked
from django_oauth_flows.protocol.failures import presentable
from django_oauth_flows.protocol.flow import flow_for
from django_oauth_flows.protocol.oauth1 import OAuth1Flow
from django_oauth_flows.protocol.pool import adapter_for
from django_oauth_flows.protocol.urls import (
    absolute_origin,
    check_endpoint,
    check_host,
    parameter_names,
    without_parameters,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.protocol.messages import ClientRegistration, Credentials, TransportPolicy
    from django_oauth_flows.protocol.urls import Origin

DEFAULT_TIMEOUT = (5.0, 30.0)
"""Seconds to connect, and between two bytes of an answer; pass ``timeout=`` for others."""

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})


class TokenSource(Protocol):
    """Where a session gets its token from: asked for every request, by any thread."""

    def current(self, *, rejected: Credentials | None = None) -> tuple[ClientRegistration, Credentials]:
        """Return the registration as it is now and a valid token; after a 401 for ``rejected``, a newer one if there is any."""

    def replaced(self, rejected: Credentials) -> None:
        """Hear that the API has taken a newer token where it had refused ``rejected``."""


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
        return super().request(method, _as_text(url), *args, **kwargs)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare with a token that is valid now; raises what :meth:`request` raises."""
        use = _Use(self._source, *self._source.current())
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

    def get_adapter(self, url: str) -> BaseAdapter:
        """Return the gate, whatever the URL: what may pass depends on the request."""
        return self._gate

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where to follow to: only within the origin that has just answered. A hostile address is not followed."""
        use = _use_of(resp.request)
        if use is None or not resp.is_redirect:
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

        TLS and proxies are the provider's; ``verify``, ``cert`` and ``proxies`` are not looked at.
        """
        use = self._admitted(request)
        response = use.send(request, stream=stream, timeout=timeout)
        if response.status_code != HTTPStatus.UNAUTHORIZED or use.renewed:
            return response
        newer = self._newer(use, response)
        if newer is None:
            return response
        response.close()
        if _is_stream(request.body):
            rewind_body(request)
        newer(use.unsigned(request))
        response = newer.send(request, stream=stream, timeout=timeout)
        if response.status_code != HTTPStatus.UNAUTHORIZED:
            self._source.replaced(use.credentials)
        return response

    def close(self) -> None:
        """Leave the connections open: they belong to the process."""

    def _admitted(self, request: requests.PreparedRequest) -> _Use:
        """Return the use of a request of our own; one that was sent before is authenticated anew."""
        use = _use_of(request)
        if use is None or not use.made(request, self._source):
            raise RequestBlocked("A session only sends what it prepared itself.", code="request_not_prepared")
        if not use.sent:
            return use
        again = _Use(self._source, *self._source.current())
        again(use.unsigned(request))
        return again

    def _newer(self, use: _Use, response: requests.Response) -> _Use | None:
        """Replace the refused token, also where only later requests gain by it; return the use to repeat with, if any."""
        use.renewed = True
        repeatable = _is_repeatable(response)
        try:
            registration, credentials = self._source.current(rejected=use.credentials)
        except OAuthFlowsError:
            if repeatable:
                response.close()
                raise
            return None  # the API's own answer says more; the next request will raise
        if not repeatable or credentials.generation == use.credentials.generation:
            return None
        return _Use(self._source, registration, credentials, renewed=True)


class _Use(requests.auth.AuthBase):
    """Provider and token of one request, as ``requests`` wants its authentication; kept on the request itself."""

    __slots__ = (
        "_asked", "_body", "_flow", "_origin", "_signed", "_signed_body", "_source", "credentials", "registration", "renewed",
        "sent",
    )  # fmt: skip

    def __init__(
        self, source: TokenSource, registration: ClientRegistration, credentials: Credentials, *, renewed: bool = False
    ) -> None:
        self.registration = registration
        self.credentials = credentials
        self.renewed = renewed  # one 401 of this request and its redirects has been acted on
        self.sent = False
        self._source = source
        self._flow = flow_for(registration)

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Stay here when a response is pickled, into a cache for example: what is loaded again is nobody's request."""
        return type(None), ()

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        """Check where the request really goes, as prepared, and authenticate it."""
        if "Host" in prepared.headers:
            raise RequestBlocked("A request must not name another Host than its URL.", code="header_not_allowed")
        self._asked, self._body = str(prepared.url), prepared.body
        self._origin = self.check(self._asked)
        prepared.headers.pop("Authorization", None)
        self._flow.authenticate(prepared, self.credentials)
        self._signed, self._signed_body = prepared.url, prepared.body
        prepared.oauth_use = self  # type: ignore[attr-defined]
        return prepared

    def made(self, prepared: requests.PreparedRequest, source: TokenSource) -> bool:
        """Tell whether ``source``'s session prepared this request, and it still goes where it was prepared to go."""
        return self._source is source and prepared.url == self._signed and "Host" not in prepared.headers

    def send(self, prepared: requests.PreparedRequest, *, stream: bool, timeout: Any) -> requests.Response:
        """Send; the response's URL is the one asked for, without the signature that ``raise_for_status()`` would print."""
        self.sent = True
        response = adapter_for(self.registration.transport).send(prepared, stream=stream, timeout=timeout)
        response.url = self._asked
        return response

    def unsigned(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        """Take an authentication off again: a signature may stand in the URL or the body."""
        prepared.url = self._asked
        self._restore_body(prepared)
        return prepared

    def redirect_target(self, location: str) -> str:
        """Return where a redirect leads, absolute and quoted, without what our signature put into the query.

        Raises :class:`RequestBlocked` or ``ValueError`` if it leaves the origin, or cannot be read or signed.
        """
        url = requote_uri(urljoin(self._asked, location))
        if self._signed != self._asked:
            # A server that only adds a slash echoes the whole query.
            url = without_parameters(url, parameter_names(str(self._signed)) - parameter_names(self._asked))
        if self.check(url) != self._origin:
            raise RequestBlocked("A redirect to another origin is not followed.")
        if isinstance(self._flow, OAuth1Flow):
            self._flow.check_signable(url)
        return url

    def follow(self, prepared: requests.PreparedRequest) -> None:
        """Authenticate the next request of a redirect; a token is replaced once for the whole chain."""
        if prepared.body is not None:
            self._restore_body(prepared)
        _Use(self._source, self.registration, self.credentials, renewed=self.renewed)(prepared)

    def absolute(self, url: str | bytes) -> str:
        """Return ``url`` as an absolute one on a listed host; ``requests`` quotes what is left to quote."""
        text = _as_text(url).lstrip(" ")
        try:
            origin = absolute_origin(text)
        except ValueError as problem:
            raise RequestBlocked(f"The URL may not be called: {problem}.", code="url_not_allowed") from None
        if origin:
            self.check(origin)
            return text
        base = self.registration.transport.api_base_url
        if text.startswith(("//", "@")) or not base:
            raise RequestBlocked("A relative URL must be a path below the provider's API base URL.")
        self.check(base)
        return base.rstrip("/") + "/" + text.removeprefix("/")

    def check(self, url: str) -> Origin:
        """Return the origin of ``url``; raise :class:`RequestBlocked` unless this connection's token may go there."""
        policy = self.registration.transport
        try:
            origin, allowed = check_endpoint(url.partition("#")[0], internal=policy.internal), _allowed(policy)
        except ValueError as problem:
            raise RequestBlocked(f"The URL may not be called: {problem}.", code="url_not_allowed") from None
        if origin.netloc not in allowed:
            raise RequestBlocked("This connection's token may not be sent to that host.")
        return origin

    def _restore_body(self, prepared: requests.PreparedRequest) -> None:
        if self._signed_body is not self._body:
            prepared.headers.pop("Content-Length", None)
            prepared.body = self._body
            prepared.prepare_content_length(self._body)


def _use_of(request: requests.PreparedRequest) -> _Use | None:
    return getattr(request, "oauth_use", None)


def _as_text(url: str | bytes) -> str:
    """Return a URL as text; bytes that are none become characters that no URL may have."""
    return url.decode("utf-8", "surrogateescape") if isinstance(url, bytes) else str(url)


def _allowed(policy: TransportPolicy) -> frozenset[str]:
    own = [check_endpoint(policy.api_base_url, internal=policy.internal).netloc] if policy.api_base_url else []
    return frozenset([*own, *(check_host(host) for host in policy.api_hosts)])


def _is_repeatable(response: requests.Response) -> bool:
    """Tell whether a refused request may be sent again: nothing was done, and its body can be had once more."""
    request = response.request
    rewindable = not _is_stream(request.body) or isinstance(getattr(request, "_body_position", None), int)
    token_rejected = 'error="invalid_token"' in response.headers.get("WWW-Authenticate", "")
    return rewindable and (request.method in IDEMPOTENT or token_rejected)


def _is_stream(body: Any) -> bool:
    return body is not None and not isinstance(body, (str, bytes))
