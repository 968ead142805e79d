"""Write a token so that the caller's rollback cannot undo it.

In autocommit the caller's own connection commits at once. Inside a real ``atomic()`` a second connection to the same
database is opened for the write and closed again. A row that the second connection cannot see (it was created in the
caller's transaction, or in a host's ``TestCase``) is written in the caller's transaction. A row that is locked, or an
SQLite database with an open writer, raises :class:`CannotPersist`: the caller must then not contact the provider.
"""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import Error, InterfaceError, InternalError, OperationalError, connections, router, transaction
from django.db.utils import load_backend
from django.utils.connection import ConnectionDoesNotExist

from django_oauth_flows.exceptions import CannotPersist, OAuthFlowsError
from django_oauth_flows.flows.history import logger
from django_oauth_flows.models import Token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from django.db.backends.base.base import BaseDatabaseWrapper

LEASE_LOCK_TIMEOUT = 0.5
"""Seconds to wait for the row before the provider is asked: it may be our own caller who holds it."""

SAVE_LOCK_TIMEOUT = 10.0
"""Seconds to wait for the row once there is an answer to keep."""

NOTE_LOCK_TIMEOUT = 1.0
"""Seconds to wait for a row in order to note something about it: the caller may hold it, and can do without the note."""

FAILURES = (OperationalError, InterfaceError, InternalError)
"""What a database raises that is down, busy, or (``InternalError``: PostgreSQL's word for it) read-only: it may pass."""

_SUFFIX = "__oauth_flows"


@contextmanager
def durable_alias(token_id: UUID) -> Iterator[str]:
    """Yield the database alias on which writes to this token row are committed independently of the caller.

    Raises :class:`CannotPersist` if there is no second connection to be had.
    """
    home = router.db_for_write(Token)
    if not _in_callers_transaction(connections[home]) or _is_memory(connections[home]):
        yield home
        return
    with _second_connection(home) as second:
        with claiming(second):
            visible = Token.objects.using(second).filter(pk=token_id).exists()
        yield second if visible else home


@contextmanager
def harmless_alias(token_id: UUID) -> Iterator[str]:
    """Yield the alias for what need not be durable: as :func:`durable_alias`, unless that would harm the caller."""
    if commits_harm_caller():
        yield router.db_for_write(Token)
        return
    with durable_alias(token_id) as alias:
        yield alias


def in_callers_transaction() -> bool:
    """Tell whether what is written now on the home database can still be rolled back by the caller."""
    return _in_callers_transaction(connections[router.db_for_write(Token)])


def is_tied() -> bool:
    """Tell whether no other thread sees what this one's connection sees: in any transaction, and in a database in memory."""
    connection = connections[router.db_for_write(Token)]
    return connection.in_atomic_block or not connection.get_autocommit() or _is_memory(connection)


def commits_harm_caller() -> bool:
    """Tell whether the caller is in a transaction on SQLite, which could not write any more after a commit of ours."""
    connection = connections[router.db_for_write(Token)]
    return connection.vendor == "sqlite" and _in_callers_transaction(connection) and not _is_memory(connection)


@contextmanager
def committing(alias: str, *, lock_timeout: float) -> Iterator[None]:
    """Run a block as one transaction on ``alias``; on a second connection, give up on locks after ``lock_timeout`` seconds."""
    with transaction.atomic(using=alias):
        if _is_second(alias):
            _set_lock_timeout(connections[alias], lock_timeout)
        yield


@contextmanager
def stated(alias: str, *, lock_timeout: float) -> Iterator[None]:
    """Run a block of single statements, each of which may be committed by itself; otherwise as :func:`committing`."""
    if _is_second(alias) or connections[alias].in_atomic_block:
        with committing(alias, lock_timeout=lock_timeout):
            yield
    else:  # neither BEGIN nor COMMIT has to travel
        yield


