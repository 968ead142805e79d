"""ID tokens: what one must say before a word of it is believed. OpenID Connect Core 1.0 §3.1.3.7 and §12.2, RFC 8725.

Stricter than the specification where that costs honest servers nothing: the signature is verified although the token came
over TLS, one algorithm per provider, our ``client_id`` as the only audience. The clock is an argument.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django_oauth_flows.exceptions import ConfigurationError, TokenEndpointError
from django_oauth_flows.protocol.algorithms import FAMILIES
from django_oauth_flows.protocol.jws import TokenRefused, unverified_claims

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django_oauth_flows.protocol.messages import AuthorizationResponse, ClientRegistration, TokenResponse
    from django_oauth_flows.protocol.secret import Secret

OLDEST = 600
"""Seconds since an ID token was issued: one that came with a code is as young as the code."""

MAX_SUBJECT = 255
_LAST_MOMENT = 2**53
"""What no clock shows, and no float tells from its neighbours."""


def wants_id_token(registration: ClientRegistration, scopes: Sequence[str]) -> bool:
    """Tell whether an ID token is asked for with these scopes."""
    return registration.protocol == "oauth2" and ("openid" in scopes or registration.identity.source == "id_token")


def can_verify(registration: ClientRegistration) -> bool:
    """Tell whether the provider's row says whose ID tokens they are, and by which keys to know them."""
    server, algorithm = registration.server, registration.dialect.id_token_signed_response_alg
    return bool(server.issuer and (server.jwks_uri or FAMILIES[algorithm].kind == "oct"))


def verified_id_token(response: AuthorizationResponse, tokens: TokenResponse, *, now: float) -> dict[str, Any]:
    """Return the claims of the ID token that came with a code; ``{}`` if none was asked for, or none can be verified.

    ``now``: seconds since the epoch. Raises :class:`TokenEndpointError` (``id_token_missing``, ``id_token_invalid``,
    ``keys_unavailable``) and, where the account is to be read from it, :class:`ConfigurationError`.
    """
    pending, registration = response.pending, response.pending.registration
    if not wants_id_token(registration, pending.scopes):
        return {}
    if not can_verify(registration):
        if registration.identity.source == "id_token":
            raise ConfigurationError(
                f"Provider {registration.name} lacks what it takes to verify ID tokens.",
                code="provider_misconfigured",
                hint="Enter its issuer and its jwks_uri, or discover both from the issuer.",
            )
        return {}
    if tokens.id_token is None:
        raise TokenEndpointError(
            "The service sent no ID token, though one was asked for.",
            code="id_token_missing",
            hint="Take the scope openid out of the provider's scopes if it knows no OpenID Connect.",
        )
    try:
        claims = _signed_claims(tokens.id_token, registration)
        _check_parties(claims, registration)
        _check_times(claims, registration, now=now)
        if not pending.by_device:
            _check_nonce(claims, pending.nonce)
        _check_login(claims, registration, now=now)
        for name, secret in (("at_hash", tokens.access_token), ("c_hash", response.code)):
            _check_hash(claims, name, secret, registration.dialect.id_token_signed_response_alg)
    except TokenRefused as reason:
        error = id_token_invalid(str(reason))
        error.suspect = "clock" if isinstance(reason, OutOfTime) else ""
        raise error from None
    return claims


class OutOfTime(TokenRefused):
    """Raise where the service's clock and ours do not agree, or the token is an old one."""


@dataclass(frozen=True, slots=True)
class FirstIDToken:
    """What a later ID token of the same grant must repeat: the subject, and the SHA-256 of the nonce."""

    subject: str
    nonce_hash: str

    @classmethod
    def of(cls, claims: Mapping[str, Any]) -> FirstIDToken:
        """Build from the claims of a verified token."""
        return cls(claims["sub"], _sha256(str(claims.get("nonce", ""))))


