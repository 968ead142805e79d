"""Complete: check every binding before the code goes anywhere, exchange it once, store the grant."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

from django.db import Error, router

from django_oauth_flows.exceptions import Attempt, AuthorizationError, OAuthFlowsError
from django_oauth_flows.failpoints import Failpoint, reach
from django_oauth_flows.flows.binding import check_binding
from django_oauth_flows.flows.checking import checked_answer
from django_oauth_flows.flows.confirming import remember_login, verify_login
from django_oauth_flows.flows.holding import Holding, holding_of, neighbours
from django_oauth_flows.flows.introspecting import with_lifetime
from django_oauth_flows.flows.parking import is_waiting, park, question
from django_oauth_flows.flows.revoking import discard
from django_oauth_flows.flows.storing import store, store_new
from django_oauth_flows.flows.values import Completion, Grant
from django_oauth_flows.models import AuthorizationRequest, Connection, ConnectionEvent
from django_oauth_flows.protocol.authorization import read_state
from django_oauth_flows.protocol.flow import flow_for
from django_oauth_flows.protocol.kept import as_variables
from django_oauth_flows.protocol.messages import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.db.models import QuerySet

    from django_oauth_flows.protocol.messages import (
        AuthorizationResponse,
        Params,
        TokenCredentials,
        TokenResponse,
    )
    from django_oauth_flows.protocol.secret import Secret

Outcome = AuthorizationRequest.Outcome


def complete_authorization(
    provider_slug: str,
    params: Params,
    *,
    user: AbstractBaseUser | AnonymousUser,
    session_auth_hash: str,
    cookies: Mapping[str, str],
) -> Completion:
    """Complete the authorization that these callback parameters answer.

    Raises :class:`AuthorizationError` with a stable code for every reason not to: nothing has been sent then, and a
    request that fails the user or browser binding stays usable by those who started it. Raises
    :class:`TokenEndpointError` if the provider refused or could not be understood. RFC 6749 §4.1.2, RFC 9207, RFC 5849 §2.2.
    """
    state = read_state(params)
    request = _find(state)
    with repeatable(request, user):
        if request.taken_at is None:
            browser = check_binding(request, user=user, session_auth_hash=session_auth_hash, cookies=cookies)
            if AuthorizationRequest.objects.take(request):
                # The binding has refused anonymous users.
                return _complete(request, provider_slug, params, user=cast("AbstractBaseUser", user), browser=browser)
            request = _find(state)
        return repeat(request, user=user, session_auth_hash=session_auth_hash, cookies=cookies)


@contextmanager
def repeatable(request: AuthorizationRequest, user: AbstractBaseUser | AnonymousUser) -> Iterator[None]:
    """Tell the user who started ``request``, and nobody else, what to start once more if it fails."""
    try:
        yield
    except OAuthFlowsError as error:
        if user.is_authenticated and user.pk == request.user_id:
            error.attempt = Attempt(
                provider_slug=request.provider.slug,
                scopes=request.requested_scopes,
                next_url=request.next_url,
                owner_model=request.owner_model,
                owner_id=request.owner_id,
                parameters=request.parameters,
                is_reconnect=request.reconnects_id is not None,
            )
        raise


def _complete(
    request: AuthorizationRequest,
    provider_slug: str,
    params: Params,
    *,
    user: AbstractBaseUser,
    browser: Secret,
) -> Completion:
    """Complete what this caller has taken, and whatever happens, note how it ended."""
    with ended_on_error(request):
        if request.report is not None:
            from django_oauth_flows.flows.rehearsing import finish_test  # staff's tests are rare

            finish_test(request, provider_slug, params, user=user)
            return Completion("tested", request.pk, None, request.next_url)
        return _exchange(request, provider_slug, params, user=user, browser=browser)


@contextmanager
def ended_on_error(request: AuthorizationRequest) -> Iterator[None]:
    """Note on a request that was taken with which code it has failed."""
    try:
        yield
    except OAuthFlowsError as error:
        fail(request, code=error.code)
        raise
    except Exception:
        fail(request, code="internal_error")
        raise


def _exchange(
    request: AuthorizationRequest,
    provider_slug: str,
    params: Params,
    *,
    user: AbstractBaseUser,
    browser: Secret,
) -> Completion:
    response = checked_answer(request, provider_slug, params, user=user)
    registration = response.pending.registration
    began = time.monotonic()
    tokens = flow_for(registration).exchange(response)
    reach(Failpoint.CODE_EXCHANGED)
    return settle(request, response, tokens, user=user, browser=browser, began=began)


def settle(
    request: AuthorizationRequest,
    response: AuthorizationResponse,
    tokens: TokenResponse | TokenCredentials,
    *,
    user: AbstractBaseUser,
    browser: Secret,
    began: float,
) -> Completion:
    """Find out whose the new grant is, and keep it; give it back if that fails. ``began``: monotonic, when it was asked for."""
    registration = response.pending.registration
    grant = Grant.of(tokens, kept=registration.dialect.kept_members, callback=response.extra)
    holding = holding_of(request, Identity(), user=user)
    try:
        claims = verify_login(response, tokens, request, elapsed=time.monotonic() - began)
        grant = with_lifetime(request.provider, remember_login(grant, claims), registration)
        flow = flow_for(replace(registration, kept=as_variables(grant.extra)))
        identity = flow.identify(grant.credentials, tokens.extra, claims)
        holding = holding_of(request, identity, user=user)
        return _keep(request, holding, grant, browser)
    except Exception:
        # The grant exists at the provider and will not exist here: half a connection is worse than none.
        if not _is_kept(request):
            minted = (holding.client_id, holding.configuration_fingerprint)
            discard(holding.connection(), grant, client_id=minted[0], fingerprint=minted[1])
        raise


def _keep(request: AuthorizationRequest, holding: Holding, grant: Grant, browser: Secret) -> Completion:
    """Store the grant, or park it when the user has to be asked first."""
    request.reconnects = _reconnected(request)
    if request.reconnects is None and (connection := store_new(holding, grant, request)) is not None:
        return Completion("connected", request.pk, connection, request.next_url)
    met = neighbours(holding, reconnects=request.reconnects)
    if _is_other_account(request.reconnects, holding.identity):
        return park(request, holding, grant, browser, kind="different_account")
    if met.shared and met.mine is None:
        return park(request, holding, grant, browser, kind="account_shared")
    kind = ConnectionEvent.Kind.AUTHORIZED if met.mine is None else ConnectionEvent.Kind.REAUTHORIZED
    connection = store(holding, grant, mine=met.mine, kind=kind)
    return Completion("connected", request.pk, connection, request.next_url)


def _is_kept(request: AuthorizationRequest) -> bool:
    """Tell whether the grant is in the database although something failed: a hook of the site's, after the commit."""
    try:
        return _row(request).filter(outcome__in=(Outcome.CONNECTED, Outcome.PARKED)).exists()
    except Error:
        return False


