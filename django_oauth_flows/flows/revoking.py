"""Disconnect: at once here, then at the provider, without hurting a bystander.

Locally the token row goes, and its secrets move, resealed, to a ``Revocation``, which is worked off after the commit.
Revoking at some servers ends the user's whole grant; there nothing is revoked that another live connection stands on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING

from django.db import DatabaseError, router, transaction
from django.db.models import Q

from django_oauth_flows.exceptions import DecryptionError, OAuthFlowsError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.history import announce, logger, record
from django_oauth_flows.flows.revocations import SECRETS, revoke_at_provider, work_off
from django_oauth_flows.models import Connection, ConnectionEvent, Provider, Revocation, Token
from django_oauth_flows.models.connection import digest_parameters
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

Secrets = Mapping[str, "Secret | None"]
"""Plaintext by column name; opened only when it is certain that it may be sent."""


def revoke(connection: Connection, *, actor: AbstractBaseUser | AnonymousUser | None = None) -> str:
    """Disconnect ``connection`` and revoke its tokens at the provider; return the ``Revocation.Outcome`` so far.

    The local effect is immediate, whatever the provider does; repeating it is harmless. ``pending``: the provider could
    not be reached, or the caller's transaction has to commit first; the rest is done later. RFC 7009.
    """
    with transaction.atomic(using=router.db_for_write(Connection)):
        _disconnect(connection, actor=actor)
    outcome = connection.revocations.order_by("-created_at").values_list("outcome", flat=True).first()
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


def shares_grant(connections: Iterable[Connection]) -> set[uuid.UUID]:
    """Return the ids of those whose grant another live connection shares, so that disconnecting will not revoke it.

    One query, however many connections; each must have its provider loaded.
    """
    asked = [c for c in connections if c.provider.revocation_effect != Provider.RevocationEffect.TOKEN]
    if not asked:
        return set()
    live = Connection.objects.exclude(status=Connection.Status.REVOKED)
    subjects = Q(subject__in={c.subject for c in asked if c.subject is not None}) | Q(subject=None)
    rows = list(live.filter(subjects, provider__in={c.provider_id for c in asked}))
    return {c.pk for c in asked if any(row.pk != c.pk and _grant_key(row) == _grant_key(c) for row in rows)}


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
    connection: Connection, grant: Grant, *, client_id: str, fingerprint: str, using: str | None = None
) -> None:
    """Revoke a grant that reached us and is not kept, where that hurts nobody; never raise for the provider's sake.

    ``connection`` need not be saved: it says whose grant it would have been. ``using``: the database alias on which it
    is noted and worked off, where that must outlive the caller's transaction.
    """

    def secrets() -> Secrets:
        return {name: getattr(grant, name) for name in SECRETS}

    minted, reason = (client_id, fingerprint), Revocation.Reason.DISCARDED
    try:
        _queue(connection, secrets, allowed=not _shares(connection), reason=reason, minted=minted, using=using)
    except DatabaseError:
        # Without a database nobody can tell who shares the grant: only a token that stands alone may be revoked now.
        if connection.provider.revocation_effect == Provider.RevocationEffect.TOKEN:
            try:
                revoke_at_provider(connection.provider, connection.parameters, secrets())
            except OAuthFlowsError as error:
                logger.warning("oauth_flows.orphan_not_revoked", extra={"code": error.code})


def end_for_deletion(connection: Connection) -> None:
    """Queue the revocation of a connection whose owner is being deleted, in that transaction, and delete its row."""
    _take_token(connection, reason=Revocation.Reason.DELETED)
    connection.delete()


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
    live = Connection.objects.filter(pk=connection.pk).exclude(status=Connection.Status.REVOKED)
    changed = live.update(status=Connection.Status.REVOKED, reason="", revoked_at=DatabaseNow())
    connection.status, connection.reason = Connection.Status.REVOKED, ""
    revocation = _take_token(connection, reason=Revocation.Reason.DISCONNECTED, at_once=at_once)
    if changed:
        outcome = revocation.outcome if revocation is not None else ""
        record(ConnectionEvent.Kind.REVOKED, connection, actor=actor, outcome=outcome)
        announce(connection_revoked, connection, reason="disconnected")
    return revocation


def _take_token(connection: Connection, *, reason: Revocation.Reason, at_once: bool = True) -> Revocation | None:
    """Delete the token row and queue its secrets; if a refresh changed the row meanwhile, take the newer ones."""
    rows = Token.objects.select_related("connection__provider").filter(connection_id=connection.pk)
    while (token := rows.first()) is not None:
        if Token.objects.filter(pk=token.pk, generation=token.generation).delete()[0]:
            return _queue_token(token, reason=reason, at_once=at_once)
    return None


def _queue_token(token: Token, *, reason: Revocation.Reason, at_once: bool) -> Revocation:
    def secrets() -> Secrets:
        return {name: token.open(name) for name in SECRETS}

    allowed = not _shares(token.connection)
    minted = _minted(token)
    return _queue(token.connection, secrets, allowed=allowed, reason=reason, minted=minted, at_once=at_once)


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
    row = Revocation(
        provider=connection.provider,
        connection=None if connection._state.adding else connection,
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
        transaction.on_commit(lambda: work_off(row, using=alias), using=alias, robust=True)
    return row


def _saved_as(row: Revocation, outcome: Revocation.Outcome, *, using: str) -> Revocation:
    row.outcome, row.finished_at = outcome, DatabaseNow()
    row.save(force_insert=True, using=using)
    return row


def _shares(connection: Connection) -> bool:
    """Tell whether revoking ``connection``'s tokens could end another live connection."""
    return bool(shares_grant([connection]))


def _grant_key(connection: Connection) -> tuple[object, ...]:
    """Return what two connections have in common if they may stand on one grant.

    Where the provider names no account, only connections of the same owner are taken to be the same account.
    """
    account = (connection.owner_model, connection.owner_id) if connection.subject is None else (connection.subject,)
    return (connection.provider_id, digest_parameters(connection.parameters), *account)


def _minted(token: Token) -> tuple[str, str]:
    return token.client_id, token.configuration_fingerprint
