"""Store a grant: one Connection and its Token, created or replaced as a whole."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import DatabaseError, IntegrityError, router, transaction
from django.db.models import F

from django_oauth_flows.exceptions import AuthorizationError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.freshness import moments
from django_oauth_flows.flows.history import RECORD, announce, event, record
from django_oauth_flows.flows.holding import IS_PRESENT, Holding, neighbours
from django_oauth_flows.flows.locking import hold, hold_row, locked
from django_oauth_flows.flows.outbox import DELIVERY, delivery_of
from django_oauth_flows.flows.revoking import supersede
from django_oauth_flows.models import (
    AuthorizationRequest,
    Connection,
    ConnectionEvent,
    Provider,
    Token,
    WebhookDelivery,
)
from django_oauth_flows.models.connection import digest_parameters
from django_oauth_flows.models.token import AT_REST
from django_oauth_flows.signals import connection_authorized
from django_oauth_flows.statements import AtOnce, Insert, Slot, Update

if TYPE_CHECKING:
    from datetime import datetime

    from django_oauth_flows.flows.values import Grant


_CONNECTION, _TOKEN = Insert[Connection](), Insert[Token]()
_CONNECTED = Update(
    lambda: (
        AuthorizationRequest.objects.filter(pk=Slot("id")),
        {"outcome": AuthorizationRequest.Outcome.CONNECTED, "connection_id": Slot("connection_id")},
    )
)


def store(holding: Holding, grant: Grant, *, mine: Connection | None, kind: ConnectionEvent.Kind) -> Connection:
    """Create the connection, or replace ``mine``'s grant, in one transaction; announce it after the commit.

    A concurrent creation of the same account is met by replacing what the other one stored, a concurrent deletion by
    creating it anew. Raises :class:`AuthorizationError` (``account_in_use``, ``not_allowed``) for what another owner was
    faster to have, and for a reconnect of what is no longer there.
    """
    try:
        return _store(holding, grant, mine=mine, kind=kind)
    except IntegrityError:
        if mine is not None or holding.identity.subject is None:
            raise
    except DatabaseError:
        if mine is None or Connection.objects.using(router.db_for_write(Connection)).filter(pk=mine.pk).exists():
            raise
        if holding.request is not None and holding.request.reconnects_id is not None:
            raise AuthorizationError("This connection was deleted meanwhile.", code="not_allowed") from None
    mine = neighbours(holding).mine
    if mine is None and kind == ConnectionEvent.Kind.REAUTHORIZED:
        kind = ConnectionEvent.Kind.AUTHORIZED
    return _store(holding, grant, mine=mine, kind=kind)


def store_new(holding: Holding, grant: Grant, request: AuthorizationRequest) -> Connection | None:
    """Store the grant of a dance as a new connection in one statement; announce it.

    None, and nothing has happened, if anybody has the account already, or the database or the moment allows no such
    statement: then it takes :func:`neighbours` and :func:`store`.
    """
    alone = holding.is_kept_by_reference and not holding.provider.unique_subject
    if not alone or not AtOnce.is_possible(*_STORED):
        return None
    using = router.db_for_write(Connection)
    connection = holding.connection()
    _describe(connection, holding, grant)
    kind = ConnectionEvent.Kind.AUTHORIZED
    at_once = AtOnce(using=using)
    at_once.insert(_CONNECTION, connection)
    at_once.insert(_TOKEN, _new_token(connection, holding, grant))
    happened = event(kind, connection, actor=holding.actor, correlation_id=holding.correlation_id)
    at_once.insert(RECORD, happened)
    if (delivery := delivery_of(happened, connection)) is not None:
        at_once.insert(DELIVERY, delivery)
    at_once.update(_CONNECTED, id=request.pk, connection_id=connection.pk)
    known = holding.identity.subject is not None
    try:
        done = at_once.run(unless=IS_PRESENT.bound(using=using, **holding.account) if known else None)
    except IntegrityError:
        return None
    if done:
        announce(connection_authorized, connection, created=True)
    return connection if done else None


_STORED = (Connection, Token, ConnectionEvent, AuthorizationRequest, WebhookDelivery)


def _store(holding: Holding, grant: Grant, *, mine: Connection | None, kind: ConnectionEvent.Kind) -> Connection:
    alias = router.db_for_write(Connection)
    with transaction.atomic(using=alias):
        connection = mine if mine is not None else holding.connection()
        _describe(connection, holding, grant)
        if mine is None:
            _stay_unique(holding, alias=alias)
            _CONNECTION.run(connection)
        else:
            connection.save(using=alias, update_fields=_DESCRIBED)
            _stay_unique(holding, alias=alias)
        _hold_owner(holding, alias=alias)
        _store_token(connection, holding, grant, replaces=mine is not None)
        record(kind, connection, actor=holding.actor, correlation_id=holding.correlation_id)
        if holding.request is not None:
            using = router.db_for_write(AuthorizationRequest)
            _CONNECTED.run(using=using, id=holding.request.pk, connection_id=connection.pk)
        announce(connection_authorized, connection, created=mine is None)
    return connection


def _hold_owner(holding: Holding, *, alias: str) -> None:
    """Make sure that the owner is there until the commit; whoever deletes it then finds what is stored here."""
    if holding.owner_model and not holding.is_kept_by_reference:
        owner = apps.get_model(holding.owner_model)(pk=holding.owner_id)
        if not hold_row(owner, alias=alias):
            raise AuthorizationError("The owner of this connection no longer exists.", code="not_allowed")


def _stay_unique(holding: Holding, *, alias: str) -> None:
    """Where an account may have one owner, look again, one at a time: of two at once, the later finds the earlier's row."""
    if holding.provider.unique_subject:
        hold(Provider.objects.using(alias).filter(pk=holding.provider.pk))
        neighbours(holding)