def _reconnected(request: AuthorizationRequest) -> Connection | None:
    if request.reconnects_id is None:
        return None
    present = Connection.objects.using(router.db_for_write(Connection)).filter(pk=request.reconnects_id).first()
    if present is None:
        raise AuthorizationError("This connection was deleted meanwhile.", code="not_allowed")
    return present


def _row(request: AuthorizationRequest) -> QuerySet[AuthorizationRequest]:
    return AuthorizationRequest.objects.using(router.db_for_write(AuthorizationRequest)).filter(pk=request.pk)


def _find(state: Secret) -> AuthorizationRequest:
    request = AuthorizationRequest.objects.find(state)
    if request is None:
        raise AuthorizationError(
            "This authorization is not known here, or was cleaned up long ago.", code="state_unknown"
        )
    return request


def repeat(
    request: AuthorizationRequest,
    *,
    user: AbstractBaseUser | AnonymousUser,
    session_auth_hash: str,
    cookies: Mapping[str, str],
) -> Completion:
    """Answer truly for a request that was taken before, or in time: a reload, the back button, a parallel replay."""
    if request.taken_at is None:
        raise AuthorizationError("This authorization took too long.", code="state_expired")
    if user.is_authenticated and user.pk == request.user_id:
        if request.outcome in (Outcome.CONNECTED, Outcome.TESTED):
            return Completion("already_connected", request.pk, request.connection, request.next_url)
        if is_waiting(request):
            return question(
                request, check_binding(request, user=user, session_auth_hash=session_auth_hash, cookies=cookies)
            )
        if not request.outcome and _is_being_completed(request):
            return Completion("in_progress", request.pk)
    raise AuthorizationError("This authorization has already been used.", code="state_used")


def _is_being_completed(request: AuthorizationRequest) -> bool:
    """Tell whether whoever took the request can still be at it; a process that died leaves no outcome."""
    now: datetime = request.now  # type: ignore[attr-defined]
    # Exchange, keys and identity are three protocol requests.
    return request.taken_at is not None and now - request.taken_at < 3 * timedelta(
        seconds=request.provider.request_deadline
    )


def _is_other_account(reconnects: Connection | None, identity: Identity) -> bool:
    if reconnects is None or reconnects.subject is None:
        return False
    return bool(identity.subject != reconnects.subject)


def fail(request: AuthorizationRequest, *, code: str) -> None:
    """Close the request, unless its grant was kept; the error that brought us here matters more than one of this."""
    try:
        _row(request).filter(outcome="").update(outcome=Outcome.FAILED, failure=code)
    except Error:
        return
