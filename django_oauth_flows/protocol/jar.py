"""Signed authorization requests: what the browser carries cannot be changed on the way. RFC 9101.

By value in the browser's address, or, where requests are pushed, in the pushed form (RFC 9126 §3).
"""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Any

from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.protocol.authorization_request import beyond, parameters_in_dialect, referring
from django_oauth_flows.protocol.details import PARAMETER as DETAILS
from django_oauth_flows.protocol.endpoints import endpoint_of

if TYPE_CHECKING:
    from django_oauth_flows.protocol.messages import ClientRegistration, Params

KIND = "oauth-authz-req+jwt"
"""The ``typ`` that keeps a request object from being taken for an assertion. RFC 9101 §10.8."""

LIFETIME = 300
"""Seconds for which a request object holds: the browser takes it to the server at once."""

_JSON = frozenset({DETAILS, "claims"})
_NUMBERS = frozenset({"max_age"})
"""Parameters that are JSON or numbers, and are so in the object, too. RFC 9396 §3, OpenID Connect Core 1.0 §6.1."""


def signed_request(url: str, registration: ClientRegistration) -> str:
    """Return the authorization URL with its parameters in one signed object; nothing else is beside it but the client's id.

    Raises :class:`ConfigurationError`: ``provider_misconfigured`` without an issuer, ``private_key_missing``,
    ``private_key_invalid`` for a key that cannot sign by the algorithm agreed. RFC 9101 §4 and §5.
    """
    # Only who signs waits for cryptography to load.
    from django_oauth_flows.protocol.keys import sign_jwt

    if registration.private_key is None:
        raise ConfigurationError(
            f"Provider {registration.name} has no private key to sign requests with.",
            code="private_key_missing",
            hint="Make one: manage.py rotate_private_key SLUG",
        )
    page = endpoint_of(registration, "authorization_endpoint")
    asked = parameters_in_dialect(beyond(url, page), registration.dialect)
    algorithm = registration.dialect.request_object_signing_alg
    made = sign_jwt(registration.private_key, _claims(asked, registration), algorithm=algorithm, kind=KIND)
    return referring(page, [("client_id", registration.client_id), ("request", made)])


def _claims(asked: Params, registration: ClientRegistration) -> dict[str, Any]:
    """Return the request's parameters, and who signs them for whom and until when. RFC 9101 §4, §10.2."""
    if not registration.server.known_issuer:
        raise ConfigurationError(
            f"Provider {registration.name} has no issuer to sign requests for.",
            code="provider_misconfigured",
            hint="Enter the service's issuer, exactly as its metadata names it.",
        )
    now = int(time.time())
    parties = {"iss": registration.client_id, "aud": registration.server.issuer}
    moments = {"iat": now, "nbf": now, "exp": now + LIFETIME, "jti": secrets.token_urlsafe(32)}
    return {**_members(asked), **parties, **moments}


def _members(asked: Params) -> dict[str, Any]:
    """Return the parameters as members; those that occur more than once (``resource``, RFC 8707 §2.1) as a list."""
    found: dict[str, list[Any]] = {}
    for name, text in asked:
        found.setdefault(name, []).append(_value(name, text))
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def _value(name: str, text: str) -> Any:
    if name in _JSON:
        return json.loads(text)
    return int(text) if name in _NUMBERS and text.isascii() and text.isdigit() else text
