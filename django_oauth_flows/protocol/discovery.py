"""Discovery: what an issuer says of itself, believed only about itself. OpenID Connect Discovery 1.0 §4, RFC 8414 §3.

Staff name the issuer; its document may name anything, so every URL in it is checked here, and once more at each use.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from django_oauth_flows.exceptions import ConfigurationError, TokenEndpointError
from django_oauth_flows.protocol.algorithms import FAMILIES, PREFERRED
from django_oauth_flows.protocol.dialect import DEFAULT_ALGORITHM, MTLS_ALIASES
from django_oauth_flows.protocol.endpoints import check_authorization_query
from django_oauth_flows.protocol.jws import TokenRefused, read_json
from django_oauth_flows.protocol.messages import ServerMetadata
from django_oauth_flows.protocol.transport import MAX_BODY, send
from django_oauth_flows.protocol.urls import check_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.protocol.messages import TransportPolicy
    from django_oauth_flows.protocol.transport import ProtocolResponse

_REQUIRED = ("authorization_endpoint", "token_endpoint")
PUSHED = "pushed_authorization_request_endpoint"
_DEVICE, _INTROSPECTION = "device_authorization_endpoint", "introspection_endpoint"
_OPTIONAL = (
    "revocation_endpoint",
    "userinfo_endpoint",
    "jwks_uri",
    "registration_endpoint",
    PUSHED,
    _DEVICE,
    _INTROSPECTION,
)
_LONGEST_URL = 1000
_OURS = ("client_secret_basic", "client_secret_post", "none", "private_key_jwt")
_SIGNING = ("ES256", "PS256", "EdDSA", "RS256", "ES384", "ES512")
_MODES = ("query", "jwt", "query.jwt", "form_post", "form_post.jwt")
"""What we can, the best first."""

_NOT_HERE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.FORBIDDEN)
"""Answers that say only that this form of the address is not used."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """An issuer's metadata after every check; lists are None where the document does not name them."""

    server: ServerMetadata
    scopes: tuple[str, ...] | None
    auth_methods: tuple[str, ...] | None
    id_token_algorithms: tuple[str, ...] | None
    auth_algorithms: tuple[str, ...] | None
    request_algorithms: tuple[str, ...] | None  # RFC 9101
    requires_signed_requests: bool
    response_modes: tuple[str, ...] | None
    response_algorithms: tuple[str, ...] | None  # JARM
    details_types: tuple[str, ...] | None  # RFC 9396
    dpop_algorithms: tuple[str, ...] | None  # None: it binds no tokens, RFC 9449 §5.1
    mtls_endpoint_aliases: Mapping[str, str]  # RFC 8705 §5

    @property
    def auth_method(self) -> str:
        """Return how to prove ourselves: the best of ours that the server takes; RFC 8414 §2 names the default."""
        offered = ("client_secret_basic",) if self.auth_methods is None else self.auth_methods
        return next((method for method in _OURS if method in offered), "client_secret_basic")

    @property
    def response_mode(self) -> str:
        """Return how answers are to come: as a redirect with a query, unless the server has no such."""
        return next((mode for mode in _MODES if mode in (self.response_modes or _MODES)), "query")

    @property
    def id_token_algorithm(self) -> str:
        """Return what ID tokens are to be signed with: the best of what the server offers."""
        offered = self.id_token_algorithms or (DEFAULT_ALGORITHM,)
        return next((name for name in (*PREFERRED, *FAMILIES) if name in offered), DEFAULT_ALGORITHM)


def ours(offered: tuple[str, ...] | None) -> str:
    """Return what to sign by: the best of ours that a server offers; one that names none takes the default."""
    return next((name for name in _SIGNING if name in (offered or (DEFAULT_ALGORITHM,))), DEFAULT_ALGORITHM)


def metadata_urls(issuer: str) -> tuple[str, ...]:
    """Return where an issuer's metadata may be, in the order in which to look: OIDC's form, then those of RFC 8414 §3.1 and §5."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    forms = (
        f"{origin}{path}/.well-known/openid-configuration",
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}/.well-known/openid-configuration{path}",
    )
    return tuple(dict.fromkeys(forms))


def discover(issuer: str, *, policy: TransportPolicy) -> Discovered:
    """Read the metadata of ``issuer`` and check all of it.

    Raises :class:`ConfigurationError` (``issuer_not_allowed``) for what can be no issuer, :class:`TokenEndpointError`
    (``metadata_missing``, ``metadata_invalid``, and what :func:`send` raises) and, where the document speaks for another,
    ``discovered_issuer_mismatch``.
    """
    check_issuer(issuer, internal=policy.internal)
    for number, url in enumerate(metadata_urls(issuer)):
        if (document := _asked(url, policy=policy)) is None:
            continue
        found = read_metadata(document, issuer, internal=policy.internal)
        return found if number or found.server.revocation_endpoint else _completed(found, policy=policy)
    raise TokenEndpointError(
        "The issuer publishes no metadata.",
        code="metadata_missing",
        hint="Check the issuer's URL, or enter the endpoints by hand from the service's documentation.",
    )


def _asked(url: str, *, policy: TransportPolicy) -> dict[str, Any] | None:
    """Return the document at this address, None if there is none; raise :class:`TokenEndpointError` for anything else."""
    request = requests.Request("GET", url, headers={"Accept": "application/json"})
    response = send(request.prepare(), policy=policy)
    if response.status == HTTPStatus.OK:
        return _document(response)
    if response.status in _NOT_HERE:
        return None
    raise TokenEndpointError(
        "The issuer does not answer with its metadata.", code="metadata_missing", status=response.status
    )


def _completed(found: Discovered, *, policy: TransportPolicy) -> Discovered:
    """Look up in the OAuth document what OpenID Connect has no name for, if both speak of the same server."""
    try:
        document = _asked(metadata_urls(found.server.issuer)[1], policy=policy)
        other = read_metadata(document or {}, found.server.issuer, internal=policy.internal).server
    except TokenEndpointError:
        return found
    if other.token_endpoint != found.server.token_endpoint:
        return found
    sends_iss = (
        found.server.authorization_response_iss_parameter_supported
        or other.authorization_response_iss_parameter_supported
    )
    server = replace(
        found.server,
        revocation_endpoint=other.revocation_endpoint,
        introspection_endpoint=found.server.introspection_endpoint or other.introspection_endpoint,
        device_authorization_endpoint=found.server.device_authorization_endpoint or other.device_authorization_endpoint,
        authorization_response_iss_parameter_supported=sends_iss,
    )
    return replace(found, server=server)


def check_issuer(issuer: str, *, internal: bool) -> None:
    """Raise :class:`ConfigurationError` unless the URL may be an issuer's: no query, no fragment. RFC 8414 §2."""
    try:
        _check_issuer_url(issuer, internal=internal)
    except ValueError as problem:
        raise ConfigurationError(
            f"This cannot be an issuer: {problem}.",
            code="issuer_not_allowed",
            hint="An issuer is an https URL such as https://accounts.example.com, as the service's documentation names it.",
        ) from None


