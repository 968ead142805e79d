"""Write a token so that the caller's rollback cannot undo it.

In autocommit the caller's own connection commits at once. Inside a real ``atomic()`` a second connection to the same
database is opened for the write and closed again. A row that the second connection cannot see (it was created in the
caller's transaction, or in a host's ``TestCase``) is written in the caller's transaction. A row that is locked, or an
SQLite database with an open writer, raises :class:`CannotPersist`: the caller must then not contact the provider.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import OperationalError, connections, router, transaction
from django.db.utils import load_backend

from django_oauth_flows.exceptions import CannotPersist
from django_oauth_flows.models import Token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from django.db.backends.base.base import BaseDatabaseWrapper

LEASE_LOCK_TIMEOUT = 0.5
"""Seconds to wait for the row before the provider is asked: it may be our own caller who holds it."""

SAVE_LOCK_TIMEOUT = 10.0
"""Seconds to wait for the row once there is an answer to keep."""

_SUFFIX = "__oauth_flows"


@contextmanager
def durable_alias(token_id: UUID) -> Iterator[str]:
    """Yield the database alias on which writes to this token row are committed independently of the caller."""
    alias = router.db_for_write(Token)
    connection = connections[alias]
    if not _in_callers_transaction(connection) or _is_memory(connection):
        yield alias
        return
    with _second_connection(alias) as second:
        with committing(second, lock_timeout=LEASE_LOCK_TIMEOUT):
            visible = Token.objects.using(second).filter(pk=token_id).exists()
        yield second if visible else alias


@contextmanager
def committing(alias: str, *, lock_timeout: float) -> Iterator[None]:
    """Run a block as one transaction on ``alias``; on a second connection, give up on locks after ``lock_timeout`` seconds.

    Raises :class:`CannotPersist` if the row or the database is locked there.
    """
    if not alias.endswith(_SUFFIX):
        with transaction.atomic(using=alias):
            yield
        return
    try:
        with transaction.atomic(using=alias):
            _set_lock_timeout(connections[alias], lock_timeout)
            yield
    except OperationalError:
        raise CannotPersist("The token row is locked by the transaction in which its refresh was asked for.") from None


def _in_callers_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether a commit is not ours to make; a ``TestCase``'s own transactions do not count."""
    if not connection.in_atomic_block:
        return not connection.get_autocommit()
    blocks = getattr(connection, "atomic_blocks", ())
    return not (blocks and getattr(blocks[0], "_from_testcase", False))


def _is_memory(connection: BaseDatabaseWrapper) -> bool:
    name = str(connection.settings_dict.get("NAME", ""))
    return connection.vendor == "sqlite" and (name == ":memory:" or "mode=memory" in name)


@contextmanager
def _second_connection(alias: str) -> Iterator[str]:
    """Open a connection of its own for ``alias``, for the time of the block; nothing else would ever close it."""
    first = connections[alias]
    name = f"{alias}{_SUFFIX}"
    settings = copy.deepcopy(first.settings_dict)
    settings["OPTIONS"].pop("pool", None)  # pools are keyed by alias and would outlive the block
    if first.vendor == "sqlite":
        settings["OPTIONS"]["timeout"] = LEASE_LOCK_TIMEOUT
    second = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, name)
    connections[name] = second
    try:
        yield name
    finally:
        second.close()
        del connections[name]


def _set_lock_timeout(connection: BaseDatabaseWrapper, seconds: float) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # LOCAL: a transaction pooler hands the same session to others.
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{int(seconds * 1000)}ms"])
        elif connection.vendor == "mysql":
            cursor.execute("SET SESSION innodb_lock_wait_timeout = %s", [max(1, int(seconds))])
        elif connection.vendor == "sqlite":
            cursor.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
