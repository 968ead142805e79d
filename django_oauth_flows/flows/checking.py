"""Check: an answer belongs to the dance that was started, and may be exchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_oauth_flows.exceptions import AuthorizationError
from django_oauth_flows.flows.answers import answer_of
from django_oauth_flows.flows.binding import check_standing
from django_oauth_flows.protocol.authorization import read_state, validate_authorization_response
from django_oauth_flows.protocol.jarm import signed_answer
from django_oauth_flows.protocol.messages import PendingAuthorization, TemporaryCredentials

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.base_user import AbstractBaseUser

    from django_oauth_flows.models import AuthorizationRequest
    from django_oauth_flows.protocol.messages import AuthorizationResponse, ClientRegistration, Params
    from django_oauth_flows.protocol.secret import Secret


def checked_answer(
    request: AuthorizationRequest, provider_slug: str, params: Params, *, user: AbstractBaseUser
) -> AuthorizationResponse:
    """Return what may be exchanged of the answer to ``request``, which the caller has taken.

    Raises :class:`AuthorizationError`: ``provider_mismatch``, and what :func:`check_standing`, :func:`answer_of` and
    :func:`validate_authorization_response` raise; :class:`ConfigurationError` for a provider that cannot be used.
    """
    if request.provider.slug != provider_slug:
        raise AuthorizationError("This answer belongs to another service.", code="provider_mismatch")
    check_standing(request, user=user)
    registration, state = request.provider.registration(request.parameters), read_state(params)
    pending = _pending(request, registration, state)
    found: datetime = request.now  # type: ignore[attr-defined]
    answer = signed_answer(answer_of(request, params), registration, state, now=found.timestamp())
    return validate_authorization_response(pending, answer)


def _pending(request: AuthorizationRequest, registration: ClientRegistration, state: Secret) -> PendingAuthorization:
    token, secret = request.open("temporary_token"), request.open("temporary_token_secret")
    return PendingAuthorization(
        registration=registration,
        redirect_uri=request.redirect_uri,
        scopes=request.requested_scopes,
        state=state,
        code_verifier=request.open("code_verifier"),
        nonce=request.open("nonce"),
        dpop_key=request.open("dpop_key"),
        temporary_credentials=TemporaryCredentials(token, secret) if token and secret else None,
    )
