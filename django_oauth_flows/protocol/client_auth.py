"""How the client proves itself to a protocol endpoint. RFC 6749 §2.3: one method per request, never two."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.protocol.assertions import ASSERTION_TYPE, client_assertion
from django_oauth_flows.protocol.placeholders import expand

if TYPE_CHECKING:
    from django_oauth_flows.protocol.messages import ClientRegistration


WITH_CERTIFICATE = ("tls_client_auth", "self_signed_tls_client_auth")
"""Ways in which the handshake says who the client is. RFC 8705 §2."""

WITH_SECRET = ("client_secret_basic", "client_secret_post", "client_secret_jwt")
"""Ways in which the client's secret says so, sent or signed with."""

WITH_ASSERTION = ("private_key_jwt", "client_secret_jwt")
"""Ways in which a signature says so, which holds for minutes. RFC 7523 §2.2."""


def authenticate_client(registration: ClientRegistration) -> tuple[dict[str, str], dict[str, str]]:
    """Return (headers, body parameters) that authenticate the client; raise :class:`ConfigurationError` without what it takes."""
    if registration.token_endpoint_auth_method == "none":
        return {}, {"client_id": registration.client_id}
    if registration.token_endpoint_auth_method in WITH_CERTIFICATE:
        return {}, _shown(registration)
    if registration.token_endpoint_auth_method in WITH_ASSERTION:
        return {}, {"client_id": registration.client_id, **_asserted(registration)}
    if not registration.client_secret:
        raise ConfigurationError(
            f"Provider {registration.name} has no client secret.",
            code="client_secret_missing",
            hint="Enter the client secret in the admin, or choose the client authentication 'none'.",
        )
    secret = registration.client_secret.reveal()
    if registration.token_endpoint_auth_method == "client_secret_post":
        return {}, {"client_id": registration.client_id, "client_secret": secret}
    if template := registration.dialect.basic_credentials:
        pair = expand(template, {"client_id": registration.client_id, "client_secret": secret})
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}, {}
    return {"Authorization": basic(registration.client_id, secret, raw=registration.dialect.raw_basic_auth)}, {}


def _asserted(registration: ClientRegistration) -> dict[str, str]:
    """Return a fresh assertion, with its type unless it is sent as if it were a secret. RFC 7523 §2.2."""
    if registration.dialect.client_assertion_parameter == "client_secret":
        return {"client_secret": client_assertion(registration)}
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": client_assertion(registration)}


def _shown(registration: ClientRegistration) -> dict[str, str]:
    """Return what goes with a certificate that the handshake has shown. RFC 8705 §2."""
    if registration.client_certificate is None:
        raise ConfigurationError(
            f"Provider {registration.name} has no client certificate.",
            code="client_certificate_missing",
            hint="Paste the certificate with its private key in the admin, and register it at the service.",
        )
    return {"client_id": registration.client_id}


def basic(client_id: str, client_secret: str, *, raw: bool = False) -> str:
    """Return the header value; both parts are form-encoded first (RFC 6749 §2.3.1) unless ``raw``."""
    pair = f"{client_id}:{client_secret}" if raw else f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return "Basic " + base64.b64encode(pair.encode()).decode()
