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
from django_oauth_flows.flows.holding import Holding, holding_of, neighbours
from django_oauth_flows.flows.locking import hold, hold_row
from django_oauth_flows.flows.revoking import discard
from django_oauth_flows.flows.storing import store
from django_oauth_flows.flows.values import (
    AUTHORIZATION_LIFETIME,
    Completion,
    CompletionKind,
    Grant,
    ParkedAuthorization,
)
from django_oauth_flows.models import AuthorizationRequest, Connection, ConnectionEvent, Provider

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.db.models import Q, QuerySet

    from django_oauth_flows.protocol.messages import Identity
    from django_oauth_flows.protocol.secret import Secret

Outcome = AuthorizationRequest.Outcome

LATEST_DROP = timedelta(days=1)
"""How long an expired grant that no key opens is kept for its key to come back."""


def park(
    request: AuthorizationRequest, holding: Holding, grant: Grant, browser: Secret, *, kind: CompletionKind
) -> Completion:
    """Keep the grant, sealed, for ten minutes; nothing of the existing connections changes."""
    sealed, alias = request.seal("parked_grant", grant.to_parked(holding.identity)), router.db_for_write(Connection)
    with transaction.atomic(using=alias):
        # Whoever is deleting one of them gives back what is parked by now, and would miss what is parked later.
        held = [hold_row(row, alias=alias) for row in (request.reconnects, holding.user) if row is not None]
        waits = AuthorizationRequest.objects.filter(pk=request.pk).update(
            outcome=Outcome.PARKED,
            failure=kind,
            parked_grant=sealed,
            parked_until=DatabaseNow() + timedelta(seconds=AUTHORIZATION_LIFETIME),
        )
        if not (waits and all(held)):
            raise _gone()  # with its user, or with the connection that it was for
    request.failure = kind
    return question(request, browser)


def question(request: AuthorizationRequest, browser: Secret) -> Completion:
    """Return what leads the browser that started ``request`` to the parked page."""
    kind: CompletionKind = request.failure  # type: ignore[assignment]
    cookie = browser_cookie(request.pk, browser, path=reverse("oauth_flows:parked", args=[request.pk]))
    return Completion(kind, request.pk, request.reconnects, request.next_url, cookie)


def is_waiting(request: AuthorizationRequest) -> bool:
    """Tell whether the grant still waits for an answer; ``request`` was read with the database's ``now``."""
    now: datetime = request.now  # type: ignore[attr-defined]
    return request.outcome == Outcome.PARKED and request.parked_until is not None and request.parked_until > now


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
    """Store the parked grant as a connection of its own; a second yes is answered with ``already_connected``.

    Raises as :func:`parked` does, and :class:`AuthorizationError` (``account_in_use``).
    """
    if (adopted := _adopted(request_id, user)) is not None:
        return adopted
    request = _waiting(request_id, user=user, session_auth_hash=session_auth_hash, cookies=cookies)
    check_standing(request, user=user)
    grant, identity = _open(request)
    holding = holding_of(request, identity, user=user)
    met = neighbours(holding)
    kind = ConnectionEvent.Kind.SHARED if met.shared else ConnectionEvent.Kind.AUTHORIZED
    # Together or not at all: a grant that could not be stored goes on waiting.
    with transaction.atomic(using=router.db_for_write(AuthorizationRequest)):
        if met.mine is not None:  # the connection's row first: so does whoever deletes its owner
            hold(Connection.objects.using(router.db_for_write(Connection)).filter(pk=met.mine.pk))
        claimed = _claim(request, Outcome.CONNECTED)
        connection = store(holding, grant, mine=met.mine, kind=kind) if claimed else None
    if connection is not None:
        return Completion("connected", request.pk, connection, request.next_url)
    if (adopted := _adopted(request_id, user)) is not None:
        return adopted
    raise _gone()


def drop_parked(
    request_id: UUID, *, user: AbstractBaseUser, session_auth_hash: str, cookies: Mapping[str, str]
) -> None:
    """Give the parked grant back: it is revoked where that hurts nobody. Raises as :func:`parked` does."""
    _drop(_waiting(request_id, user=user, session_auth_hash=session_auth_hash, cookies=cookies))


def drop_expired_parked(*, limit: int = 100) -> int:
    """Give back the parked grants that nobody answered for, at most ``limit``; return how many."""
    expired = _rows().select_related("user").filter(outcome=Outcome.PARKED, parked_until__lte=DatabaseNow())
    return sum(_drop(request) for request in expired.order_by("-parked_until")[:limit])


def drop_parked_of(provider: Provider, *, seconds: float = 5) -> int:
    """Give back the grants of ``provider`` that wait for an answer, as many as fit into ``seconds``; return how many."""
    until = monotonic() + seconds
    waiting = _rows().filter(outcome=Outcome.PARKED, provider=provider)
    return sum(_drop(request) for request in waiting if monotonic() < until)


def drop_parked_with(deleted: Q) -> None:
    """Give back what waits for an answer and would go with a user, an owner or a connection that is being deleted."""
    for request in _rows().select_related("user").filter(deleted, outcome=Outcome.PARKED):
        _drop(request)


def _drop(request: AuthorizationRequest) -> bool:
    try:
        grant, identity = _open(request)
    except DecryptionError:
        return _leave_closed(request)
    holding = holding_of(request, identity, user=request.user)
    # Together or not at all: between the two, the grant would be known to nobody.
    with transaction.atomic(using=router.db_for_write(AuthorizationRequest)):
        claimed = _claim(request, Outcome.DROPPED)
        if claimed:
            discard(
                holding.connection(),
                grant,
                client_id=holding.client_id,
                fingerprint=holding.configuration_fingerprint,
            )
    return claimed


def _leave_closed(request: AuthorizationRequest) -> bool:
    """End the waiting of a grant that does not open. Its key may come back; after a day it is forgotten."""
    now: datetime = request.now  # type: ignore[attr-defined]
    if request.parked_until is not None and now - request.parked_until > LATEST_DROP:
        return _claim(request, Outcome.DROPPED)
    _rows().filter(pk=request.pk, parked_until__gt=DatabaseNow()).update(parked_until=DatabaseNow())
    return False


def _waiting(
    request_id: UUID, *, user: AbstractBaseUser | AnonymousUser, session_auth_hash: str, cookies: Mapping[str, str]
) -> AuthorizationRequest:
    request = _rows().filter(pk=request_id).first()
    if request is None or not is_waiting(request):
        raise _gone()
    check_binding(request, user=user, session_auth_hash=session_auth_hash, cookies=cookies)
    return request


def _adopted(request_id: UUID, user: AbstractBaseUser) -> Completion | None:
    """Return the truth for the second click of a double one: this user's grant has been stored."""
    adopted = _rows().filter(pk=request_id, user_id=user.pk, outcome=Outcome.CONNECTED).first()
    if adopted is None:
        return None
    return Completion("already_connected", adopted.pk, adopted.connection, adopted.next_url)


def _rows() -> QuerySet[AuthorizationRequest]:
    rows = AuthorizationRequest.objects.using(router.db_for_write(AuthorizationRequest))
    return rows.select_related("provider", "reconnects").annotate(now=DatabaseNow())


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
