"""Assertions that the client signs: to prove that it has a key or a secret (RFC 7523 §2.2), or as a grant (§2.1)."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from django_oauth_flows.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django_oauth_flows.protocol.messages import ClientRegistration
    from django_oauth_flows.protocol.secret import Secret

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

LIFETIME = 60
"""Seconds for which an assertion holds: it is made for one request."""


def client_assertion(registration: ClientRegistration) -> str:
    """Return a fresh assertion for this server alone: its audience is the issuer, wherever the request goes.

    The dialect may name the token endpoint or a text instead, for servers that want no other. A server that names another's token endpoint as its own could otherwise have us sign what the other one accepts.
    Raises :class:`ConfigurationError`: ``provider_misconfigured`` without an issuer, ``private_key_missing``,
    ``private_key_invalid``, ``client_secret_missing``.
    """
    # Only who signs waits for cryptography to load.
    from django_oauth_flows.protocol.keys import sign_jwt, sign_jwt_with_secret

    claims = _claims(registration, audience=_audience(registration))
    claims["iss"] = registration.dialect.client_assertion_issuer or registration.client_id
    if registration.token_endpoint_auth_method == "client_secret_jwt":
        if registration.client_secret is None:
            raise ConfigurationError(
                f"Provider {registration.name} has no client secret.",
                code="client_secret_missing",
                hint="Enter the client secret in the admin.",
            )
        return sign_jwt_with_secret(registration.client_secret, claims)
    dialect = registration.dialect
    algorithm, key_id = dialect.token_endpoint_auth_signing_alg, dialect.assertion_key_id
    return sign_jwt(_private_key(registration), claims, algorithm=algorithm, key_id=key_id)


def grant_assertion(registration: ClientRegistration, *, scopes: Sequence[str], subject: str = "") -> str:
    """Return a fresh assertion that is exchanged for a token of ``subject``, or of the client itself. RFC 7523 §2.1 and §3.

    Signed with the private key, by which the server knows the client. The scopes are in it as well: some servers look for
    them nowhere else. Raises :class:`ConfigurationError`: ``provider_misconfigured`` without an issuer or audience,
    ``private_key_missing``, ``private_key_invalid``.
    """
    from django_oauth_flows.protocol.keys import sign_jwt

    dialect = registration.dialect
    claims = _claims(registration, audience=dialect.assertion_audience or _issuer(registration))
    claims |= {"sub": subject or registration.client_id, "scope": registration.scope_separator.join(scopes)}
    claims |= dict(dialect.assertion_claims)
    if subject:
        claims["sub"] = subject
    said = {name: value for name, value in claims.items() if value != ""}
    algorithm = dialect.token_endpoint_auth_signing_alg
    return sign_jwt(_private_key(registration), said, algorithm=algorithm, key_id=dialect.assertion_key_id)


def _private_key(registration: ClientRegistration) -> Secret:
    if registration.private_key is None:
        raise ConfigurationError(
            f"Provider {registration.name} has no private key.",
            code="private_key_missing",
            hint="Paste a private key in the admin, and register our JWKS address at the service.",
        )
    return registration.private_key


def _audience(registration: ClientRegistration) -> str:
    audience = registration.dialect.client_assertion_audience
    if audience == "token_endpoint":
        return registration.server.token_endpoint
    return _issuer(registration) if audience == "issuer" else audience


def _issuer(registration: ClientRegistration) -> str:
    if not registration.server.known_issuer:
        raise ConfigurationError(
            f"Provider {registration.name} has no issuer to make an assertion for.",
            code="provider_misconfigured",
            hint="Enter the service's issuer, exactly as its metadata names it.",
        )
    return registration.server.issuer


def _claims(registration: ClientRegistration, *, audience: str) -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": registration.client_id,
        "sub": registration.client_id,
        "aud": audience,
        "jti": secrets.token_urlsafe(32),
        "iat": now,
        "exp": now + LIFETIME,
    }
