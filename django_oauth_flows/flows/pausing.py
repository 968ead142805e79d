"""Pause and resume: what the owner of a connection decides about it without the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import router, transaction

from django_oauth_flows.exceptions import Disconnected
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.history import record
from django_oauth_flows.flows.locking import hold
from django_oauth_flows.models import Connection, ConnectionEvent, Token

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

PUT_OFF_BECAUSE = "connection_paused"
"""The code of what is refused while a connection is paused; a sweep that has met one leaves it on the token's row."""


def pause(connection: Connection, *, actor: AbstractBaseUser | AnonymousUser | None = None) -> bool:
    """Let ``connection`` rest: no call is made with it and nothing is refreshed until :func:`resume`. Its tokens stay.

    Return whether it was not paused before. A refresh whose request is on its way is still stored: its answer may be the
    only one that works afterwards. Raises :class:`Disconnected` if there is nothing to pause.
    """
    return _switch(connection, paused=True, actor=actor)


def resume(connection: Connection, *, actor: AbstractBaseUser | AnonymousUser | None = None) -> bool:
    """Let a paused ``connection`` work again, at once. Return whether it was paused.

    What fell due meanwhile is due now. Raises :class:`Disconnected` if there is nothing to resume.
    """
    return _switch(connection, paused=False, actor=actor)


def _switch(connection: Connection, *, paused: bool, actor: AbstractBaseUser | AnonymousUser | None) -> bool:
    alias = router.db_for_write(Connection)
    with transaction.atomic(using=alias):
        rows = Connection.objects.using(alias).filter(pk=connection.pk)
        present = next(iter(hold(rows)), None)
        if present is None or present.status == Connection.Status.REVOKED:
            raise Disconnected("This account is no longer connected.")
        changes = present.paused != paused
        if changes:
            rows.update(paused=paused)
            if not paused:
                _put_back(present)
            record(ConnectionEvent.Kind.PAUSED if paused else ConnectionEvent.Kind.RESUMED, present, actor=actor)
    connection.paused = paused
    return changes


def _put_back(connection: Connection) -> None:
    """Let what a sweep has put off until tomorrow be due now, unless somebody is at it."""
    put_off = Token.objects.using(router.db_for_write(Token)).filter(
        connection_id=connection.pk, last_failure=PUT_OFF_BECAUSE, next_refresh_at__isnull=False, lease_owner=None
    )
    put_off.update(next_refresh_at=DatabaseNow(), last_failure="", last_failure_at=None)
