"""The verbs for coroutines: nobody waits for a provider but who asked, and who leaves meanwhile loses nothing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.asgi import get_asgi_application
from django.db import connections, transaction
from django.db.backends.signals import connection_created
from django.http import HttpResponse
from django.urls import path

from django_oauth_flows import flows
from django_oauth_flows.exceptions import Disconnected, TokenUnavailable
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.aside import THREADS
from django_oauth_flows.models import Connection, Token
from django_oauth_flows.signals import connection_refreshed
from django_oauth_flows.testing import Answer, Delay
from django_oauth_flows.testing.factories import consent, make_connection, shift_expiry
from tests.concurrency.test_processes import in_processes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from django.contrib.auth.models import User
    from django.http import HttpRequest

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    """Run ``main`` in an event loop, as a server does; Django's thread closes what it has opened."""

    async def closing() -> Any:
        try:
            return await main()
        finally:
            await sync_to_async(connections.close_all)()

    return asyncio.run(closing())


class Slow:
    """The token endpoint's next answer: the provider has acted, and says so once it is told to."""

    def __init__(self, fake: FakeProvider) -> None:
        self.reached, self.until = threading.Event(), threading.Event()
        fake.script("token", Delay(until=self.until, reached=self.reached))

    async def asked(self) -> None:
        """Wait until the provider has been asked."""
        assert await asyncio.to_thread(self.reached.wait, 10)


@pytest.fixture
def slow(fake: FakeProvider) -> Iterator[Slow]:
    """Return a provider that hangs until it is told otherwise."""
    hanging = Slow(fake)
    yield hanging
    hanging.until.set()


def expire(connection: Connection) -> Connection:
    shift_expiry(connection, timedelta(seconds=-1))
    return connection


def more(connection: Connection, fake: FakeProvider, number: int) -> list[Connection]:
    """Return so many more connections of the same user."""
    assert connection.user is not None
    return [
        make_connection(connection.provider, connection.user, fake, subject=f"account-{n}")
        for n in range(2, number + 2)
    ]


def stored() -> str:
    """Return the access token of the only connection."""
    token = Token.objects.select_related("connection").get().open("access_token")
    assert token is not None
    return token.reveal()


def assert_stored_in_time(fake: FakeProvider) -> None:
    """Wait for what nobody waits for any more: the rotated token is stored, the lease is over, the grant lives."""
    until = time.monotonic() + 10
    while Token.objects.get().generation == 1 and time.monotonic() < until:
        time.sleep(0.02)
    token = Token.objects.get()
    assert (token.generation, token.lease_owner, token.lease_expires_at, token.attempt_count) == (2, None, None, 0)
    (grant,) = fake.oauth2.grants
    assert grant.alive
    assert stored() in grant.access
    assert fake.count("token") == 1


# Nobody waits along


@pytest.mark.parametrize("ask", [flows.aaccess_token, flows.arefresh], ids=["aaccess_token", "arefresh"])
def test_while_a_provider_hangs_the_loop_ticks_and_other_tokens_and_rows_are_served(
    ask: Any, connection: Connection, fake: FakeProvider, slow: Slow
) -> None:
    (other,) = more(connection, fake, 1)
    expire(connection)
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.01)

    async def main() -> None:
        ticking, waiting = asyncio.create_task(tick()), asyncio.create_task(ask(connection))
        await slow.asked()
        async with asyncio.timeout(5):  # the provider would take longer
            for _ in range(5):
                assert await flows.aaccess_token(other)
                assert await Connection.objects.acount() == 2
            await asyncio.sleep(1)
        assert not waiting.done()
        slow.until.set()
        await waiting
        ticking.cancel()

    run(main)
    assert len(ticks) > 20
    assert max(after - before for before, after in pairwise(ticks)) < 1
    assert fake.count("token") == 1


