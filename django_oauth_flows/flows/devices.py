"""Connect by a code that the user enters on another device: start, ask again and again, cancel. RFC 8628.

Whoever looks at the page asks the provider, at most once in its interval: by the database's clock, so that ten tabs and
five workers are one poller. Nothing runs in the background.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

from django.db import router
from django.urls import reverse

from django_oauth_flows.exceptions import (
    AuthorizationError,
    ConfigurationError,
    OAuthFlowsError,
    OutcomeUnknown,
    ProviderUnreachable,
    TokenEndpointError,
)
from django_oauth_flows.failpoints import Failpoint, reach
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.binding import browser_cookie, check_binding, check_standing
from django_oauth_flows.flows.completing import ended_on_error, fail, repeat, repeatable, settle
from django_oauth_flows.flows.either_secret import with_either_secret
from django_oauth_flows.flows.holding import holding_of
from django_oauth_flows.flows.revoking import discard
from django_oauth_flows.flows.speaking import asking
from django_oauth_flows.flows.starting import described, make_room
from django_oauth_flows.flows.values import Completion, Grant, PendingDevice, StartedDevice
from django_oauth_flows.models import AuthorizationRequest, Provider
from django_oauth_flows.models.discovered_metadata import object_in
from django_oauth_flows.protocol.authorization import CANCELLED
from django_oauth_flows.protocol.device import LONGEST_INTERVAL, SLOW_DOWN, approved
from django_oauth_flows.protocol.dpop import new_key
from django_oauth_flows.protocol.flow import flow_for
from django_oauth_flows.protocol.messages import Identity
from django_oauth_flows.protocol.oauth2 import OAuth2Flow
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.db.models import Model

    from django_oauth_flows.models import Connection
    from django_oauth_flows.protocol.device import DeviceAuthorization
    from django_oauth_flows.protocol.messages import ClientRegistration, TokenResponse

POLL_DEADLINE = 10.0
"""Seconds that one poll may take, with either secret: somebody waits for the page."""

DECLINED = CANCELLED | {"authorization_declined"}  # Microsoft's word
EXPIRED = frozenset({"expired_token", "code_expired"})
SPENT = EXPIRED | {"invalid_grant"}
"""What a server may say of a device code whose tokens it has given out before."""


def start_device_authorization(
    provider: Provider,
    *,
    user: AbstractBaseUser,
    session_auth_hash: str,
    owner: Model | None = None,
    scopes: Iterable[str] | None = None,
    reconnect: Connection | None = None,
    parameters: Mapping[str, str] | None = None,
    next_url: str = "",
) -> StartedDevice:
    """Ask ``provider`` for a code that ``user`` enters there, on any device; the parameters are :func:`start_authorization`'s.

    Raises what that raises, :class:`ConfigurationError` (``device_flow_unsupported``) for a provider without the endpoint,
    and :class:`TokenEndpointError` (``device_authorization_failed``). RFC 8628 §3.1.
    """
    if not provider.device_authorization_endpoint or provider.protocol != Provider.Protocol.OAUTH2:
        raise ConfigurationError(
            f"{provider} gives out no codes to be entered on another device.",
            code="device_flow_unsupported",
            hint="Connect in this browser, or enter the service's device authorization endpoint in the provider's row.",
        )
    request, _state, browser = described(
        provider,
        user=user,
        session_auth_hash=session_auth_hash,
        owner=owner,
        scopes=scopes,
        reconnect=reconnect,
        parameters=parameters,
        next_url=next_url,
    )
    make_room(user.pk, provider)  # before the provider is asked for anything
    began = time.monotonic()
    registration = provider.registration(request.parameters)
    asked = asking(registration, details=None, reconnect=reconnect, extends=False)
    answer = with_either_secret(
        provider, asked, lambda client: _flow(client).authorize_device(scopes=request.requested_scopes)
    )
    request.seal("dpop_key", new_key() if registration.dpop_bound_access_tokens else None)
    _remember(request, answer, elapsed=time.monotonic() - began)
    path = reverse("oauth_flows:device", args=[request.pk])
    cookie = replace(browser_cookie(request.pk, browser, path=path), max_age=answer.expires_in)
    return StartedDevice(_shown(_find(request.pk)), cookie)


def poll_device_authorization(
    request_id: UUID, *, user: AbstractBaseUser | AnonymousUser, session_auth_hash: str, cookies: Mapping[str, str]
) -> PendingDevice | Completion:
    """Ask the provider whether the user has entered the code, unless it was asked a moment ago; return how it stands.

    Raises :class:`AuthorizationError`: ``state_unknown``, ``session_mismatch``, ``user_mismatch``, ``access_denied``,
    ``device_code_expired``, ``provider_changed``, ``not_allowed``, and :class:`TokenEndpointError` for an answer that ends
    it. A provider that cannot be reached is asked again later. RFC 8628 §3.4 and §3.5.
    """
    request = _find(request_id)
    with repeatable(request, user):
        browser = check_binding(request, user=user, session_auth_hash=session_auth_hash, cookies=cookies)
        if not _is_over(request) and _claim(request):
            # The binding has refused anonymous users.
            member = cast("AbstractBaseUser", user)
            began = time.monotonic()
            if (tokens := _asked(request, user=member)) is not None:
                return _completed(request, tokens, user=member, browser=browser, began=began)
        request = _find(request_id)
        if _is_over(request):
            return _end_of(request, user=user, session_auth_hash=session_auth_hash, cookies=cookies)
        return _shown(request)


def cancel_device_authorization(
    request_id: UUID, *, user: AbstractBaseUser | AnonymousUser, session_auth_hash: str, cookies: Mapping[str, str]
) -> None:
    """Wait no longer; tokens that arrive all the same are given back.

    Raises :class:`AuthorizationError`: ``state_unknown``, ``session_mismatch``, ``user_mismatch``.
    """
    request = _find(request_id)
    check_binding(request, user=user, session_auth_hash=session_auth_hash, cookies=cookies)
    if AuthorizationRequest.objects.take(request):
        fail(request, code="access_denied")


def _remember(request: AuthorizationRequest, answer: DeviceAuthorization, *, elapsed: float) -> None:
    request.seal("device_authorization", Secret(json.dumps(_sealed(answer))))
    request.poll_interval = answer.interval
    request.next_poll_at = DatabaseNow() + timedelta(seconds=answer.interval)
    # Counted from when it was asked for: the server's clock began somewhere on the way.
    request.expires_at = DatabaseNow() + timedelta(seconds=max(0.0, answer.expires_in - elapsed))
    request.save(force_insert=True)


def _sealed(answer: DeviceAuthorization) -> dict[str, str]:
    return {
        "device_code": answer.device_code.reveal(),
        "user_code": answer.user_code,
        "verification_uri": answer.verification_uri,
        "verification_uri_complete": answer.verification_uri_complete,
    }


def _opened(request: AuthorizationRequest) -> dict[str, str]:
    sealed = request.open("device_authorization")
    if sealed is None:
        raise _unknown()
    opened: dict[str, str] = json.loads(sealed.reveal())
    return opened


def _shown(request: AuthorizationRequest) -> PendingDevice:
    said, now = _opened(request), _now(request)
    until = request.next_poll_at or now
    return PendingDevice(
        request_id=request.pk,
        provider=request.provider,
        connection=request.reconnects,
        user_code=said["user_code"],
        verification_uri=said["verification_uri"],
        verification_uri_complete=said["verification_uri_complete"],
        expires_at=request.expires_at,
        wait=max(1, min(math.ceil((until - now).total_seconds()), request.poll_interval or 1)),
    )


def _claim(request: AuthorizationRequest) -> bool:
    """Take this interval's one poll: one conditional UPDATE that one caller wins, and nobody else until it has ended."""
    due = AuthorizationRequest.objects.filter(
        pk=request.pk,
        taken_at=None,
        outcome="",
        expires_at__gt=DatabaseNow(),
        next_poll_at__lte=DatabaseNow(),
        poll_interval=request.poll_interval,
    )
    exchanges = 2 if object_in(request.provider.dialect, "second_exchange") else 1  # each has its own time
    longest = timedelta(seconds=(request.poll_interval or 0) + POLL_DEADLINE * exchanges)
    return bool(due.update(next_poll_at=DatabaseNow() + longest))


