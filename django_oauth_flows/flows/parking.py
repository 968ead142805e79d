"""Park a grant that needs the user's yes: another account than before, or one that somebody else has connected."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, cast

from django.db import router, transaction
from django.urls import reverse

from django_oauth_flows.exceptions import AuthorizationError, DecryptionError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.binding import browser_cookie, check_binding, check_standing
from django_oauth_flows.flows.revoking import discard
from django_oauth_flows.flows.storing import Holding, holding_of, neighbours, store
from django_oauth_flows.flows.values import (
    AUTHORIZATION_LIFETIME,
    Completion,
    CompletionKind,
    Grant,
    ParkedAuthorization,
)
from django_oauth_flows.models import AuthorizationRequest, ConnectionEvent, Provider

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

    from django_oauth_flows.protocol.messages import Identity
    from django_oauth_flows.protocol.secret import Secret

Outcome = AuthorizationRequest.Outcome


def park(
    request: AuthorizationRequest, holding: Holding, grant: Grant, browser: Secret, *, kind: CompletionKind
) -> Completion:
    """Keep the grant, sealed, for ten minutes; nothing of the existing connections changes."""
    sealed = request.seal("parked_grant", grant.to_parked(holding.identity))
    AuthorizationRequest.objects.filter(pk=request.pk).update(
        outcome=Outcome.PARKED,
        failure=kind,
        parked_grant=sealed,
        parked_until=DatabaseNow() + timedelta(seconds=AUTHORIZATION_LIFETIME),
    )
    cookie = browser_cookie(request.pk, browser, path=reverse("oauth_flows:parked", args=[request.pk]))
    return Completion(kind, request.pk, request.reconnects, request.next_url, cookie)


def parked(
    request_id: UUID, *, user: AbstractBaseUser | AnonymousUser, session_auth_hash: str, cookies: Mapping[str, str]
) -> ParkedAuthorization:
    """Return what waits for the user's answer.

    Raises :class:`AuthorizationError`: ``state_unknown`` (nothing waits, or no longer), ``session_mismatch``,
    ``user_mismatch``, ``provider_changed``, ``not_allowed``.
    """
    request = _waiting(request_id, user=user, session_auth_hash=session_auth_hash, cookies=cookies)
    check_standing(request, user=cast("AbstractBaseUser", user))  # the binding has refused anonymous users
    _, identity = _open(request)
    return ParkedAuthorization(
        kind=request.failure,  # type: ignore[arg-type]
        request_id=request.pk,
        provider=request.provider,
        connection=request.reconnects,
        label=identity.label or identity.subject or "",
        expires_at=request.parked_until,  # type: ignore[arg-type]
    )


def adopt_parked(
    request_id: UUID, *, user: AbstractBaseUser, session_auth_hash: str, cookies: Mapping[str, str]
) -> Completion:
    """Store the parked grant as a connection of its own; raises as :func:`parked` does."""
    request = _waiting(request_id, user=user, session_auth_hash=session_auth_hash, cookies=cookies)
    check_standing(request, user=user)
    grant, identity = _open(request)
    holding = holding_of(request, identity, user=user)
    met = neighbours(holding)
    if met.shared and holding.provider.unique_subject:
        raise AuthorizationError("Another user of this site has already connected this account.", code="account_in_use")
    kind = ConnectionEvent.Kind.SHARED if met.shared else ConnectionEvent.Kind.AUTHORIZED
    # Together or not at all: a grant that could not be stored goes on waiting.
    with transaction.atomic(using=router.db_for_write(AuthorizationRequest)):
        if not _claim(request, Outcome.CONNECTED):
            raise _gone()
        connection = store(holding, grant, mine=met.mine, kind=kind)
    return Completion("connected", request.pk, connection, request.next_url)


def drop_parked(
    request_id: UUID, *, user: AbstractBaseUser, session_auth_hash: str, cookies: Mapping[str, str]
) -> None:
    """Give the parked grant back: it is revoked where that hurts nobody. Raises as :func:`parked` does."""
    _drop(_waiting(request_id, user=user, session_auth_hash=session_auth_hash, cookies=cookies))


def drop_expired_parked(*, limit: int = 100) -> int:
    """Give back the parked grants that nobody answered for, at most ``limit``; return how many."""
    waiting = AuthorizationRequest.objects.select_related("provider", "user").annotate(now=DatabaseNow())
    expired = waiting.filter(outcome=Outcome.PARKED, parked_until__lte=DatabaseNow())
    return sum(_drop(request) for request in expired[:limit])


def drop_parked_of(provider: Provider, *, seconds: float = 5) -> int:
    """Give back the grants of ``provider`` that wait for an answer, as many as fit into ``seconds``; return how many."""
    until = monotonic() + seconds
    waiting = AuthorizationRequest.objects.select_related("provider", "user").annotate(now=DatabaseNow())
    rows = waiting.filter(outcome=Outcome.PARKED, provider=provider)
    return sum(_drop(request) for request in rows if monotonic() < until)


def _drop(request: AuthorizationRequest) -> bool:
    if not _claim(request, Outcome.DROPPED):
        return False
    try:
        grant, identity = _open(request)
    except DecryptionError:
        return True
    holding = holding_of(request, identity, user=request.user)
    discard(holding.connection(), grant, client_id=holding.client_id, fingerprint=holding.configuration_fingerprint)
    return True


def _waiting(
    request_id: UUID, *, user: AbstractBaseUser | AnonymousUser, session_auth_hash: str, cookies: Mapping[str, str]
) -> AuthorizationRequest:
    waiting = AuthorizationRequest.objects.select_related("provider", "reconnects").annotate(now=DatabaseNow())
    request = waiting.filter(pk=request_id, outcome=Outcome.PARKED, parked_until__gt=DatabaseNow()).first()
    if request is None:
        raise _gone()
    check_binding(request, user=user, session_auth_hash=session_auth_hash, cookies=cookies)
    return request


def _claim(request: AuthorizationRequest, outcome: AuthorizationRequest.Outcome) -> bool:
    """End the waiting; one caller wins. The sealed grant stays on the winner's instance only."""
    waiting = AuthorizationRequest.objects.filter(pk=request.pk, outcome=Outcome.PARKED)
    return bool(waiting.update(outcome=outcome, parked_grant=None))


def _open(request: AuthorizationRequest) -> tuple[Grant, Identity]:
    sealed = request.open("parked_grant")
    if sealed is None:
        raise _gone()
    return Grant.from_parked(sealed)


def _gone() -> AuthorizationError:
    return AuthorizationError("Nothing waits for your answer here, or no longer.", code="state_unknown")