def test_an_asynchronous_client_of_httpx_keeps_nobody_waiting_either(
    connection: Connection, fake: FakeProvider, slow: Slow
) -> None:
    (other,) = more(connection, fake, 1)
    expire(connection)

    async def main() -> list[int]:
        first, second = (
            httpx.AsyncClient(auth=flows.httpx_auth(one), trust_env=False, timeout=10) for one in (connection, other)
        )
        async with first, second:
            waiting = asyncio.create_task(first.get(f"{fake.url}/api/x"))
            await slow.asked()
            async with asyncio.timeout(5):
                served = await second.get(f"{fake.url}/api/y")
            slow.until.set()
            return [served.status_code, (await waiting).status_code]

    assert run(main) == [200, 200]
    assert [request.path for request in fake.received("api")] == ["/api/y", "/api/x"]


@pytest.mark.parametrize("state", ["fresh", "not renewable", "backing off"])
def test_a_token_that_is_not_to_be_refreshed_costs_one_query_in_djangos_thread(
    state: str, connection: Connection, fake: FakeProvider, django_assert_num_queries: Any
) -> None:
    if state != "fresh":
        shift_expiry(connection, timedelta(seconds=50))  # stale
        later = {"refresh_token": None} if state == "not renewable" else {"not_before": DatabaseNow() + timedelta(60)}
        Token.objects.update(**later)
    token, opened = stored(), []

    def note(**facts: Any) -> None:
        opened.append(facts)

    connection_created.connect(note)
    try:
        with django_assert_num_queries(1):  # of this thread's connection, which is Django's for such a loop
            assert async_to_sync(flows.aaccess_token)(connection, min_validity=timedelta(seconds=20)) == token
    finally:
        connection_created.disconnect(note)
    assert opened == [], "no other thread had to do anything"
    assert fake.count("token") == 0


@pytest.mark.security("F01")
def test_more_tasks_than_threads_ask_once(connection: Connection, fake: FakeProvider) -> None:
    expire(connection)
    fake.script("token", Delay(seconds=0.3))

    async def main() -> set[str]:
        return set(await asyncio.gather(*(flows.aaccess_token(connection) for _ in range(3 * THREADS))))

    assert run(main) == {stored()}
    assert fake.count("token") == 1


def test_threads_that_wait_for_providers_leave_no_database_connection_behind(
    connection: Connection, fake: FakeProvider
) -> None:
    opened: set[int] = set()

    def note(**_: Any) -> None:
        opened.add(id(connections["default"].connection))
        kept.append(connections["default"])

    kept: list[Any] = []
    connection_refreshed.connect(note)
    try:
        run(lambda: flows.arefresh(connection))
    finally:
        connection_refreshed.disconnect(note)
    assert opened
    assert [database.connection for database in kept] == [None]


# Who leaves loses nothing


@pytest.mark.security("F20")
@pytest.mark.parametrize("ask", [flows.aaccess_token, flows.arefresh], ids=["aaccess_token", "arefresh"])
@pytest.mark.parametrize("how", ["cancelled", "timed out"])
def test_a_task_that_is_cancelled_leaves_at_once_and_its_answer_is_stored(
    how: str, ask: Any, connection: Connection, fake: FakeProvider, slow: Slow
) -> None:
    expire(connection)

    async def main() -> None:
        if how == "timed out":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await ask(connection)
            await slow.asked()
            return
        task = asyncio.create_task(ask(connection))
        await slow.asked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await task

    started = time.monotonic()
    run(main)  # ends, with its loop, before the provider answers
    assert time.monotonic() - started < 5
    assert Token.objects.get().generation == 1
    slow.until.set()
    assert_stored_in_time(fake)
    assert run(lambda: flows.aaccess_token(connection)) == stored()
    assert fake.count("token") == 1


