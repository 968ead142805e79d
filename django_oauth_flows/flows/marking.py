"""Mark what a refresh has shown: a connection that needs its user, one that has recovered, a provider that refuses us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import router

from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.durable import SAVE_LOCK_TIMEOUT, committing
from django_oauth_flows.flows.history import announce, logger, record
from django_oauth_flows.models import Connection, ConnectionEvent, Provider
from django_oauth_flows.signals import connection_needs_reauthorization, connection_recovered, connection_refreshed

if TYPE_CHECKING:
    from django_oauth_flows.flows.lease import Lease
    from django_oauth_flows.flows.snapshot import Snapshot
    from django_oauth_flows.flows.values import Grant

Status = Connection.Status


def needs_reauthorization(snapshot: Snapshot, reason: Connection.Reason, *, lease: Lease | None = None) -> None:
    """Mark the connection, once; with ``lease``, only if its row has not moved on. Tokens stay."""
    connection = snapshot.connection
    alias = lease.alias if lease is not None else router.db_for_write(Connection)
    with committing(alias, lock_timeout=SAVE_LOCK_TIMEOUT):
        if lease is not None and not lease.end(failure=reason):
            return
        active = Connection.objects.using(alias).filter(pk=connection.pk, status=Status.ACTIVE)
        if not active.update(status=Status.REAUTHORIZATION_REQUIRED, reason=reason):
            return
        connection.status, connection.reason = Status.REAUTHORIZATION_REQUIRED, reason
        if reason == Connection.Reason.UNDECRYPTABLE:
            # A key was lost, or somebody has moved or altered rows: staff must look at once.
            facts = {"provider": str(connection.provider_id), "connection": str(connection.pk)}
            logger.critical("oauth_flows.decrypt_failed", extra=facts)
        record(ConnectionEvent.Kind.NEEDS_REAUTHORIZATION, connection, outcome=reason, using=alias)
        announce(connection_needs_reauthorization, connection, reason=str(reason), using=alias)


def mark_refreshed(lease: Lease, grant: Grant) -> None:
    """Announce a stored refresh, and clear every mark that an earlier failure left."""
    connection, provider, alias = lease.snapshot.connection, lease.snapshot.provider, lease.alias
    rows = Connection.objects.using(alias).filter(pk=connection.pk)
    if grant.scopes is not None and grant.scopes != connection.granted_scopes:
        rows.update(granted_scopes=grant.scopes)
        connection.granted_scopes = grant.scopes
    if connection.status == Status.REAUTHORIZATION_REQUIRED and rows.filter(status=connection.status).update(
        status=Status.ACTIVE, reason=""
    ):
        connection.status, connection.reason = Status.ACTIVE, ""
        record(ConnectionEvent.Kind.RECOVERED, connection, using=alias)
        announce(connection_recovered, connection, using=alias)
    if provider.alarm:
        Provider.objects.using(alias).filter(pk=provider.pk).update(alarm="", alarm_at=None)
    announce(connection_refreshed, connection, using=alias)


def raise_alarm(provider: Provider, *, code: str, using: str) -> None:
    """Tell staff, on the provider's row, that the provider refuses our client; no connection is marked."""
    if provider.alarm != code:
        Provider.objects.using(using).filter(pk=provider.pk).update(alarm=code, alarm_at=DatabaseNow())
        logger.error("oauth_flows.client_refused", extra={"provider": str(provider.pk), "code": code})
