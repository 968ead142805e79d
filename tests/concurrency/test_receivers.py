"""Receivers of our signals hear of what is committed, without secrets, and can undo nothing, whatever they do."""

from __future__ import annotations

import pickle
from contextlib import contextmanager, suppress
from datetime import timedelta
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connections, transaction
from django.db import connection as database
from django.http import Http404

from django_oauth_flows import flows, signals
from django_oauth_flows.exceptions import ReauthorizationRequiredError
from django_oauth_flows.models import Connection
from django_oauth_flows.signals import connection_refreshed
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import make_connection, shift_expiry, walk
from tests.plugins.canaries import find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User
    from django.dispatch import Signal
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def receiving(act: Callable[[Connection], Any]) -> Iterator[None]:
    """Let ``act`` hear of every refresh."""

    def receiver(connection: Connection, **_: Any) -> None:
        act(connection)

    connection_refreshed.connect(receiver)
    try:
        yield
    finally:
        connection_refreshed.disconnect(receiver)


@pytest.mark.security("F05")
def test_a_receiver_may_refresh_another_connection(provider: Provider, user: User, fake: FakeProvider) -> None:
    first = make_connection(provider, user, fake)
    second = make_connection(provider, user, fake, subject="account-2")
    for each in (first, second):
        shift_expiry(each, timedelta(seconds=-1))

    def use_the_other(connection: Connection) -> None:
        if connection.pk == first.pk:
            flows.access_token(second)

    with receiving(use_the_other), transaction.atomic():
        assert flows.access_token(first)
    assert fake.count("token") == 2
    first.token.refresh_from_db()
    second.token.refresh_from_db()
    assert (first.token.generation, second.token.generation) == (2, 2)
    assert list(connections.settings) == [connection.alias for connection in connections.all()]


@pytest.mark.security("F05")
@pytest.mark.skipif(database.vendor == "sqlite", reason="the caller cannot write after a refresh")
@pytest.mark.parametrize("swallowed", [False, True])
def test_a_receivers_failing_statement_does_not_end_the_callers_transaction(
    swallowed: bool, connection: Connection, fake: FakeProvider
) -> None:
    shift_expiry(connection, timedelta(seconds=-1))

    def fail(_: Connection) -> None:
        with suppress(*[DatabaseError] * swallowed), database.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    with receiving(fail), transaction.atomic():
        assert flows.session(connection).get("/echo").ok
        Group.objects.create(name="what the API said")
    assert Group.objects.exists()
    assert fake.count("token") == 1


EVERY_SIGNAL = {
    "connection_authorized",
    "connection_refreshed",
    "connection_needs_reauthorization",
    "connection_recovered",
    "connection_revoked",
}


@contextmanager
def hearing(act: Callable[[str, dict[str, Any]], Any]) -> Iterator[None]:
    """Let ``act`` hear of everything."""

    def receiver(signal: Signal, **facts: Any) -> None:
        act(next(name for name in EVERY_SIGNAL if getattr(signals, name) is signal), facts)

    for name in EVERY_SIGNAL:
        getattr(signals, name).connect(receiver)
    try:
        yield
    finally:
        for name in EVERY_SIGNAL:
            getattr(signals, name).disconnect(receiver)


def live(browser: Client, provider: Provider, fake: FakeProvider) -> Connection:
    """Lead one connection through everything that is announced."""
    walk(browser, provider)
    connection = Connection.objects.get()
    flows.refresh(connection)
    fake.script("token", Answer(400, {"error": "invalid_grant"}))
    with pytest.raises(ReauthorizationRequiredError):
        flows.refresh(connection)
    flows.refresh(connection)
    assert fake.oauth2.grant_of(flows.access_token(connection)) is not None
    flows.revoke(connection)
    return connection


def deep(value: Any, depth: int = 4) -> str:
    """Say all that can be read off an object and what hangs on it."""
    if depth == 0 or not hasattr(value, "__dict__"):
        return repr(value)
    return repr(value) + "".join(f" {name}={deep(each, depth - 1)}" for name, each in vars(value).items())


@pytest.mark.security("L07", "L01")
def test_signals_carry_ids_and_objects_and_no_secret(browser: Client, provider: Provider, fake: FakeProvider) -> None:
    heard: dict[str, list[str]] = {}

    def note(name: str, facts: dict[str, Any]) -> None:
        facts.pop("signal", None)
        leaks = find(name, deep(facts["connection"])) + find(name, pickle.dumps(facts))
        heard.setdefault(name, []).extend(
            leaks + [key for key in facts if key not in ("connection", "created", "reason", "sender")]
        )

    with hearing(note):
        live(browser, provider, fake)
    assert heard == {name: [] for name in EVERY_SIGNAL}


@pytest.mark.security("L07")
def test_signals_are_sent_after_the_commit(browser: Client, provider: Provider, fake: FakeProvider) -> None:
    heard: set[tuple[str, bool]] = set()

    def note(name: str, facts: dict[str, Any]) -> None:
        connection = facts["connection"]
        heard.add((name, seen_by_others(connection) == (connection.status, connection.reason)))

    with hearing(note):
        live(browser, provider, fake)
    assert heard == {(name, True) for name in EVERY_SIGNAL}


def seen_by_others(connection: Connection) -> tuple[str, str] | None:
    """Return status and reason as another database connection reads them."""
    seen: list[Any] = []

    def look() -> None:
        try:
            seen.append(Connection.objects.filter(pk=connection.pk).values_list("status", "reason").first())
        finally:
            connections.close_all()

    thread = Thread(target=look)
    thread.start()
    thread.join(20)
    return seen[0] if seen else None


@pytest.mark.security("L07")
def test_a_signal_of_what_was_rolled_back_is_not_sent(connection: Connection) -> None:
    heard: list[str] = []
    with hearing(lambda name, _: heard.append(name)), transaction.atomic():
        flows.revoke(connection)
        transaction.set_rollback(True)
    assert heard == []
    connection.refresh_from_db()
    assert connection.status == "active"


@pytest.mark.security("L07", "F05")
@pytest.mark.parametrize("error", [RuntimeError("a receiver's own trouble"), DatabaseError("gone"), Http404()])
def test_receivers_that_fail_everywhere_lose_nothing(
    error: Exception, browser: Client, provider: Provider, fake: FakeProvider, caplog: Any
) -> None:
    def fail(*_: Any) -> None:
        raise error

    with hearing(fail):
        connection = live(browser, provider, fake)
    kinds = ["authorized", "needs_reauthorization", "recovered", "revoked", "revocation_finished"]
    assert [event.kind for event in connection.events.order_by("id")] == kinds
    assert caplog.messages.count("oauth_flows.receiver_failed") == 6