def _asked(request: AuthorizationRequest, *, user: AbstractBaseUser) -> TokenResponse | None:
    """Ask once; None if it is to be asked again, later. What ends the waiting is noted, and raised."""
    try:
        check_standing(request, user=user)
        registration = request.provider.registration(request.parameters)
        device_code, dpop_key = Secret(_opened(request)["device_code"]), request.open("dpop_key")
        return with_either_secret(
            request.provider,
            registration.within(min(POLL_DEADLINE, registration.transport.deadline)),
            lambda client: _flow(client).device_tokens(device_code, dpop_key=dpop_key),
        )
    except TokenEndpointError as error:
        if _put_off(request, error):
            return None
        reason = _reason(request, error)
        _end(request, code=reason.code)
        raise reason from None
    except OAuthFlowsError as error:
        _end(request, code=error.code)
        raise


def _put_off(request: AuthorizationRequest, error: TokenEndpointError) -> bool:
    """Tell whether it is to be asked again, and when: at the same pace, slower for good, or slower after a silence."""
    interval, lost = request.poll_interval or 0, request.failure
    if error.error == "slow_down":
        interval += SLOW_DOWN
    elif isinstance(error, ProviderUnreachable):
        interval = max(interval, min(2 * interval, LONGEST_INTERVAL))
        if isinstance(error, OutcomeUnknown):
            lost = error.code  # the answer may have been the tokens: they are given out once
    elif error.error != "authorization_pending":
        return False
    wait = timedelta(seconds=max(interval, error.retry_after or 0))
    waiting = AuthorizationRequest.objects.filter(pk=request.pk, taken_at=None, outcome="")
    waiting.update(poll_interval=interval, next_poll_at=DatabaseNow() + wait, failure=lost)
    return True


