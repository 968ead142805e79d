"""A ``requests.Session`` for one connection: its token goes to the listed hosts, and nowhere else.

The connections below it are shared by all users of the process; cookies, headers and credentials are not.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin, urlsplit

import requests
from requests.cookies import RequestsCookieJar
from requests.utils import rewind_body

from django_oauth_flows.exceptions import RequestBlocked
from django_oauth_flows.protocol.flow import flow_for
from django_oauth_flows.protocol.pool import adapter_for
from django_oauth_flows.protocol.urls import check_endpoint, check_host

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter

    from django_oauth_flows.protocol.messages import ClientRegistration, Credentials

DEFAULT_TIMEOUT = (5.0, 30.0)
"""Seconds to connect, and between two bytes of an answer; pass ``timeout=`` for others."""

_QUERY = re.compile(r"\?[^\s'\">]*")

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})


class TokenSource(Protocol):
    """Where a session gets its token from: asked for every request."""

    def current(self, *, rejected: Credentials | None = None) -> tuple[ClientRegistration, Credentials]:
        """Return the registration as it is now and a valid token; after a 401 for ``rejected``, a newer one if there is any."""


class OAuthSession(requests.Session):
    """Call an API: ``http.get("/path")``. Relative URLs are appended to the provider's API base URL.

    A request to any other host raises :class:`RequestBlocked` before a name is resolved. Redirects within the origin are
    followed with credentials attached anew; any other is returned as it is. After a 401 the token is replaced once and
    the request repeated, if it can be.
    """

    def __init__(self, source: TokenSource) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies = RequestsCookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
        self._source = source
        self._use: _Use | None = None

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request with a valid token; takes what ``requests.Session.request`` takes, but ``auth``."""
        self._use = _Use(*self._source.current())
        kwargs["auth"] = self._use
        kwargs.setdefault("timeout", DEFAULT_TIMEOUT)
        target = self._use.absolute(url)
        try:
            return super().request(method, target, *args, **kwargs)
        except Exception as failure:  # noqa: BLE001 - raised again at once, without its frames
            # Frames below hold the headers as they went out; error mails and trackers print frames' variables.
            error = _discreet(failure).with_traceback(None)
        raise error from None

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send; after a 401 once more with a newer token, if there is one and the request can be repeated."""
        use = self._use
        response = super().send(request, **kwargs)
        if (
            use is None
            or response.status_code != HTTPStatus.UNAUTHORIZED
            or use.replaced
            or not _is_replayable(request, response)
        ):
            return response
        newer = _Use(*self._source.current(rejected=use.credentials), replaced=True)
        if newer.credentials.generation == use.credentials.generation:
            use.replaced = True
            return response
        response.close()
        if _is_stream(request.body):
            rewind_body(request)
        self._use = newer
        return super().send(newer(use.unsigned(request)), **kwargs)

    def get_adapter(self, url: str) -> BaseAdapter:
        """Return the process's shared adapter for this provider's way of connecting."""
        if self._use is None:
            raise RequestBlocked("A session only sends what it prepared itself.", code="request_not_prepared")
        return self._use.adapter

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return where to follow to: only within the origin that has just answered."""
        target = super().get_redirect_target(resp)
        use = self._use
        if target is None or use is None:
            return None
        here, there = urlsplit(str(resp.url)), urlsplit(urljoin(str(resp.url), target))
        same = (here.scheme, here.hostname, here.port) == (there.scheme, there.hostname, there.port)
        return target if same and use.is_allowed(there.geturl()) else None

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Authenticate the followed request itself; an OAuth 1.0a signature holds for one URL only."""
        prepared_request.headers.pop("Authorization", None)
        if self._use is not None:
            self._use(prepared_request)


def _discreet(error: Exception) -> Exception:
    """Take the URL's query out of what ``requests`` says: a signature may stand in it, which for PLAINTEXT is the secrets."""
    if isinstance(error, requests.RequestException):
        error.args = (_QUERY.sub("?(redacted)", str(error)),)
        error.__cause__ = error.__context__ = None  # urllib3's own errors, with the URL
    return error


class _Use(requests.auth.AuthBase):
    """The provider and the token of one request, as ``requests`` wants its authentication."""

    __slots__ = ("_allowed", "_flow", "_unsigned", "adapter", "credentials", "registration", "replaced")

    def __init__(self, registration: ClientRegistration, credentials: Credentials, *, replaced: bool = False) -> None:
        self.registration = registration
        self.credentials = credentials
        self.replaced = replaced
        self.adapter = adapter_for(registration.transport)
        self._flow = flow_for(registration)
        self._unsigned: tuple[str | None, Any] = (None, None)

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        """Check where the request really goes, as prepared, and authenticate it."""
        self.check(str(prepared.url))
        self._unsigned = (prepared.url, prepared.body)
        return self._flow.authenticate(prepared, self.credentials)

    def unsigned(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        """Take an authentication off again: a signature may stand in the URL or the body."""
        prepared.headers.pop("Authorization", None)
        url, body = self._unsigned
        prepared.url = url
        if isinstance(body, (str, bytes)):
            prepared.body = body
            prepared.prepare_content_length(body)
        return prepared

    def absolute(self, url: str | bytes) -> str:
        """Return ``url`` as an absolute one on a listed host."""
        text = url.decode() if isinstance(url, bytes) else str(url)
        if "://" not in text.partition("?")[0].partition("#")[0]:
            if text.startswith(("//", "\\", "@", "/\\")) or not self.registration.transport.api_base_url:
                raise RequestBlocked("A relative URL must be a path below the provider's API base URL.")
            text = self.registration.transport.api_base_url.rstrip("/") + "/" + text.removeprefix("/")
        self.check(text)
        return text

    def is_allowed(self, url: str) -> bool:
        """Tell whether this connection's token may go to ``url``."""
        try:
            self.check(url)
        except RequestBlocked:
            return False
        return True

    def check(self, url: str) -> None:
        """Raise :class:`RequestBlocked` unless this connection's token may go to ``url``."""
        policy = self.registration.transport
        try:
            origin = check_endpoint(url.partition("#")[0], internal=policy.internal)
        except ValueError as problem:
            raise RequestBlocked(f"The URL may not be called: {problem}.", code="url_not_allowed") from None
        if origin.netloc not in _allowed(self.registration):
            raise RequestBlocked("This connection's token may not be sent to that host.")


def _allowed(registration: ClientRegistration) -> frozenset[str]:
    policy = registration.transport
    own = [check_endpoint(policy.api_base_url, internal=policy.internal).netloc] if policy.api_base_url else []
    return frozenset([*own, *(check_host(host) for host in policy.api_hosts)])


def _is_replayable(request: requests.PreparedRequest, response: requests.Response) -> bool:
    """Tell whether a refused request may be sent again: nothing was done, and its body can be had once more."""
    rewindable = not _is_stream(request.body) or isinstance(getattr(request, "_body_position", None), int)
    token_rejected = 'error="invalid_token"' in response.headers.get("WWW-Authenticate", "")
    return rewindable and (request.method in IDEMPOTENT or token_rejected)


def _is_stream(body: Any) -> bool:
    return body is not None and not isinstance(body, (str, bytes))