def is_somebody_else(tokens: TokenResponse, registration: ClientRegistration, first: FirstIDToken) -> bool:
    """Tell whether the ID token of a refresh speaks of another issuer, client or person than the first. §12.2.

    Its signature is not looked at: it came from the token endpoint over TLS, nothing is read from it but whether it
    contradicts, and no fetching of keys may stand between a rotated refresh token and its storage. One that cannot be read
    says as little as none, which is allowed.
    """
    if tokens.id_token is None:
        return False
    try:
        claims = unverified_claims(tokens.id_token.reveal())
    except TokenRefused:
        return False
    try:
        _check_parties(claims, registration)
    except TokenRefused:
        return True
    nonce = claims.get("nonce")
    if nonce is not None and (not isinstance(nonce, str) or _sha256(nonce) != first.nonce_hash):
        return True
    return bool(claims["sub"] != first.subject)


def id_token_invalid(reason: str) -> TokenEndpointError:
    """Return the error for an ID token that may not be believed."""
    return TokenEndpointError(
        f"The service's ID token cannot be trusted: {reason}.",
        code="id_token_invalid",
        hint="Start again. If it persists, let the site's staff check the provider's issuer, client id and keys.",
    )


def _signed_claims(token: Secret, registration: ClientRegistration) -> dict[str, Any]:
    from django_oauth_flows.protocol.jwks import verified  # cryptography is for those who verify

    return verified(token.reveal(), registration, algorithm=registration.dialect.id_token_signed_response_alg)


def _check_parties(claims: Mapping[str, Any], registration: ClientRegistration) -> None:
    """Check who speaks, to whom, of whom: exact strings, nothing converted."""
    issuer, audience, party = claims.get("iss"), claims.get("aud"), claims.get("azp")
    if not isinstance(issuer, str) or not same(issuer, registration.server.issuer):
        raise TokenRefused("it names another issuer than the one configured")
    client_id = registration.client_id
    audiences = audience if isinstance(audience, list) else [audience]
    if len(audiences) != 1 or not isinstance(audiences[0], str) or not same(audiences[0], client_id):
        raise TokenRefused("it is made for another client")
    if "azp" in claims and not (isinstance(party, str) and same(party, client_id)):
        raise TokenRefused("it is made for another client")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise TokenRefused("it does not say whom it is about")


def _check_times(claims: Mapping[str, Any], registration: ClientRegistration, *, now: float) -> None:
    skew = registration.dialect.clock_skew
    issued_at, expires_at = moment(claims, "iat"), moment(claims, "exp")
    if expires_at <= now - skew:
        raise OutOfTime("it has expired")
    if issued_at > now + skew or ("nbf" in claims and moment(claims, "nbf") > now + skew):
        raise OutOfTime("it is from the future: compare the clocks")
    if issued_at < now - skew - OLDEST:
        raise OutOfTime("it is too old to be the answer to this login")


def _check_nonce(claims: Mapping[str, Any], nonce: Secret | None) -> None:
    given = claims.get("nonce")
    if nonce is None or not isinstance(given, str) or not same(given, nonce.reveal()):
        raise TokenRefused("it belongs to another login")


def _check_login(claims: Mapping[str, Any], registration: ClientRegistration, *, now: float) -> None:
    """Where a recent login was demanded (``max_age``), check that there was one. §2, auth_time."""
    asked = dict(registration.dialect.authorization_parameters).get("max_age", "")
    if not (asked.isascii() and asked.isdigit()):
        return
    if moment(claims, "auth_time") < now - registration.dialect.clock_skew - int(asked):
        raise TokenRefused("the login is older than allowed")


def _check_hash(claims: Mapping[str, Any], name: str, secret: Secret, algorithm: str) -> None:
    """Check that the token is about this very code or access token, if it says so. §3.1.3.6, §3.3.2.11."""
    if name not in claims:
        return
    digest = hashlib.new(FAMILIES[algorithm].digest, secret.reveal().encode()).digest()
    expected = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
    if not isinstance(claims[name], str) or not same(claims[name], expected):
        raise TokenRefused("it came with another token")


def moment(claims: Mapping[str, Any], name: str) -> int:
    """Return a claim that is a time, in seconds since the epoch; raise :class:`TokenRefused` if it is none."""
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LAST_MOMENT:
        raise TokenRefused(f"its {name} is missing or no whole number")
    return value


def same(given: str, expected: str) -> bool:
    """Compare exactly, and in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode("utf-8", "surrogatepass"))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
