"""Signed authorization responses: who answers, to whom, and until when, in one token that the browser carries.

JWT Secured Authorization Response Mode for OAuth 2.0 (JARM) §2.4. Where one was agreed, nothing unsigned is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_oauth_flows.exceptions import AuthorizationError
from django_oauth_flows.protocol.id_token import moment, same
from django_oauth_flows.protocol.jws import TokenRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.protocol.messages import ClientRegistration, Params
    from django_oauth_flows.protocol.secret import Secret

SIGNED_MODES = frozenset({"jwt", "query.jwt", "form_post.jwt"})
"""Response modes whose answer is one signed token. ``jwt`` is a redirect with a query, where a code is asked for."""

_ABOUT_THE_TOKEN = frozenset({"aud", "exp", "iat", "nbf", "jti"})


def signed_answer(params: Params, registration: ClientRegistration, state: Secret, *, now: float) -> Params:
    """Return the parameters of the answer: where a signed one was agreed, those that are in it, and no others.

    ``now``: seconds since the epoch. Raises :class:`AuthorizationError`: ``unexpected_response`` for an unsigned answer,
    ``duplicate_parameter``, ``signed_response_invalid``; :class:`TokenEndpointError` (``keys_unavailable``).
    """
    if registration.response_mode not in SIGNED_MODES:
        return params  # a signed answer that nobody has asked for is refused with the other tokens
    signed = [value for name, value in params if name == "response"]
    if not signed:
        raise AuthorizationError("The service answered in another way than agreed.", code="unexpected_response")
    if len(signed) > 1:
        raise AuthorizationError("The service's answer contains a parameter twice.", code="duplicate_parameter")
    try:
        return _parameters(_claims(signed[0], registration, state, now=now))
    except TokenRefused as reason:
        raise AuthorizationError(
            f"The service's signed answer cannot be trusted: {reason}.",
            code="signed_response_invalid",
            hint="Start again. If it persists, let the site's staff check the provider's issuer, client id and keys.",
        ) from None


def _claims(token: str, registration: ClientRegistration, state: Secret, *, now: float) -> dict[str, Any]:
    from django_oauth_flows.protocol.jwks import verified  # cryptography is for those who verify

    if not (registration.server.issuer and registration.server.jwks_uri):
        raise TokenRefused("the provider's row does not say whose it should be, or where the keys are")
    claims = verified(token, registration, algorithm=registration.dialect.authorization_signed_response_alg)
    audience = claims.get("aud")
    if not _says(claims.get("iss"), registration.server.issuer):
        raise TokenRefused("it names another issuer than the one configured")
    alone = audience[0] if isinstance(audience, list) and len(audience) == 1 else audience
    if not _says(alone, registration.client_id):
        raise TokenRefused("it is made for another client")
    skew = registration.dialect.clock_skew
    if moment(claims, "exp") <= now - skew:
        raise TokenRefused("it has expired")
    if any(name in claims and moment(claims, name) > now + skew for name in ("iat", "nbf")):
        raise TokenRefused("it is from the future: compare the clocks")
    # The state beside the token, or one read from it before it was verified, has found this authorization.
    if not _says(claims.get("state"), state.reveal()):
        raise TokenRefused("it belongs to another authorization")
    return claims


def _says(value: Any, expected: str) -> bool:
    return isinstance(value, str) and same(value, expected)


def _parameters(claims: Mapping[str, Any]) -> Params:
    return [(name, value) for name, value in claims.items() if isinstance(value, str) and name not in _ABOUT_THE_TOKEN]
