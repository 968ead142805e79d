"""Test a provider: the whole dance as a member of staff, step by step, of which nothing stays but the report.

No connection is stored, so no user's page, API, count or webhook ever sees a test. What the service has granted is given
back at once, where that hurts no connection of the same account.
"""

from __future__ import annotations

import secrets
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.db import router

from django_oauth_flows.exceptions import AuthorizationError, OAuthFlowsError, TokenEndpointError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.binding import hash_session
from django_oauth_flows.flows.checking import checked_answer
from django_oauth_flows.flows.confirming import remember_login, verify_login
from django_oauth_flows.flows.holding import holding_of
from django_oauth_flows.flows.introspecting import with_lifetime
from django_oauth_flows.flows.returning import safe_next_url
from django_oauth_flows.flows.revoking import discard
from django_oauth_flows.flows.scopes import scopes_to_ask
from django_oauth_flows.flows.speaking import asking
from django_oauth_flows.flows.starting import begin, checked_parameters, redirect_uri
from django_oauth_flows.flows.values import Grant
from django_oauth_flows.managers import DANCE_SECRETS, hash_secret, owner_key
from django_oauth_flows.models import AuthorizationRequest, Provider, Revocation
from django_oauth_flows.protocol.flow import flow_for
from django_oauth_flows.protocol.kept import as_variables
from django_oauth_flows.protocol.messages import Identity, TokenResponse
from django_oauth_flows.protocol.oauth2 import OAuth2Flow
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.contrib.auth.base_user import AbstractBaseUser

    from django_oauth_flows.flows.values import StartedAuthorization
    from django_oauth_flows.protocol.messages import AuthorizationResponse, ClientRegistration, Params

STEPS = ("start", "answer", "tokens", "id_token", "scopes", "account", "refresh", "return")
"""In the order in which they are done. A report is a list of ``{"step": …, "code": …, facts}``; "" is the code of success."""

DEADLINE = 10.0
"""Seconds for each request of a test: a web worker waits for all of them."""

NAMED = frozenset(
    {
        "invalid_client", "invalid_grant", "invalid_request", "invalid_scope", "unauthorized_client",
        "unsupported_grant_type", "redirect_uri_mismatch", "invalid_target", "server_error", "temporarily_unavailable",
        "consumer_key_unknown", "consumer_key_rejected", "signature_invalid", "signature_method_rejected",
        "timestamp_refused", "nonce_used", "token_rejected", "permission_denied",
    }
)  # fmt: skip
"""What a server may call its refusal in a report: words of the RFCs. Other text of an endpoint is never shown."""


def start_test(
    provider: Provider,
    *,
    user: AbstractBaseUser,
    session_auth_hash: str,
    site_url: str,
    next_url: str,
    parameters: Mapping[str, str] | None = None,
) -> StartedAuthorization | None:
    """Start a test of ``provider``, enabled or not, by ``user``; the callback leads to ``next_url`` whatever comes out.

    None if it has failed at the start: the report says why. Raises :class:`AuthorizationError` (``too_many_starts``).
    The caller has made sure that the user may test.
    """
    owner_model, owner_id = owner_key(user)
    state, browser = Secret(secrets.token_urlsafe(32)), Secret(secrets.token_urlsafe(32))
    request = AuthorizationRequest(
        id=uuid.uuid4(),
        state_hash=hash_secret(state),
        browser_hash=hash_secret(browser),
        provider=provider,
        user_id=user.pk,
        session_auth_hash=hash_session(session_auth_hash),
        owner_model=owner_model,
        owner_id=owner_id,
        requested_scopes=scopes_to_ask(provider, None, None),
        parameters=dict(parameters or {}),
        next_url=safe_next_url(next_url),
        report=[{"step": "start", "code": ""}],
    )
    try:
        if provider.paused:
            raise AuthorizationError(f"{provider} is paused.", code="paused", hint="Resume it first.")
        request.redirect_uri = redirect_uri(provider, site_url=site_url)
        checked_parameters(provider, request.parameters)
        request.configuration_fingerprint = provider.fingerprint(request.parameters)
        registration = provider.registration(request.parameters)
        asked = asking(registration, details=None, reconnect=None, extends=False)
        return begin(request, asked, state, browser)
    except OAuthFlowsError as error:
        if error.code == "too_many_starts":
            raise
        _keep_failed(request, error)
        return None


def last_test(provider: Provider, user: AbstractBaseUser) -> AuthorizationRequest | None:
    """Return the newest test of ``provider`` by ``user`` that is still remembered, with its ``report``."""
    rows = AuthorizationRequest.objects.filter(user_id=user.pk, provider=provider, report__isnull=False)
    return rows.order_by("-created_at").first()


def finish_test(request: AuthorizationRequest, provider_slug: str, params: Params, *, user: AbstractBaseUser) -> None:
    """Go on with a test that has come back, to its end or the first step that fails; note what came out. Never raises
    for the provider's sake.
    """
    report = _Report(list(request.report or ()))
    granted = _Granted(request, user)
    try:
        with suppress(OAuthFlowsError):
            _rehearse(request, report, granted, provider_slug, params, user=user)
    finally:
        if granted.grant is not None:
            report.note("return", outcome=granted.give_back())
        failed = next((step["code"] for step in report.steps if step["code"]), "")
        rows = AuthorizationRequest.objects.using(router.db_for_write(AuthorizationRequest)).filter(pk=request.pk)
        rows.update(report=report.steps, outcome=AuthorizationRequest.Outcome.TESTED, failure=failed)


