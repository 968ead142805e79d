"""What the userinfo endpoint says, and whether it speaks of the person of the ID token. OpenID Connect Core 1.0 §5.3.

Claims that it only points to (``_claim_sources``, §5.6) are never fetched.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django_oauth_flows.exceptions import TokenEndpointError
from django_oauth_flows.protocol.id_token import can_verify, same
from django_oauth_flows.protocol.identity_document import read_document
from django_oauth_flows.protocol.jws import TokenRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.protocol.messages import ClientRegistration
    from django_oauth_flows.protocol.transport import ProtocolResponse


def read_userinfo(response: ProtocolResponse, registration: ClientRegistration, id_token: Mapping[str, Any]) -> Any:
    """Return the claims of a userinfo answer, or the document that it is; ``id_token``: those of the verified ID token, if there is one.

    Raises :class:`TokenEndpointError`: ``identity_unavailable`` if it tells nothing, ``userinfo_mismatch`` if what it
    tells is not signed as configured, or of somebody else, ``keys_unavailable``.
    """
    claims = _claims(response, registration)
    if id_token and not _is_of(claims, id_token):
        raise _mismatch("it speaks of another account than the ID token")
    return claims


def _is_of(claims: Any, id_token: Mapping[str, Any]) -> bool:
    subject = claims.get("sub") if isinstance(claims, dict) else None
    return isinstance(subject, str) and same(subject, id_token["sub"])


def _claims(response: ProtocolResponse, registration: ClientRegistration) -> Any:
    algorithm = registration.dialect.userinfo_signed_response_alg
    if response.status != HTTPStatus.OK:
        return read_document(response, registration)  # and say so
    is_signed = response.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/jwt"
    if not is_signed:
        if algorithm:
            raise _mismatch("it is not signed")
        return read_document(response, registration)
    if not can_verify(registration):
        raise _mismatch("it is signed, and the provider's issuer and jwks_uri are not configured")
    from django_oauth_flows.protocol.jwks import verified  # cryptography is for those who verify

    try:
        claims = verified(
            response.body.decode("ascii", "replace").strip(),
            registration,
            algorithm=algorithm or registration.dialect.id_token_signed_response_alg,
            types=("jwt", "application/jwt"),
        )
        _check_parties(claims, registration)
    except TokenRefused as reason:
        raise _mismatch(str(reason)) from None
    return claims


def _check_parties(claims: Mapping[str, Any], registration: ClientRegistration) -> None:
    """A signed answer should say whose it is and for whom; if it does, it must be so."""
    audience = claims.get("aud", registration.client_id)
    if claims.get("iss", registration.server.issuer) != registration.server.issuer:
        raise TokenRefused("it names another issuer than the one configured")
    if registration.client_id not in (audience if isinstance(audience, list) else [audience]):
        raise TokenRefused("it is made for another client")


def _mismatch(reason: str) -> TokenEndpointError:
    return TokenEndpointError(
        f"The service's account information cannot be trusted: {reason}.",
        code="userinfo_mismatch",
        hint="Start again. If it persists, let the site's staff check the provider's configuration.",
    )