@pytest.mark.security("F20")
def test_a_cancelled_call_of_an_api_loses_no_token(connection: Connection, fake: FakeProvider, slow: Slow) -> None:
    fake.script("api", Answer(401, b"", {"WWW-Authenticate": 'Bearer error="invalid_token"'}))

    async def main() -> None:
        async with httpx.AsyncClient(auth=flows.httpx_auth(connection), trust_env=False) as http:
            task = asyncio.create_task(http.get(f"{fake.url}/api/x"))
            await slow.asked()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main)
    slow.until.set()
    assert_stored_in_time(fake)


@pytest.mark.security("F20")
def test_a_receiver_that_is_a_coroutine_is_not_cancelled_with_the_caller(connection: Connection) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def hear(**_: Any) -> None:
        begun.set()
        await asyncio.sleep(0.5)
        ended.set()

    async def main() -> None:
        task = asyncio.create_task(flows.arefresh(connection))
        assert await asyncio.to_thread(begun.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    connection_refreshed.connect(hear)
    try:
        run(main)
        assert ended.wait(10)
    finally:
        connection_refreshed.disconnect(hear)


async def refreshing_view(request: HttpRequest) -> HttpResponse:
    """Refresh the only connection."""
    connection = await Connection.objects.aget()
    await flows.arefresh(connection)
    return HttpResponse("refreshed")


urlpatterns = [path("refresh/", refreshing_view)]


@pytest.mark.security("F20")
@pytest.mark.urls(__name__)
def test_a_browser_that_goes_away_from_an_asgi_view_loses_no_token(
    connection: Connection, fake: FakeProvider, slow: Slow
) -> None:
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "path": "/refresh/",
        "query_string": b"", "headers": [(b"host", b"testserver")], "scheme": "http", "server": ("testserver", 80),
    }  # fmt: skip
    sent: list[Any] = []

    async def main() -> None:
        events: asyncio.Queue[Any] = asyncio.Queue()
        await events.put({"type": "http.request", "body": b"", "more_body": False})

        async def send(message: Any) -> None:
            sent.append(message)

        task = asyncio.create_task(get_asgi_application()(scope, events.get, send))  # type: ignore[arg-type]
        await slow.asked()
        await events.put({"type": "http.disconnect"})
        async with asyncio.timeout(5):
            await task

    run(main)
    assert sent == []
    slow.until.set()
    assert_stored_in_time(fake)


LEAVING = """
import asyncio, sys, django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
from django_oauth_flows import flows
from django_oauth_flows.models import Connection

async def main():
    connection = await Connection.objects.aget()
    task = asyncio.create_task(flows.arefresh(connection))
    await asyncio.to_thread(sys.stdin.readline)  # the provider has been asked
    task.cancel()

asyncio.run(main())
print("left", flush=True)
"""


