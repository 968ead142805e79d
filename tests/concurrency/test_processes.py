"""The same with real processes: what one machine's gunicorn workers do to a token and to a callback."""

from __future__ import annotations

import os
import signal
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

from django_oauth_flows import flows
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider, Token
from django_oauth_flows.testing import Delay
from django_oauth_flows.testing.factories import answer, begin, shift_expiry, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

PARENTS: list[Any] = []
"""The parent's database connections, in a child: kept, so that nothing closes them."""


def _leave_connections_to_the_parent() -> None:
    PARENTS.extend(connection.connection for connection in connections.all(initialized_only=True))
    for connection in connections.all(initialized_only=True):
        connection.connection = None  # closing it here would end it there


def in_processes(count: int, act: Callable[[], str]) -> list[str]:
    """Run ``act`` in so many forked processes at once; return what each says."""
    start, pipes = os.pipe(), [os.pipe() for _ in range(count)]
    children = []
    for read, write in pipes:
        child = os.fork()
        if child == 0:
            os.close(start[1])
            _leave_connections_to_the_parent()
            os.read(start[0], 1)
            try:
                said = act()
            except BaseException as error:  # noqa: BLE001 - nothing may escape into the child's copy of pytest
                said = f"{type(error).__name__}: {error}"
            os.write(write, said.encode()[:4000])
            os._exit(0)
        os.close(write)
        children.append((child, read))
    os.close(start[0])
    os.close(start[1])  # all of them read the end of the file at once
    said = []
    for child, read in children:
        os.waitpid(child, 0)
        said.append(os.read(read, 4096).decode())
        os.close(read)
    return said


@pytest.mark.security("F01")
def test_twenty_threads_in_each_of_four_processes_send_one_refresh(connection: Connection, fake: FakeProvider) -> None:
    shift_expiry(connection, timedelta(seconds=-1))
    fake.script("token", Delay(seconds=0.1))

    def twenty() -> str:
        found: list[Any] = []

        def one() -> None:
            try:
                found.append(flows.access_token(connection))
            except Exception as error:  # noqa: BLE001 - the parent looks at it
                found.append(repr(error))
            finally:
                connections.close_all()

        threads = [threading.Thread(target=one) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return " ".join(sorted(set(found)))

    said = in_processes(4, twenty)
    token = Token.objects.select_related("connection").get().open("access_token")
    assert token is not None
    assert said == [token.reveal()] * 4
    assert fake.count("token") == 1
    assert fake.oauth2.grants[0].alive


@pytest.mark.security("B08")
def test_eight_replays_in_four_processes_present_the_code_once(
    provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    callback = begin(browser, provider)
    fake.script("token", Delay(seconds=0.2))

    def twice() -> str:
        return " ".join(str(answer(browser, callback).status_code) for _ in range(2))

    said = " ".join(in_processes(4, twice)).split()
    assert fake.count("token") == 1
    assert Connection.objects.count() == 1
    assert set(said) <= {"202", "303"}
    assert "303" in said


@pytest.mark.security("T16")
def test_a_worker_killed_between_answer_and_commit_leaves_nothing_behind_and_the_user_starts_again(
    provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    callback = begin(browser, provider)

    def die(execute: Any, sql: str, *args: Any) -> Any:
        if "INSERT INTO" in sql and "oauth_flows_token" in sql:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(sql, *args)

    if (child := os.fork()) == 0:
        _leave_connections_to_the_parent()
        with connections["default"].execute_wrapper(die):
            answer(browser, callback)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert fake.count("token") == 1
    assert not Connection.objects.exists()
    assert not Token.objects.exists()
    assert answer(browser, callback).status_code == 202  # it might still be at work
    AuthorizationRequest.objects.update(taken_at=DatabaseNow() - timedelta(minutes=1))
    again = answer(browser, callback)
    assert again.status_code == 400
    assert b"<code>state_used</code>" in again.content
    assert b"/oauth/connect/fake/confirm/" in again.content
    assert fake.count("token") == 1
    assert walk(browser, provider).status_code == 303


@pytest.mark.security("D05")
def test_disconnecting_in_four_processes_revokes_once(connection: Connection, fake: FakeProvider) -> None:
    said = in_processes(4, lambda: flows.revoke(connection))
    assert "revoked" in said
    assert set(said) <= {"revoked", "pending"}
    assert fake.count("revoke") == 2


@pytest.mark.security("F02")
def test_a_lease_whose_holder_died_is_taken_over_when_it_ends(connection: Connection, fake: FakeProvider) -> None:
    Provider.objects.update(lease_duration=2, refresh_deadline=1)
    shift_expiry(connection, timedelta(seconds=-1))

    Token.objects.update(
        lease_owner="00000000-0000-4000-8000-000000000001", lease_expires_at=DatabaseNow() + timedelta(seconds=1),
        attempt_id="00000000-0000-4000-8000-000000000001", attempt_started_at=DatabaseNow(), attempt_count=1,
    )  # fmt: skip
    assert flows.access_token(connection)
    assert fake.count("token") == 1
    row = Token.objects.get()
    assert (row.lease_owner, row.attempt_id, row.attempt_count, row.generation) == (None, None, 0, 2)
