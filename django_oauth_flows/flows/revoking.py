"""Disconnect: at once here, then at the provider, without hurting a bystander.

Locally the token row goes, and its secrets move, resealed, to a ``Revocation``, which is worked off after the commit.
Revoking at some servers ends the user's whole grant; there nothing is revoked that another live connection stands on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING

from django.db import Error, router, transaction

from django_oauth_flows.exceptions import DecryptionError, OAuthFlowsError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.history import announce, logger, record
from django_oauth_flows.flows.locking import locked
from django_oauth_flows.flows.revocations import revoke_at_provider, take_secret, work_off
from django_oauth_flows.flows.sharing import hold_grant, is_shared
from django_oauth_flows.flows.values import SECRETS
from django_oauth_flows.models import Connection, ConnectionEvent, Provider, Revocation, Token
from django_oauth_flows.signals import connection_revoked

if TYPE_CHECKING:
    import uuid

    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.db.models import QuerySet

    from django_oauth_flows.flows.values import Grant
    from django_oauth_flows.protocol.secret import Secret

MOST_AT_ONCE = 1000
"""How many connections one call of :func:`revoke_all` ends at most."""

_SILENT = ("provider_unreachable", "outcome_unknown")

Secrets = Mapping[str, "Secret | None"]
"""Plaintext by column name; opened only when it is certain that it may be sent."""


def revoke(connection: Connection, *, actor: AbstractBaseUser | AnonymousUser | None = None) -> str:
    """Disconnect ``connection`` and revoke its tokens at the provider; return the ``Revocation.Outcome`` so far.

    The local effect is immediate, whatever the provider does; repeating it is harmless. ``pending``: the provider could
    not be reached, its row or a key has to be mended first, or the caller's transaction has to commit; the rest is done
    later. RFC 7009.
    """
    alias = router.db_for_write(Connection)
    rows = Connection.objects.using(alias).select_related("provider").filter(pk=connection.pk)
    if (present := rows.first()) is not None:
        with transaction.atomic(using=alias):
            _disconnect(present, actor=actor)
    connection.status, connection.reason = Connection.Status.REVOKED, ""
    if present is None:  # deleted: its revocations know it no more
        return str(Revocation.Outcome.REVOKED)
    told = Revocation.objects.using(router.db_for_write(Revocation)).filter(connection_id=connection.pk)
    outcome = told.order_by("-created_at").values_list("outcome", flat=True).first()
    return str(outcome or Revocation.Outcome.REVOKED)


def revoke_all(
    connections: QuerySet[Connection],
    *,
    actor: AbstractBaseUser | AnonymousUser | None = None,
    seconds: float = 10,
) -> list[tuple[Connection, str]]:
    """Disconnect the live ones among ``connections``, then revoke at the providers what fits into ``seconds``.

    Return each with its ``Revocation.Outcome`` so far. A provider that did not answer is not asked again by this call;
    what stays ``pending`` is done later. Connections for which there was no time, or that are beyond a thousand, are not
    in the list and stay as they are. Call it outside of a transaction.
    """
    until = monotonic() + seconds
    ended: list[tuple[Connection, Revocation | None]] = []
    live = connections.select_related("provider").exclude(status=Connection.Status.REVOKED)
    for connection in live[:MOST_AT_ONCE]:
        if monotonic() > until:
            break
        with transaction.atomic(using=router.db_for_write(Connection)):
            ended.append((connection, _disconnect(connection, actor=actor, at_once=False)))
    _work_off_until(until, [revocation for _, revocation in ended if revocation is not None])
    return [(connection, row.outcome if row else Revocation.Outcome.REVOKED) for connection, row in ended]


def supersede(old: Token, grant: Grant, *, keeps_refresh_token: bool) -> None:
    """Deal with the tokens that ``grant`` has just replaced, inside the same transaction."""
    # Some servers answer a second consent with the very same token: revoking that would end the new grant.
    kept = {grant.access_token, grant.refresh_token}

    def secrets() -> Secrets:
        opened = {name: old.open(name) for name in SECRETS if not (keeps_refresh_token and name == "refresh_token")}
        return {name: secret for name, secret in opened.items() if secret not in kept}

    allowed = old.connection.provider.revocation_effect == Provider.RevocationEffect.TOKEN
    _queue(old.connection, secrets, allowed=allowed, reason=Revocation.Reason.SUPERSEDED, minted=_minted(old))


def discard(
    connection: Connection,
    grant: Grant,
    *,
    client_id: str,
    fingerprint: str,
    kept: Collection[Secret | None] = (),
    using: str | None = None,
) -> Revocation | None:
    """Revoke a grant that reached us and is not kept, where that hurts nobody; never raise for the provider's sake.

    Return the row under which it is noted, None if there is none.

    ``connection`` need not be saved: it says whose grant it would have been. ``kept``: secrets that go on being used.
    ``using``: the database alias on which it is noted and worked off, where that must outlive the caller's transaction.
    """

    def secrets() -> Secrets:
        tokens = {name: secret for name in SECRETS if (secret := getattr(grant, name)) not in kept}
        return {**tokens, "dpop_key": grant.dpop_key}  # which a token that goes on may share

    minted, reason = (client_id, fingerprint), Revocation.Reason.DISCARDED
    try:
        allowed = not is_shared(connection)
        return _queue(connection, secrets, allowed=allowed, reason=reason, minted=minted, using=using)
    except (Error, OAuthFlowsError):
        # Without a database nobody can tell who shares the grant: only a token that stands alone may be revoked now.
        if connection.provider.revocation_effect == Provider.RevocationEffect.TOKEN:
            try:
                revoke_at_provider(connection.provider, connection.parameters, secrets())
            except OAuthFlowsError as error:
                logger.warning("oauth_flows.orphan_not_revoked", extra={"code": error.code})
        return None


def end_for_deletion(connection: Connection) -> None:
    """Queue the revocation of a connection whose row is being deleted, in that transaction."""
    present, shared = hold_grant(connection, deleting=True)
    if present is not None:
        _take_token(present, allowed=not shared, reason=Revocation.Reason.DELETED)


def _work_off_until(until: float, rows: Iterable[Revocation]) -> None:
    silent: set[uuid.UUID] = set()
    for row in rows:
        if row.outcome != Revocation.Outcome.PENDING or row.provider_id in silent or monotonic() > until:
            continue
        if work_off(row) == Revocation.Outcome.PENDING:
            silent.add(row.provider_id)


def _disconnect(
    connection: Connection, *, actor: AbstractBaseUser | AnonymousUser | None, at_once: bool = True
) -> Revocation | None:
    present, shared = hold_grant(connection)
    if present is None:
        return None
    was_live = present.status != Connection.Status.REVOKED
    if was_live:
        present.status, present.reason = Connection.Status.REVOKED, ""
        rows = Connection.objects.filter(pk=present.pk)
        rows.update(status=present.status, reason=present.reason, revoked_at=DatabaseNow())
    revocation = _take_token(present, allowed=not shared, reason=Revocation.Reason.DISCONNECTED, at_once=at_once)
    if was_live:
        outcome = revocation.outcome if revocation is not None else ""
        record(ConnectionEvent.Kind.REVOKED, present, actor=actor, outcome=outcome)
        announce(connection_revoked, present, reason="disconnected")
    return revocation


def _take_token(
    connection: Connection, *, allowed: bool, reason: Revocation.Reason, at_once: bool = True
) -> Revocation | None:
    """Delete the token row of a connection that is held, and queue its secrets; a refresh in flight loses."""
    token = locked(_token_of(connection)).first()
    if token is None:
        return None
    token.connection = connection
    _token_of(connection).delete()

    def secrets() -> Secrets:
        return {name: take_secret(token, name) for name in SECRETS}

    minted = _minted(token)
    return _queue(connection, secrets, allowed=allowed, reason=reason, minted=minted, at_once=at_once)


def _token_of(connection: Connection) -> QuerySet[Token]:
    return Token.objects.using(router.db_for_write(Token)).filter(connection_id=connection.pk)


def _queue(
    connection: Connection,
    secrets: Callable[[], Secrets],
    *,
    allowed: bool,
    reason: Revocation.Reason,
    minted: tuple[str, str],
    at_once: bool = True,
    using: str | None = None,
) -> Revocation:
    """Write the revocation row; if it may be sent, seal the secrets into it and, ``at_once``, work it off after the commit."""
    is_kept = not connection._state.adding and reason != Revocation.Reason.DELETED
    row = Revocation(
        provider=connection.provider,
        connection=connection if is_kept else None,
        owner_model=connection.owner_model,
        owner_id=connection.owner_id,
        subject=connection.subject,
        parameters=connection.parameters,
        client_id=minted[0],
        configuration_fingerprint=minted[1],
        reason=reason,
    )
    alias = using or router.db_for_write(Revocation)
    if not allowed:
        return _saved_as(row, Revocation.Outcome.NOT_REVOKED_SHARED, using=alias)
    try:
        opened = secrets()
    except DecryptionError as error:
        row.last_failure = error.code
        return _saved_as(row, Revocation.Outcome.FAILED, using=alias)
    for name, secret in opened.items():
        row.seal(name, secret)
    row.save(force_insert=True, using=alias)
    if at_once:
        transaction.on_commit(lambda: _work_off_at_once(row, using=alias), using=alias, robust=True)
    return row


def _work_off_at_once(row: Revocation, *, using: str) -> None:
    """Work it off, unless its provider has just been silent: many at once would wait for it one after the other."""
    rows = Revocation.objects.using(using).filter(provider_id=row.provider_id, outcome=Revocation.Outcome.PENDING)
    if not rows.filter(last_failure__in=_SILENT, next_attempt_at__gt=DatabaseNow()).exists():
        work_off(row, using=using)


def _saved_as(row: Revocation, outcome: Revocation.Outcome, *, using: str) -> Revocation:
    row.outcome, row.finished_at = outcome, DatabaseNow()
    row.save(force_insert=True, using=using)
    return row


def _minted(token: Token) -> tuple[str, str]:
    return token.client_id, token.configuration_fingerprint
