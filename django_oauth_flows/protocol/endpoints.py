"""A server's endpoints, vetted at use: whatever let an odd one into the configuration, nothing is sent there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl, urlsplit

from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.protocol.reserved import check_reserved
from django_oauth_flows.protocol.urls import check_endpoint

if TYPE_CHECKING:
    from django_oauth_flows.protocol.messages import ClientRegistration

Endpoint = Literal[
    "authorization_endpoint",
    "token_endpoint",
    "pushed_authorization_request_endpoint",
    "temporary_credential_endpoint",
    "device_authorization_endpoint",
    "revocation_endpoint",
    "introspection_endpoint",
    "userinfo_endpoint",
    "refresh_endpoint",
    "jwks_uri",
]


def endpoint_of(registration: ClientRegistration, name: Endpoint) -> str:
    """Return the endpoint's URL; raise :class:`ConfigurationError` (``endpoint_not_allowed``) for an odd one."""
    url: str = getattr(registration.server, name)
    try:
        check_endpoint(url, internal=registration.transport.internal)
        if name == "authorization_endpoint":
            check_authorization_query(url)
    except ValueError as problem:
        message = f"{registration.name}: {name}: {problem}"
        raise ConfigurationError(message, code="endpoint_not_allowed") from None
    return url


def check_authorization_query(url: str) -> None:
    """Raise ``ValueError`` if the query of an authorization endpoint sets what the protocol sets. RFC 6749 §3.1."""
    check_reserved(name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True))
