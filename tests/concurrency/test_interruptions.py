"""What comes from outside while a statement is under way, as a task queue's time limit does, gets through; leases are given back."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection as database

from django_oauth_flows import flows
from django_oauth_flows.models import Token
from django_oauth_flows.testing.factories import make_connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(database.vendor != "postgresql", reason="a statement of psycopg's can be left half done"),
]


class TimeLimit(Exception):
    """Comes from a signal handler, anywhere."""


SLOW_COMMIT = """
CREATE FUNCTION take_a_while() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow_commit AFTER UPDATE ON oauth_flows_token DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.lease_owner IS NOT NULL) EXECUTE FUNCTION take_a_while()
"""
AS_BEFORE = "DROP TRIGGER slow_commit ON oauth_flows_token; DROP FUNCTION take_a_while()"


@pytest.fixture
def slow_commit() -> Iterator[None]:
    """Let whoever takes a lease wait for its COMMIT."""
    with database.cursor() as cursor:
        cursor.execute(SLOW_COMMIT)
    yield
    with database.cursor() as cursor:
        cursor.execute(AS_BEFORE)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeLimit` in this thread."""

    def strike(*_: Any) -> None:
        raise TimeLimit

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def due(provider: Provider, user: User, fake: FakeProvider) -> Token:
    """Return the token of a connection that is due."""
    make_connection(provider, user, fake, expires_in=timedelta(seconds=-60))
    return Token.objects.get()


@pytest.mark.usefixtures("due", "slow_commit")
def test_a_time_limit_during_a_commit_is_what_the_caller_hears_of(fake: FakeProvider) -> None:
    with time_limit(0.3), pytest.raises(TimeLimit):
        flows.refresh_due(workers=1)
    assert fake.count("token") == 0
    assert Token.objects.count() == 1  # the database can be used


@pytest.mark.parametrize("call", ["sweep", "caller"])
def test_a_time_limit_between_taking_a_lease_and_reading_it_gives_it_back(
    due: Token, fake: FakeProvider, call: str
) -> None:
    taken: list[bool] = []

    def interrupt(execute: Any, sql: str, *args: Any) -> Any:
        if taken and sql.startswith("SELECT"):
            taken.clear()
            database.connection.pgconn.send_query(b"SELECT pg_sleep(0.2)")  # as if its answer had not come yet
            raise TimeLimit
        answer = execute(sql, *args)
        if sql.startswith("UPDATE") and "lease_owner" in sql:
            taken.append(True)
        return answer

    with database.execute_wrapper(interrupt), pytest.raises(TimeLimit):
        flows.refresh_due(workers=1) if call == "sweep" else flows.access_token(due.connection)
    due.refresh_from_db()
    assert due.lease_owner is None
    assert due.attempt_count == 0
    assert fake.count("token") == 0
    assert flows.refresh_due(workers=1)[0].refreshed == 1
