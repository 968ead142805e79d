"""Mark what a refresh has shown: a connection that needs its user, one that has recovered, a provider that refuses us."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import F

from django_oauth_flows.exceptions import CannotPersist
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows import circuit
from django_oauth_flows.flows.durable import harmless_alias, noted
from django_oauth_flows.flows.history import announce, logger, record
from django_oauth_flows.flows.lease import free
from django_oauth_flows.models import Connection, ConnectionEvent, Provider, Token
from django_oauth_flows.signals import connection_needs_reauthorization, connection_recovered, connection_refreshed

if TYPE_CHECKING:
    from django_oauth_flows.flows.lease import Lease
    from django_oauth_flows.flows.snapshot import Snapshot
    from django_oauth_flows.flows.values import Grant

Status = Connection.Status


def needs_reauthorization(snapshot: Snapshot, reason: Connection.Reason, *, lease: Lease | None = None) -> None:
    """Mark the connection, once, and only while its token is the one that was judged. Tokens stay.

    A mark that cannot be written is no error: whoever looks next sees the same, with ``lease`` after a back-off.
    """
    if lease is not None:
        if not noted(lease.alias, lambda: _mark(snapshot, reason, using=lease.alias, lease=lease)):
            lease.release(failure=reason, answered=reason != Connection.Reason.OUTCOME_UNKNOWN)
        return
    with suppress(CannotPersist), harmless_alias(snapshot.token.pk) as alias:
        noted(alias, lambda: _mark(snapshot, reason, using=alias))


def _mark(snapshot: Snapshot, reason: Connection.Reason, *, using: str, lease: Lease | None = None) -> None:
    # The connection's row first, as everywhere: with the token's first, a disconnect and we would wait for each other.
    connection = snapshot.connection
    active = Connection.objects.using(using).filter(pk=connection.pk, status=Status.ACTIVE)
    marked = active.update(status=Status.REAUTHORIZATION_REQUIRED, reason=reason)
    if not (_nobody_at_it(snapshot.token, using=using) if lease is None else lease.end(failure=reason)):
        transaction.set_rollback(True, using=using)
    elif marked:
        connection.status, connection.reason = Status.REAUTHORIZATION_REQUIRED, reason
        if reason == Connection.Reason.UNDECRYPTABLE:
            # A key was lost, or somebody has moved or altered rows: staff must look at once.
            facts = {"provider": str(connection.provider_id), "connection": str(connection.pk)}
            logger.critical("oauth_flows.decrypt_failed", extra=facts)
        record(ConnectionEvent.Kind.NEEDS_REAUTHORIZATION, connection, outcome=reason, using=using)
        announce(connection_needs_reauthorization, connection, reason=str(reason), using=using)


def mark_refreshed(lease: Lease, grant: Grant) -> None:
    """Announce a stored refresh, and clear every mark that an earlier failure left.

    What cannot be noted is no error: the token is stored, and the next refresh sees the same marks.
    """
    after, using = lease.snapshot, lease.alias
    connection, provider = after.connection, after.provider
    changes: dict[str, Any] = {}
    if grant.scopes is not None and grant.scopes != connection.granted_scopes:
        changes["granted_scopes"] = grant.scopes
    if connection.status == Status.REAUTHORIZATION_REQUIRED:
        changes |= {"status": Status.ACTIVE, "reason": ""}
    if changes:
        noted(using, lambda: _change(after, changes, using=using))
    if provider.alarm:
        row = Provider.objects.using(using).filter(pk=provider.pk)
        noted(using, lambda: row.update(alarm="", alarm_at=None))
    circuit.close(provider, using=using)
    announce(connection_refreshed, connection, using=using)


def _change(after: Snapshot, changes: dict[str, Any], *, using: str) -> None:
    """Write what a refresh has changed, unless a newer grant is stored meanwhile; the connection's row first."""
    connection = after.connection
    changed = Connection.objects.using(using).filter(pk=connection.pk, status=connection.status).update(**changes)
    if not _unchanged(after.token, using=using):
        transaction.set_rollback(True, using=using)
    elif changed:
        for name, value in changes.items():
            setattr(connection, name, value)
        if "status" in changes:
            record(ConnectionEvent.Kind.RECOVERED, connection, using=using)
            announce(connection_recovered, connection, using=using)


def _nobody_at_it(token: Token, *, using: str) -> bool:
    """Tell whether nobody is refreshing this generation, and let nobody begin before our commit: he would not see it."""
    row = Token.objects.using(using).filter(free(force=True), pk=token.pk, generation=token.generation)
    return bool(row.update(generation=F("generation")))


def _unchanged(token: Token, *, using: str) -> bool:
    return Token.objects.using(using).filter(pk=token.pk, generation=token.generation).exists()


def raise_alarm(provider: Provider, *, code: str, using: str) -> None:
    """Tell staff, on the provider's row, that the provider refuses our client; no connection is marked."""
    if provider.alarm != code:
        rows = Provider.objects.using(using).filter(pk=provider.pk)
        noted(using, lambda: rows.update(alarm=code, alarm_at=DatabaseNow()))
        logger.error("oauth_flows.client_refused", extra={"provider": str(provider.pk), "code": code})