def _rehearse(
    request: AuthorizationRequest,
    report: _Report,
    granted: _Granted,
    provider_slug: str,
    params: Params,
    *,
    user: AbstractBaseUser,
) -> None:
    with report.step("answer"):
        response = _hurried(checked_answer(request, provider_slug, params, user=user))
    registration, began = response.pending.registration, time.monotonic()
    with report.step("tokens") as facts:
        tokens = flow_for(registration).exchange(response)
        granted.grant = Grant.of(tokens, kept=registration.dialect.kept_token_fields, callback=response.extra)
        facts["expires_in"] = granted.grant.expires_in
    with report.step("id_token") as facts:
        claims = verify_login(response, tokens, request, elapsed=time.monotonic() - began)
        granted.grant = with_lifetime(request.provider, remember_login(granted.grant, claims), registration)
        facts["present"] = bool(claims)
    scopes = request.requested_scopes if granted.grant.scopes is None else granted.grant.scopes
    missing = [scope for scope in request.requested_scopes if scope not in scopes]
    # Before the account is asked for: that may take one of the scopes that are missing.
    report.note("scopes", code="missing_scopes" if missing else "", missing=missing, granted=list(scopes))
    registration = replace(registration, kept=as_variables(granted.grant.extra))
    with report.step("account") as facts:
        identity = flow_for(registration).identify(granted.grant.credentials, tokens.extra, claims)
        granted.identity = identity
        facts |= {"subject": (identity.subject or "")[:255], "label": identity.label[:255]}
    _refresh(registration, report, granted)


def _refresh(registration: ClientRegistration, report: _Report, granted: _Granted) -> None:
    """Refresh once, if there is something to refresh with: the fleet will have to."""
    flow, grant = flow_for(registration), granted.grant
    if grant is None or grant.refresh_token is None or not isinstance(flow, OAuth2Flow):
        report.note("refresh", present=False, lasting=not isinstance(flow, OAuth2Flow))
        return
    with report.step("refresh") as facts:
        facts["present"] = True
        fresh: TokenResponse = flow.refresh(grant.refresh_token, dpop_key=grant.dpop_key)
        facts["rotated"] = fresh.refresh_token is not None and fresh.refresh_token != grant.refresh_token
        granted.grant = replace(
            grant, access_token=fresh.access_token, refresh_token=fresh.refresh_token or grant.refresh_token
        )


class _Report:
    """The steps of a test so far."""

    def __init__(self, steps: list[dict[str, Any]]) -> None:
        self.steps = steps

    def note(self, step: str, *, code: str = "", **facts: Any) -> None:
        """Add a step that is done."""
        self.steps.append({"step": step, "code": code, **facts})

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Add the step with the facts that the block finds out, or with why it has failed."""
        facts: dict[str, Any] = {}
        try:
            yield facts
        except OAuthFlowsError as error:
            self.note(name, **_cause(error))
            raise
        self.note(name, **facts)


class _Granted:
    """What the service has granted during a test, to be given back."""

    def __init__(self, request: AuthorizationRequest, user: AbstractBaseUser) -> None:
        self._request, self._user = request, user
        self.grant: Grant | None = None
        self.identity = Identity()

    def give_back(self) -> str:
        """Revoke it where that hurts nobody; return the ``Revocation.Outcome``."""
        assert self.grant is not None  # noqa: S101 - the caller has looked
        holding = holding_of(self._request, self.identity, user=self._user)
        minted = (holding.client_id, holding.configuration_fingerprint)
        noted = discard(holding.connection(), self.grant, client_id=minted[0], fingerprint=minted[1])
        if noted is None:
            return Revocation.Outcome.FAILED
        noted.refresh_from_db(fields=["outcome"])
        return noted.outcome


def _hurried(response: AuthorizationResponse) -> AuthorizationResponse:
    registration = response.pending.registration
    hurried = registration.within(min(registration.transport.deadline, DEADLINE))
    return replace(response, pending=replace(response.pending, registration=hurried))


def _cause(error: OAuthFlowsError) -> dict[str, str]:
    """Return what a report says of a failure: codes, and of others' words only what the browser has carried here."""
    said = error.error if isinstance(error, TokenEndpointError) and error.error in NAMED else ""
    text = error.provider_text if isinstance(error, AuthorizationError) else ""
    return {"code": error.code, "suspect": error.suspect, "error": said, "text": text}


def _keep_failed(request: AuthorizationRequest, error: OAuthFlowsError) -> None:
    """Remember a test that has not got as far as the browser."""
    request.report = [{"step": "start", **_cause(error)}]
    for name in DANCE_SECRETS:
        setattr(request, name, None)
    request.outcome, request.failure = AuthorizationRequest.Outcome.TESTED, error.code
    request.taken_at = request.expires_at = DatabaseNow()
    request.save(force_insert=True, using=router.db_for_write(AuthorizationRequest))