def _check_issuer_url(issuer: str, *, internal: bool) -> None:
    check_endpoint(issuer, internal=internal)
    if "?" in issuer or len(issuer) > _LONGEST_URL // 2:
        raise ValueError("the URL must have no query, and at most 500 characters")


def read_metadata(document: Mapping[str, Any], issuer: str, *, internal: bool) -> Discovered:
    """Return the metadata in a document that ``issuer`` has published; raise as :func:`discover` does."""
    if document.get("issuer") != issuer:  # exactly: RFC 8414 §3.3
        raise TokenEndpointError(
            "The metadata speaks for another issuer than the one that was asked.",
            code="discovered_issuer_mismatch",
            hint="Enter the issuer exactly as the service's documentation spells it: path, case and slashes count.",
        )
    endpoints = {name: _url(document, name, internal=internal) for name in (*_REQUIRED, *_OPTIONAL)}
    for name in _REQUIRED:
        if not endpoints[name]:
            raise _invalid(name, "it is missing")
    _check_offers(document)
    if document.get("require_pushed_authorization_requests") is True and not endpoints[PUSHED]:
        raise _invalid(PUSHED, "requests have to be pushed, and it is missing")
    return Discovered(
        server=ServerMetadata(
            issuer=issuer,
            authorization_response_iss_parameter_supported=document.get(
                "authorization_response_iss_parameter_supported"
            )
            is True,
            **endpoints,
        ),
        scopes=_strings(document, "scopes_supported"),
        auth_methods=_strings(document, "token_endpoint_auth_methods_supported"),
        id_token_algorithms=_strings(document, "id_token_signing_alg_values_supported"),
        auth_algorithms=_strings(document, "token_endpoint_auth_signing_alg_values_supported"),
        request_algorithms=_strings(document, "request_object_signing_alg_values_supported"),
        requires_signed_requests=document.get("require_signed_request_object") is True,
        response_modes=_strings(document, "response_modes_supported"),
        response_algorithms=_strings(document, "authorization_signing_alg_values_supported"),
        details_types=_strings(document, "authorization_details_types_supported"),
        dpop_algorithms=_strings(document, "dpop_signing_alg_values_supported"),
        mtls_endpoint_aliases=_aliases(document, internal=internal),
    )


def _document(response: ProtocolResponse) -> dict[str, Any]:
    try:
        return read_json(response.body, limit=MAX_BODY)
    except TokenRefused:
        raise TokenEndpointError(
            "The issuer's metadata is no JSON object.", code="metadata_invalid", status=response.status
        ) from None


def _check_offers(document: Mapping[str, Any]) -> None:
    """Refuse a server that says it cannot do what we never do without."""
    needs = {"code_challenge_methods_supported": "S256", "response_types_supported": "code"}
    for name, needed in needs.items():
        offered = _strings(document, name)
        if offered is not None and needed not in offered:
            raise _invalid(name, f"it lacks {needed}")


def _url(document: Mapping[str, Any], name: str, *, internal: bool) -> str:
    url = document.get(name)
    if url is None:
        return ""
    if not isinstance(url, str) or len(url) > _LONGEST_URL or "{" in url:
        raise _invalid(name, "it is no URL")
    try:
        check_endpoint(url, internal=internal)
        if name == "authorization_endpoint":
            check_authorization_query(url)
    except ValueError as problem:
        raise _invalid(name, str(problem)) from None
    return url


def _aliases(document: Mapping[str, Any], *, internal: bool) -> dict[str, str]:
    """Return where a client that shows a certificate finds those endpoints of ours that have such a place."""
    aliases = document.get("mtls_endpoint_aliases", {})
    if not isinstance(aliases, dict):
        raise _invalid("mtls_endpoint_aliases", "it is no object")
    found = {name: _url(aliases, name, internal=internal) for name in MTLS_ALIASES}
    return {name: url for name, url in found.items() if url}


def _strings(document: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    values = document.get(name)
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _invalid(name, "it is no list of texts")
    return tuple(values)


def _invalid(name: str, problem: str) -> TokenEndpointError:
    return TokenEndpointError(
        f"The issuer's metadata cannot be used: {name}: {problem}.",
        code="metadata_invalid",
        hint="Tell the service; until it is mended, enter the endpoints by hand.",
    )