@contextmanager
def claiming(alias: str) -> Iterator[None]:
    """Run a block of single statements, each committed, before the provider is asked.

    Raises :class:`CannotPersist` if the database takes no writes just now, or if a second connection is refused, or the
    row or the database is locked for it.
    """
    try:
        with stated(alias, lock_timeout=LEASE_LOCK_TIMEOUT):
            yield
    except FAILURES as error:
        if not _is_second(alias):
            raise CannotPersist(
                "The database takes no writes just now, so the provider was not asked.",
                hint="Look after the database: it may be down, read-only, or busy. Then try again.",
            ) from error
        if connections[alias].connection is None:
            raise CannotPersist(
                "The database refused the second connection that a refresh inside a transaction needs.",
                hint="Raise the database's limit of connections, or leave the transaction first.",
            ) from None
        what = "database" if connections[alias].vendor == "sqlite" else "token's row"
        raise CannotPersist(
            f"The {what} is locked by the transaction in which the refresh was asked for, or takes no writes just now."
        ) from error


def noted(alias: str, write: Callable[[], object]) -> bool:
    """Run ``write`` as one transaction that is worth neither a long wait nor an error; False if it was not committed."""
    ours = not connections[alias].in_atomic_block  # a caller's transaction keeps its own settings
    try:
        with committing(alias, lock_timeout=NOTE_LOCK_TIMEOUT):
            if ours and connections[alias].vendor == "postgresql":  # it alone would wait for ever
                _set_lock_timeout(connections[alias], NOTE_LOCK_TIMEOUT)
            write()
    except Error as error:
        logger.warning("oauth_flows.not_noted", extra={"error": type(error).__name__})
        return False
    return True


def reconnected(alias: str) -> bool:
    """Make ``alias`` usable again after an error; False if it is not, and the caller's transaction is gone with it."""
    connection = connections[alias]
    if connection.in_atomic_block:
        return connection.connection is not None and connection.is_usable()
    connection.close_if_unusable_or_obsolete()
    return True


def interruption_behind(error: BaseException, before: BaseException | None, *, using: str) -> BaseException | None:
    """Return what came from outside while a statement was under way; None if the trouble is the database's or our own.

    Where Django or the database's library cleans up after it, the half-done statement makes them raise an error in its
    place. ``before``: what was being handled already.
    """
    library: Any = connections[using]
    met: BaseException | None = error
    while met is not before and isinstance(met, Error | library.Database.Error):
        met = met.__context__
    return None if met is before or isinstance(met, OAuthFlowsError) else met


def abandon_statement(alias: str) -> None:
    """Leave a connection whose last statement may still be under way; the next statement opens another."""
    if not connections[alias].in_atomic_block:
        connections[alias].close()


def _is_second(alias: str) -> bool:
    return alias.endswith(_SUFFIX)


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
    settings["AUTOCOMMIT"] = True  # or nothing that is written on it would be committed
    settings["OPTIONS"].pop("pool", None)  # pools are keyed by alias and would outlive the block
    if first.vendor == "sqlite":
        settings["OPTIONS"]["timeout"] = LEASE_LOCK_TIMEOUT
    second = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, name)
    outer = _present(name)
    connections[name] = second
    try:
        yield name
    finally:
        second.close()
        del connections[name]
        if outer is not None:
            connections[name] = outer


def _present(name: str) -> BaseDatabaseWrapper | None:
    """Return the second connection in whose time another is opened: a receiver of a signal may refresh, too."""
    try:
        return connections[name]
    except ConnectionDoesNotExist:
        return None


def _set_lock_timeout(connection: BaseDatabaseWrapper, seconds: float) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # LOCAL: a transaction pooler hands the same session to others.
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{int(seconds * 1000)}ms"])
        elif connection.vendor == "mysql":
            cursor.execute("SET SESSION innodb_lock_wait_timeout = %s", [max(1, int(seconds))])
        elif connection.vendor == "sqlite":
            cursor.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
