"""Who has logged in, as the ID token says it: verified once when an account is connected, and held to at every refresh."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django_oauth_flows.protocol.id_token import FirstIDToken, can_verify, is_somebody_else, verified_id_token
from django_oauth_flows.protocol.messages import TokenResponse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from django_oauth_flows.flows.snapshot import Snapshot
    from django_oauth_flows.flows.values import Grant
    from django_oauth_flows.models import AuthorizationRequest
    from django_oauth_flows.protocol.messages import AuthorizationResponse, ClientRegistration, TokenCredentials

KEPT = "id_token"
"""The member of ``Token.extra`` that holds what a later ID token must repeat. No server can set it."""


def verify_login(
    response: AuthorizationResponse,
    tokens: TokenResponse | TokenCredentials,
    request: AuthorizationRequest,
    *,
    elapsed: float,
) -> dict[str, Any]:
    """Return the claims of the grant's verified ID token, ``{}`` without one; raise what :func:`verified_id_token` raises.

    The time is the database's, ``elapsed`` seconds after the request was found: workers' clocks need not agree.
    """
    if not isinstance(tokens, TokenResponse):
        return {}
    found: datetime = request.now  # type: ignore[attr-defined]
    return verified_id_token(response, tokens, now=found.timestamp() + elapsed)


def remember_login(grant: Grant, claims: Mapping[str, Any]) -> Grant:
    """Return the grant with what its next ID tokens are to be compared with."""
    if not claims:
        return grant
    first = FirstIDToken.of(claims)
    return replace(grant, extra={**grant.extra, KEPT: {"sub": first.subject, "nonce_sha256": first.nonce_hash}})


def answers_for_another(snapshot: Snapshot, tokens: TokenResponse, registration: ClientRegistration) -> bool:
    """Tell whether a refresh was answered for another account than was connected. OpenID Connect Core 1.0 §12.2."""
    first = snapshot.token.extra.get(KEPT)
    if not isinstance(first, dict) or not can_verify(registration):
        return False
    return is_somebody_else(tokens, registration, FirstIDToken(str(first.get("sub")), str(first.get("nonce_sha256"))))
