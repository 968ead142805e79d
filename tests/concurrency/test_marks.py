"""What a refresh has shown is marked: bounded, durable, in one lock order, and never on a newer grant."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection as database
from django.db import connections, transaction

from django_oauth_flows import flows
from django_oauth_flows.crypto import generate_key
from django_oauth_flows.exceptions import Disconnected, OAuthFlowsError, ReauthorizationRequiredError
from django_oauth_flows.models import Connection, Provider, Revocation
from django_oauth_flows.testing import Answer, Delay
from django_oauth_flows.testing.factories import make_connection, shift_expiry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

one_writer = pytest.mark.skipif(database.vendor == "sqlite", reason="SQLite has one writer")

NARROWER = {"access_token": "canary_access_" + "0" * 32, "token_type": "Bearer", "expires_in": 600, "scope": "other"}


@pytest.fixture
def expired(connection: Connection) -> Connection:
    """Return a connection whose access token has expired."""
    shift_expiry(connection, timedelta(seconds=-1))
    return connection


class Worker(threading.Thread):
    """Does ``act`` beside the test; ``result`` is what it returned or raised."""

    def __init__(self, act: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self.result: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._act()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.result = error
        finally:
            connections.close_all()


@contextmanager
def before_marking(act: Callable[[], None]) -> Iterator[None]:
    """Call ``act`` once, before the first UPDATE of a connection's row."""
    due = [act]

    def look(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and "oauth_flows_connection" in sql and due:
            due.pop()()
        return execute(sql, *rest)

    with database.execute_wrapper(look):
        yield


@one_writer
@pytest.mark.security("F05")
@pytest.mark.parametrize("dead", [False, True], ids=["refreshed", "invalid_grant"])
def test_a_caller_that_holds_the_connections_row_does_not_wait_for_itself(
    dead: bool, expired: Connection, fake: FakeProvider
) -> None:
    fake.oauth2.grants[0].alive = not dead
    if not dead:
        fake.script("token", Answer(200, NARROWER))

    def work() -> str:
        with transaction.atomic():
            Connection.objects.select_for_update().get(pk=expired.pk)
            return flows.access_token(expired)

    worker = Worker(work)
    worker.join(20)
    assert not worker.is_alive()
    assert isinstance(worker.result, ReauthorizationRequiredError if dead else str)
    expired.refresh_from_db()
    assert expired.status == "active"  # it could not be marked; the next one who looks can
    expired.token.refresh_from_db()
    assert (expired.token.lease_owner, expired.token.not_before is not None) == (None, dead)


@pytest.mark.security("F08")
def test_what_could_not_be_marked_is_marked_by_the_next_caller(expired: Connection, fake: FakeProvider) -> None:
    fake.oauth2.grants[0].alive = False

    def fail() -> None:
        from django.db import OperationalError

        raise OperationalError("canceling statement due to lock timeout")

    with before_marking(fail), pytest.raises(ReauthorizationRequiredError):
        flows.access_token(expired)
    expired.token.__class__.objects.update(not_before=None)
    with pytest.raises(ReauthorizationRequiredError) as caught:
        flows.access_token(expired)
    assert caught.value.reason == "invalid_grant"
    expired.refresh_from_db()
    assert expired.status == "reauthorization_required"


@one_writer
def test_a_dying_grant_and_a_disconnect_do_not_deadlock(expired: Connection, fake: FakeProvider) -> None:
    fake.oauth2.grants[0].alive = False
    marking, disconnecting = threading.Event(), threading.Event()

    def pause() -> None:
        marking.set()
        disconnecting.wait(10)
        time.sleep(0.5)  # let it take its locks

    def refresh() -> str:
        with before_marking(pause):
            return flows.access_token(expired)

    refreshing = Worker(refresh)
    assert marking.wait(10)
    revoking = Worker(lambda: flows.revoke(Connection.objects.get(pk=expired.pk)))
    disconnecting.set()
    refreshing.join(60)
    revoking.join(60)
    assert isinstance(revoking.result, str)
    assert isinstance(refreshing.result, OAuthFlowsError)


@pytest.mark.security("F13")
def test_a_late_refresh_does_not_change_the_scopes_of_a_newer_grant(
    expired: Connection, provider: Provider, user: User, fake: FakeProvider
) -> None:
    fake.script("token", Answer(200, NARROWER))

    def reconnect() -> None:
        Worker(lambda: make_connection(provider, user, fake, scopes=["read", "write"])).join()

    with before_marking(reconnect):
        flows.access_token(expired)
    expired.refresh_from_db()
    assert expired.granted_scopes == ("read", "write")


@pytest.mark.security("F13")
def test_a_late_reader_does_not_mark_a_newer_grant(
    provider: Provider, user: User, fake: FakeProvider, settings: Any
) -> None:
    access, _ = fake.oauth2.issue()
    connection = flows.import_connection(provider, user, access_token=access, subject="account-1")
    shift_expiry(connection, timedelta(seconds=-1))

    def reconnect() -> None:
        Worker(lambda: make_connection(provider, user, fake)).join()

    with before_marking(reconnect), pytest.raises(ReauthorizationRequiredError):
        flows.access_token(connection)
    connection.refresh_from_db()
    assert connection.status == "active"
    assert flows.access_token(connection)


@pytest.mark.security("F05")
@pytest.mark.parametrize("end", ["rollback", "commit"])
@pytest.mark.parametrize("reason", ["expired", "undecryptable"])
def test_a_connection_that_needs_its_user_is_marked_whatever_the_caller_does(
    reason: str, end: str, provider: Provider, user: User, fake: FakeProvider, settings: Any
) -> None:
    if end == "rollback" and database.vendor == "sqlite":
        pytest.skip("a commit of ours would make the caller's next write fail; the next caller marks it")
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "ENCRYPTION_KEYS": [generate_key(), "SECRET_KEY"]}
    access, _ = fake.oauth2.issue()
    connection = flows.import_connection(provider, user, access_token=access, subject="account-1")
    if reason == "expired":
        shift_expiry(connection, timedelta(seconds=-1))
    else:
        settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "ENCRYPTION_KEYS": ["SECRET_KEY"]}

    def work() -> None:
        with transaction.atomic():
            with pytest.raises(ReauthorizationRequiredError) as caught:
                flows.access_token(connection)
            user.save()  # the caller goes on writing
            if end == "rollback":
                raise caught.value

    with suppress(ReauthorizationRequiredError):
        work()
    connection.refresh_from_db()
    assert (connection.status, connection.reason) == ("reauthorization_required", reason)


@pytest.mark.security("F12", "D06")
def test_a_late_answer_is_revoked_although_the_caller_rolls_back(expired: Connection, fake: FakeProvider) -> None:
    Provider.objects.update(revocation_effect="token")
    reached, until = threading.Event(), threading.Event()
    fake.script("token", Delay(reached=reached, until=until))

    def work() -> str:
        with transaction.atomic():
            return flows.access_token(expired)

    worker = Worker(work)
    assert reached.wait(10)
    flows.revoke(Connection.objects.get())
    fake.oauth2.grants[0].alive = True  # this server ends single tokens: the late ones live on
    until.set()
    worker.join(30)
    assert isinstance(worker.result, Disconnected)
    assert Revocation.objects.get(reason="discarded").outcome == "revoked"
    assert not fake.oauth2.grants[0].alive