@pytest.mark.security("F20")
def test_a_process_that_ends_meanwhile_stores_the_answer_first(
    connection: Connection, fake: FakeProvider, slow: Slow
) -> None:
    name = str(connections["default"].settings_dict["NAME"])
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    with subprocess.Popen(
        [sys.executable, "-c", LEAVING, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        cwd=Path(__file__).parents[2],
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert slow.reached.wait(20)
            process.stdin.write(b"\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"left\n"
            slow.until.set()
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert_stored_in_time(fake)


@pytest.mark.security("F20")
def test_a_cancelled_callback_still_stores_the_grant(provider: Provider, user: User, fake: FakeProvider) -> None:
    slow = Slow(fake)

    async def main() -> None:
        params, who = await started(provider, user)
        task = asyncio.create_task(flows.acomplete_authorization("fake", params, **who))
        await slow.asked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)
    assert not Connection.objects.exists()
    slow.until.set()
    until = time.monotonic() + 10
    while not Connection.objects.exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert stored() in fake.oauth2.grants[0].access


# Where it is done


@pytest.mark.django_db
def test_in_a_hosts_testcase_everything_is_done_in_its_transaction(connection: Connection, fake: FakeProvider) -> None:
    expire(connection)
    assert async_to_sync(flows.aaccess_token)(connection) == stored()
    assert async_to_sync(flows.arefresh)(connection).refreshed
    assert async_to_sync(flows.arevoke)(connection) == "pending"  # not before the commit


def test_in_a_transaction_a_row_that_nobody_else_sees_is_served(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    with transaction.atomic():
        connection = expire(make_connection(provider, user, fake))
        assert async_to_sync(flows.aaccess_token)(connection) == stored()
    assert fake.count("token") == 1


def test_receivers_in_all_our_threads_that_ask_for_tokens_do_not_wait_for_another(
    connection: Connection, fake: FakeProvider
) -> None:
    several = more(connection, fake, THREADS)
    together, found = threading.Barrier(THREADS), []

    def ask(connection: Connection, **_: Any) -> None:
        if connection.subject != "account-1":
            together.wait(20)
            found.append(async_to_sync(flows.aaccess_token)(expired))

    expired = expire(connection)
    connection_refreshed.connect(ask)

    async def main() -> None:
        async with asyncio.timeout(30):
            await asyncio.gather(*(flows.arefresh(one) for one in several))

    try:
        run(main)
    finally:
        connection_refreshed.disconnect(ask)
    assert len(found) == THREADS
    assert len(set(found)) == 1
    assert fake.count("token") == THREADS + 1


def test_a_forked_child_has_threads_of_its_own(connection: Connection, fake: FakeProvider) -> None:
    for _ in range(2):  # after which at least one thread is idle, and would be waited for
        assert async_to_sync(flows.arefresh)(connection).refreshed

    def refresh() -> str:
        async def main() -> str:
            async with asyncio.timeout(10):
                return str((await flows.arefresh(connection)).refreshed)

        return async_to_sync(main)()

    assert in_processes(1, refresh) == ["True"]
    assert fake.count("token") == 3


# The life cycle


async def started(provider: Provider, user: User) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Start, consent at the provider; return the callback's parameters, and who comes with them."""
    session_auth_hash = user.get_session_auth_hash()
    begun = await flows.astart_authorization(provider, user=user, session_auth_hash=session_auth_hash)
    callback = await asyncio.to_thread(consent, begun.authorization_url)
    cookies = {begun.cookie.name: begun.cookie.value.reveal()}
    return parse_qsl(urlsplit(callback).query), {
        "user": user,
        "session_auth_hash": session_auth_hash,
        "cookies": cookies,
    }


def test_a_life_in_coroutines(
    provider: Provider, oauth1_provider: Provider, make_user: Any, fake: FakeProvider
) -> None:
    ada, bob = make_user("ada"), make_user("bob")

    async def main() -> None:
        for one in (provider, oauth1_provider):
            params, who = await started(one, ada)
            connection = (await flows.acomplete_authorization(one.slug, params, **who)).connection
            assert await flows.aaccess_token(connection)
            given = await flows.atransfer(connection, to=bob)
            assert await flows.arevoke(given) == "revoked"
            with pytest.raises(Disconnected):
                await flows.aaccess_token(connection)
        access_token, refresh_token = fake.oauth2.issue()
        imported = await flows.aimport_connection(
            provider, ada, access_token=access_token, refresh_token=refresh_token, subject="account-1"
        )
        assert (await flows.arefresh(imported)).refreshed

    run(main)
    assert (fake.count("revoke"), fake.count("revoke1")) == (2, 1)


def test_what_fails_is_raised_as_by_the_verb_itself(connection: Connection, fake: FakeProvider) -> None:
    expire(connection)
    fake.script("token", Answer(503))
    with pytest.raises(TokenUnavailable) as caught:
        run(lambda: flows.aaccess_token(connection))
    assert caught.value.retry_after is None
    with pytest.raises(TypeError):
        run(lambda: flows.arefresh(connection, nonsense=True))  # type: ignore[call-arg]