def _reason(request: AuthorizationRequest, error: TokenEndpointError) -> OAuthFlowsError:
    """Return what an answer means that ends the waiting."""
    if error.error in DECLINED:
        return AuthorizationError(
            "The user did not give their consent.", code="access_denied", provider_text=error.provider_text
        )
    if error.error in SPENT and request.failure == OutcomeUnknown.default_code:
        return OutcomeUnknown("The service has given out the tokens before, and its answer was lost.")
    return _expired() if error.error in EXPIRED else error


def _completed(
    request: AuthorizationRequest, tokens: TokenResponse, *, user: AbstractBaseUser, browser: Secret, began: float
) -> Completion:
    """Keep what the poll has brought, as a callback's is kept; give it back if the user has cancelled meanwhile."""
    registration = request.provider.registration(request.parameters)
    device_code = Secret(_opened(request)["device_code"])
    response = approved(registration, device_code, request.requested_scopes)
    reach(Failpoint.CODE_EXCHANGED)
    if not AuthorizationRequest.objects.take(request):
        holding = holding_of(request, Identity(), user=user)
        fingerprint = holding.configuration_fingerprint
        discard(holding.connection(), Grant.of(tokens), client_id=holding.client_id, fingerprint=fingerprint)
        raise _ending(_find(request.pk).failure)
    with ended_on_error(request):
        return settle(request, response, tokens, user=user, browser=browser, began=began)


def _is_over(request: AuthorizationRequest) -> bool:
    return request.taken_at is not None or bool(request.outcome) or request.expires_at <= _now(request)


def _end_of(
    request: AuthorizationRequest,
    *,
    user: AbstractBaseUser | AnonymousUser,
    session_auth_hash: str,
    cookies: Mapping[str, str],
) -> Completion:
    """Answer truly for what has ended: by this poller's neighbour in another tab, or by itself."""
    if request.taken_at is None or request.outcome == AuthorizationRequest.Outcome.FAILED:
        raise _ending(request.failure)
    return repeat(request, user=user, session_auth_hash=session_auth_hash, cookies=cookies)


def _end(request: AuthorizationRequest, *, code: str) -> None:
    AuthorizationRequest.objects.take(request)
    fail(request, code=code)


def _ending(failure: str) -> AuthorizationError:
    """Return the error of a request that has failed before, or of one whose time is over."""
    if failure == "access_denied":
        return AuthorizationError("The user did not give their consent.", code=failure)
    if failure in ("", _expired().code):
        return _expired()
    return AuthorizationError("The account could not be connected.", code=failure)


def _expired() -> AuthorizationError:
    return AuthorizationError("The code was not entered in time.", code="device_code_expired")


def _unknown() -> AuthorizationError:
    return AuthorizationError("Nothing waits for your code here, or no longer.", code="state_unknown")


def _flow(registration: ClientRegistration) -> OAuth2Flow:
    flow = flow_for(registration)
    if not isinstance(flow, OAuth2Flow):
        raise ConfigurationError("Only OAuth 2 has codes for other devices.", code="provider_misconfigured")
    return flow


def _find(request_id: UUID) -> AuthorizationRequest:
    rows = AuthorizationRequest.objects.using(router.db_for_write(AuthorizationRequest))
    found = rows.select_related("provider", "reconnects").annotate(now=DatabaseNow())
    request = found.filter(pk=request_id, poll_interval__isnull=False).first()
    if request is None:
        raise _unknown()
    return request


def _now(request: AuthorizationRequest) -> datetime:
    now: datetime = request.now  # type: ignore[attr-defined]
    return now
