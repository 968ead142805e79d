"""One use of a token: where it may go, how it is put on a request and taken off again, and when another takes its place.

Sessions and the auth objects for a caller's own client all go by these rules.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin

import requests
from requests.utils import requote_uri

from django_oauth_flows.exceptions import ConfigurationError, OAuthFlowsError, RequestBlocked
from django_oauth_flows.protocol import dpop
from django_oauth_flows.protocol.bearing import needs_own_client
from django_oauth_flows.protocol.flow import flow_for
from django_oauth_flows.protocol.oauth1 import OAuth1Flow
from django_oauth_flows.protocol.urls import (
    absolute_origin,
    check_endpoint,
    check_host,
    parameter_names,
    without_parameters,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.protocol.messages import ClientRegistration, Credentials
    from django_oauth_flows.protocol.urls import Origin

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})


class TokenSource(Protocol):
    """Where a client gets its token from: asked for every request, by any thread or task."""

    def current(self, *, rejected: Credentials | None = None) -> tuple[ClientRegistration, Credentials]:
        """Return the registration as it is now and a valid token; after a 401 for ``rejected``, a newer one if there is any."""

    def replaced(self, rejected: Credentials) -> None:
        """Hear that the API has taken a newer token where it had refused ``rejected``."""

    async def acurrent(self, *, rejected: Credentials | None = None) -> tuple[ClientRegistration, Credentials]:
        """Return the same without blocking the event loop. Only an asynchronous client asks so."""


class Use(requests.auth.AuthBase):
    """Provider and token of one request, as ``requests`` wants its authentication; kept on the request itself."""

    __slots__ = (
        "_body", "_flow", "_header", "_origin", "_signed", "_signed_body", "_source", "asked", "challenged", "credentials",
        "registration", "renewed", "sent",
    )  # fmt: skip

    def __init__(
        self, source: TokenSource, registration: ClientRegistration, credentials: Credentials, *, renewed: bool = False
    ) -> None:
        self.registration = registration
        self.credentials = credentials
        self.renewed = renewed  # one 401 of this request and its redirects has been acted on
        self.challenged = False  # this very request was refused for the lack of a nonce, and is being repeated with it
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
        self.asked, self._body = str(prepared.url), prepared.body
        self._origin = self.check(self.asked)
        for name in ("Authorization", dpop.HEADER):
            prepared.headers.pop(name, None)
        self._flow.authenticate(prepared, self.credentials)
        self._signed, self._signed_body = prepared.url, prepared.body
        self._header = prepared.headers.get("Authorization")
        prepared.oauth_use = self  # type: ignore[attr-defined]
        return prepared

    def made(self, prepared: requests.PreparedRequest, source: TokenSource) -> bool:
        """Tell whether ``source``'s session prepared this request, and it still goes where it was prepared to go."""
        return self._source is source and prepared.url == self._signed and "Host" not in prepared.headers

    def bears(self, url: str, authorization: str | bytes | None) -> bool:
        """Tell whether a request, after whatever redirects, is still at our origin and has the header that we gave it."""
        try:
            return self._header is not None and authorization == self._header and self.check(url) == self._origin
        except RequestBlocked:
            return False

    def moved(self, url: str, *, repeatable: bool) -> Use | None:
        """Return the use to sign anew with, if a redirect has brought our signature to a ``url`` it does not hold for.

        A signature is for one URL (RFC 5849 §3.4.1), a proof for one without its query (RFC 9449 §4.2): that it was
        refused says nothing about the token.
        """
        held = str(self._signed)
        if self.credentials.dpop_key is not None:
            url, held = dpop.target(url), dpop.target(held)
        elif not isinstance(self._flow, OAuth1Flow):
            return None
        return self._again() if repeatable and url != held else None

    def hear(self, headers: Mapping[str, str]) -> None:
        """Take note of what an answer says to the key that its request was proven with."""
        if self.credentials.dpop_key is not None:
            dpop.learn(headers, str(self._signed), self.credentials.dpop_key, at_api=True)

    def excused(self, headers: Mapping[str, str], *, rewindable: bool) -> Use | None:
        """Return the use to prove anew with, if a 401 says that a nonce was all that was missing. Once for a request."""
        asks = self.credentials.dpop_key is not None and dpop.asks_for_nonce(headers)
        if not asks or self.challenged or not rewindable:
            return None
        again = self._again()
        again.challenged = True
        return again

    def blames_token(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a 401 may be about the token, and not about the proof beside it alone."""
        return self.credentials.dpop_key is None or not dpop.blames_proof(headers)

    def newer(self, *, repeatable: bool) -> Use | None:
        """Replace the refused token, also where only later requests gain by it; return the use to repeat with, if any.

        Once for a request and its redirects. Raises what the token source raises, if the request could be repeated.
        """
        if self.renewed:
            return None
        self.renewed = True
        try:
            found = self._source.current(rejected=self.credentials)
        except OAuthFlowsError:
            if repeatable:
                raise
            return None  # the API's own answer says more; the next request will raise
        return self._renewed_by(*found) if repeatable else None

    async def anewer(self, *, repeatable: bool) -> Use | None:
        """Do as :meth:`newer`, without blocking the event loop."""
        if self.renewed:
            return None
        self.renewed = True
        try:
            found = await self._source.acurrent(rejected=self.credentials)
        except OAuthFlowsError:
            if repeatable:
                raise
            return None
        return self._renewed_by(*found) if repeatable else None

    def unsigned(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        """Take an authentication off again: a signature may stand in the URL or the body."""
        prepared.url = self.asked
        self._restore_body(prepared)
        return prepared

    def redirect_target(self, location: str) -> str:
        """Return where a redirect leads, absolute and quoted, without what our signature put into the query.

        Raises :class:`RequestBlocked` or ``ValueError`` if it leaves the origin, or cannot be read or signed.
        """
        url = requote_uri(urljoin(self.asked, location))
        if self._signed != self.asked:
            # A server that only adds a slash echoes the whole query.
            url = without_parameters(url, parameter_names(str(self._signed)) - parameter_names(self.asked))
        if self.check(url) != self._origin:
            raise RequestBlocked("A redirect to another origin is not followed.")
        if isinstance(self._flow, OAuth1Flow):
            self._flow.check_signable(url)
        return url

    def follow(self, prepared: requests.PreparedRequest) -> None:
        """Authenticate the next request of a redirect."""
        if prepared.body is not None:
            self._restore_body(prepared)
        self._again()(prepared)

    def absolute(self, url: str | bytes) -> str:
        """Return ``url`` as an absolute one on a listed host; ``requests`` quotes what is left to quote."""
        text = as_text(url).lstrip(" ")
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
            origin = check_endpoint(url.partition("#")[0], internal=policy.internal)
            allowed = _allowed(policy.api_base_url, policy.api_hosts, internal=policy.internal)
        except ValueError as problem:
            raise RequestBlocked(f"The URL may not be called: {problem}.", code="url_not_allowed") from None
        if origin.netloc not in allowed:
            raise RequestBlocked("This connection's token may not be sent to that host.")
        return origin

    def _renewed_by(self, registration: ClientRegistration, credentials: Credentials) -> Use | None:
        if credentials.generation == self.credentials.generation:
            return None
        return Use(self._source, registration, credentials, renewed=True)

    def _again(self) -> Use:
        """Return a use of the same token for the next request of a redirect; a token is replaced once for the whole chain."""
        return Use(self._source, self.registration, self.credentials, renewed=self.renewed)

    def _restore_body(self, prepared: requests.PreparedRequest) -> None:
        if self._signed_body is not self._body:
            prepared.headers.pop("Content-Length", None)
            prepared.body = self._body
            prepared.prepare_content_length(self._body)


def check_placement(registration: ClientRegistration) -> None:
    """Raise :class:`ConfigurationError` unless authentication stands in the header, as a client of the caller's needs it.

    On the way to another origin such a client drops the header; the URL and the body it may send along.
    """
    if registration.protocol == "oauth1" and registration.signature_placement != "header":
        raise ConfigurationError(
            f"Provider {registration.name} has its signatures in the {registration.signature_placement}.",
            code="provider_misconfigured",
            hint="Call it with flows.session(), or let its signature placement be the header.",
        )
    if registration.tls_client_certificate_bound_access_tokens:
        raise ConfigurationError(
            f"Provider {registration.name} has tokens that are bound to the client's certificate.",
            code="provider_misconfigured",
            hint="Call it with flows.session(), which shows the certificate.",
        )
    if registration.protocol == "oauth2" and needs_own_client(registration.dialect):
        raise ConfigurationError(
            f"Provider {registration.name} takes a secret where a client of your own would carry it to other hosts.",
            code="provider_misconfigured",
            hint="Call it with flows.session(), which follows no redirect to another host.",
        )


def as_text(url: str | bytes) -> str:
    """Return a URL as text; bytes that are none become characters that no URL may have."""
    return url.decode("utf-8", "surrogateescape") if isinstance(url, bytes) else str(url)


@lru_cache
def _allowed(base: str, hosts: tuple[str, ...], *, internal: bool) -> frozenset[str]:
    """Return the hosts, with ports, that a token may go to; every request asks twice."""
    own = [check_endpoint(base, internal=internal).netloc] if base else []
    return frozenset([*own, *(check_host(host) for host in hosts)])


def is_repeatable(method: str | None, challenge: str, *, rewindable: bool) -> bool:
    """Tell whether a request that was refused with 401 may be sent again: nothing was done, and its body can be had once more.

    ``challenge``: the answer's ``WWW-Authenticate``, which may say that the token was all that was wrong (RFC 6750 §3.1).
    """
    return rewindable and (method in IDEMPOTENT or 'error="invalid_token"' in challenge)


def may_repeat(response: requests.Response) -> bool:
    """Tell the same of the request that ``response`` answers."""
    request = response.request
    challenge = response.headers.get("WWW-Authenticate", "")
    return is_repeatable(request.method, challenge, rewindable=is_rewindable(request))


def is_rewindable(request: requests.PreparedRequest) -> bool:
    """Tell whether the body can be had once more."""
    return not is_stream(request.body) or isinstance(getattr(request, "_body_position", None), int)


def is_stream(body: Any) -> bool:
    """Tell whether a body is read while it is sent, and may be gone then."""
    return body is not None and not isinstance(body, (str, bytes))
