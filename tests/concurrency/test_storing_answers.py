"""Once the provider has answered, the rotated token is stored, even if the database fails for a moment."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import InterfaceError, OperationalError, connections, transaction
from django.db import connection as database
from django.db.backends.signals import connection_created

from django_oauth_flows import flows
from django_oauth_flows.exceptions import TokenUnavailable
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.testing import Delay
from django_oauth_flows.testing.factories import shift_expiry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def expired(connection: Connection) -> Connection:
    """Return a connection whose access token has expired."""
    shift_expiry(connection, timedelta(seconds=-1))
    return connection


@contextmanager
def before_saving(act: Callable[[str, Any], None]) -> Iterator[None]:
    """Call ``act`` with the statement that saves an answer, on the caller's connection or a second one."""

    def look(execute: Any, sql: str, params: Any, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and "last_refreshed_at" in sql:
            act(sql, params)
        return execute(sql, params, *rest)

    def opened(connection: Any, **_: Any) -> None:
        if connection.alias != database.alias:
            connection.execute_wrappers.append(look)

    connection_created.connect(opened)
    try:
        with database.execute_wrapper(look):
            yield
    finally:
        connection_created.disconnect(opened)


@pytest.mark.security("F05", "F06")
@pytest.mark.parametrize("where", ["alone", "in a transaction"])
@pytest.mark.parametrize("error", [OperationalError("deadlock detected"), InterfaceError("connection already closed")])
def test_a_database_that_fails_for_a_moment_does_not_lose_the_rotated_token(
    where: str, error: Exception, expired: Connection, fake: FakeProvider
) -> None:
    failures = [error, error]

    def fail(*_: Any) -> None:
        if failures:
            raise failures.pop()

    with ExitStack() as stack:
        if where == "in a transaction":
            stack.enter_context(transaction.atomic())
        with before_saving(fail):
            token = flows.access_token(expired)
    assert not failures
    assert flows.access_token(expired) == token
    assert fake.count("token") == 1


@pytest.mark.security("F06")
def test_a_save_whose_commit_was_not_acknowledged_is_recognised(expired: Connection, fake: FakeProvider) -> None:
    tries: list[str] = []

    def commit_elsewhere(sql: str, params: Any) -> None:
        tries.append(sql)
        if len(tries) > 1:
            return

        def commit() -> None:
            with connections["default"].cursor() as cursor:
                cursor.execute(sql, params)
            connections.close_all()

        thread = threading.Thread(target=commit)
        thread.start()
        thread.join()
        raise OperationalError("server closed the connection unexpectedly")

    with before_saving(commit_elsewhere):
        assert flows.access_token(expired)
    assert len(tries) == 2
    assert fake.count("token") == 1
    assert fake.oauth2.grants[0].alive
    assert Token.objects.get().generation == 2


@pytest.mark.security("F04", "F06")
@pytest.mark.parametrize("where", ["alone", "in a transaction"])
def test_an_answer_that_cannot_be_stored_is_asked_for_again_by_the_next_holder(
    where: str, expired: Connection, fake: FakeProvider
) -> None:
    Provider.objects.update(lease_duration=2, refresh_deadline=1)
    fake.oauth2.grace = 60

    def fail(*_: Any) -> None:
        raise OperationalError("the database is gone")

    with ExitStack() as stack:
        stack.enter_context(before_saving(fail))
        caught = stack.enter_context(pytest.raises(TokenUnavailable))
        if where == "in a transaction":
            stack.enter_context(transaction.atomic())
        flows.access_token(expired)
    assert caught.value.code == "outcome_unknown"
    assert caught.value.retry_after
    assert Token.objects.get().attempt_count == 1
    assert Connection.objects.get().status == "active"
    assert flows.access_token(expired)
    assert fake.count("token") == 2


@pytest.mark.security("F06")
@pytest.mark.skipif(database.vendor == "sqlite", reason="there is no server to lose")
def test_a_connection_that_the_server_has_ended_is_opened_anew(expired: Connection, fake: FakeProvider) -> None:
    kill, number = ("SELECT pg_terminate_backend(%s)", "SELECT pg_backend_pid()")
    if database.vendor == "mysql":
        kill, number = "KILL %s", "SELECT CONNECTION_ID()"
    with database.cursor() as cursor:
        cursor.execute(number)
        mine = cursor.fetchone()

    class End:
        def play(self, handler: Any, normal: Any) -> None:
            with connections["default"].cursor() as cursor:
                cursor.execute(kill, mine)
            connections.close_all()
            Delay().play(handler, normal)

    fake.script("token", End())
    assert flows.access_token(expired)
    assert fake.count("token") == 1
    assert flows.access_token(expired)