_DESCRIBED = (
    "user",
    "grant_type",
    "subject",
    "label",
    "requested_scopes",
    "granted_scopes",
    "parameters",
    "parameters_digest",
    "status",
    "reason",
    "language",
    "authorized_at",
    "revoked_at",
    "updated_at",
)
"""What a new grant says of a connection. Not whose it is, nor whether it is paused: others may have decided that just now."""


def _describe(connection: Connection, holding: Holding, grant: Grant) -> None:
    connection.provider = holding.provider
    connection.user_id = holding.user.pk if holding.user is not None else None
    connection.grant_type = holding.grant_type
    if holding.identity.subject is not None:
        connection.subject = holding.identity.subject
    if not connection.is_label_own:
        connection.label = holding.identity.label[:255] or connection.label
    connection.requested_scopes = holding.requested_scopes
    connection.granted_scopes = holding.requested_scopes if grant.scopes is None else grant.scopes
    connection.parameters = dict(holding.parameters)
    connection.parameters_digest = digest_parameters(holding.parameters)
    connection.status, connection.reason = Connection.Status.ACTIVE, ""
    connection.language = holding.language or connection.language
    connection.authorized_at, connection.revoked_at = holding.requested_at, None


def _store_token(connection: Connection, holding: Holding, grant: Grant, *, replaces: bool) -> None:
    """Write the new tokens over the old ones; a refresh in flight loses to this newer grant."""
    old = _present_token(connection, holding) if replaces else None
    if old is None:
        if replaces:
            connection.refresh_from_db(using=router.db_for_write(Connection), fields=["owner_model", "owner_id"])
            _check_owner(connection, holding)
        _TOKEN.run(_new_token(connection, holding, grant))
        return
    keeps_refresh_token = _keeps_refresh_token(old, holding, grant)
    successor = Token(id=old.pk, connection=connection)
    new = _columns(successor, holding, grant, renewable=bool(grant.refresh_token) or keeps_refresh_token)
    if keeps_refresh_token:
        del new["refresh_token"], new["refresh_token_expires_at"]
    Token.objects.filter(pk=old.pk).update(**new, generation=F("generation") + 1)
    supersede(old, grant, keeps_refresh_token=keeps_refresh_token)


def _new_token(connection: Connection, holding: Holding, grant: Grant) -> Token:
    token = Token(id=uuid.uuid4(), connection=connection, provider_id=connection.provider_id)
    for name, value in _columns(token, holding, grant, renewable=bool(grant.refresh_token)).items():
        setattr(token, name, value)
    return token


def _present_token(connection: Connection, holding: Holding) -> Token | None:
    """Return the connection's token, held until the commit as the connection is; make sure whose it is."""
    rows = Token.objects.using(router.db_for_write(Token)).select_related("connection")
    token = locked(rows.filter(connection_id=connection.pk)).first()
    if token is None:
        return None
    _check_owner(token.connection, holding)
    token.connection = connection
    return token


def _check_owner(present: Connection, holding: Holding) -> None:
    """Raise :class:`AuthorizationError` unless the connection, which is held, is still its owner's."""
    if (present.owner_model, present.owner_id) != (holding.owner_model, holding.owner_id):
        raise AuthorizationError("This connection was given to another owner meanwhile.", code="not_allowed")


def _keeps_refresh_token(old: Token, holding: Holding, grant: Grant) -> bool:
    """Tell whether the old refresh token goes on: many servers send one only with the first consent (RFC 6749 §6)."""
    same_grantor = (old.client_id, old.configuration_fingerprint) == (
        holding.client_id,
        holding.configuration_fingerprint,
    )
    goes_on = old.refresh_token is not None and grant.refresh_token is None and grant.token_secret is None
    # A public client's is bound to the old key, which goes (RFC 9449 §5).
    is_bound = old.dpop_key is not None and holding.provider.token_endpoint_auth_method == Provider.AuthMethod.NONE
    return goes_on and same_grantor and not is_bound


def _columns(token: Token, holding: Holding, grant: Grant, *, renewable: bool) -> dict[str, Any]:
    """Return every column of a freshly granted token, sealed for ``token``'s row, its machinery at rest."""
    now = holding.requested_at
    expires_at, dies_at, next_refresh_at = moments(
        holding.provider,
        expires_in=grant.expires_in,
        refresh_token_expires_in=grant.refresh_token_expires_in,
        now=now,
        authorized_at=now,
        renewable=renewable,
    )
    return {
        "access_token": token.seal("access_token", grant.access_token),
        "token_secret": token.seal("token_secret", grant.token_secret),
        "refresh_token": token.seal("refresh_token", grant.refresh_token),
        "dpop_key": token.seal("dpop_key", grant.dpop_key),
        "token_type": grant.token_type,
        "extra": dict(grant.extra),
        "client_id": holding.client_id,
        "configuration_fingerprint": holding.configuration_fingerprint,
        "issued_at": now,
        "expires_at": expires_at,
        "refresh_token_expires_at": dies_at if grant.refresh_token else None,
        "next_refresh_at": next_refresh_at if renewable else None,
        "last_refreshed_at": None,
        **AT_REST,
    }


def database_now(provider: Provider) -> datetime:
    """Ask the database for its present time."""
    rows = Provider.objects.using(router.db_for_write(Provider)).filter(pk=provider.pk)
    now: datetime = rows.values_list(DatabaseNow(), flat=True).get()
    return now
