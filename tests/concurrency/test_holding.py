"""Two at once: what is read is held until it is written, in one order, and the later one finds what the earlier did."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection as database
from django.db import connections, transaction
from django.db.models import F

from django_oauth_flows import flows
from django_oauth_flows.exceptions import OAuthFlowsError, TokenUnavailable
from django_oauth_flows.models import Connection, ConnectionEvent, Revocation, Token
from django_oauth_flows.testing import Delay
from django_oauth_flows.testing.factories import answer, begin, make_connection, make_provider, shift_expiry

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(first: Callable[[], Any], second: Callable[[], Any], *, pause_at: tuple[str, str]) -> list[Any]:
    """Start ``second`` while ``first`` is about to send its ``pause_at`` statement; return what both came to."""
    half, ended = threading.Event(), [None, None]

    def slow(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith(pause_at[0]) and pause_at[1] in sql and not half.is_set():
            half.set()
            time.sleep(0.7)
        return execute(sql, *args)

    def run(number: int, act: Callable[[], Any]) -> None:
        try:
            with database.execute_wrapper(slow if number == 0 else lambda execute, *args: execute(*args)):
                ended[number] = act()
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            ended[number] = error  # type: ignore[call-overload]
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(n, act)) for n, act in enumerate((first, second))]
    threads[0].start()
    assert half.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join(30)
    return ended


def meanwhile(act: Callable[[], Any], *, after: tuple[str, str]) -> Any:
    """Return a wrapper that acts once, right after the first such statement: between a look and the write."""
    done: list[str] = []

    def wrapper(execute: Any, sql: str, *args: Any) -> Any:
        result = execute(sql, *args)
        if sql.startswith(after[0]) and after[1] in sql and not done:
            done.append(sql)
            act()
        return result

    return database.execute_wrapper(wrapper)


@pytest.mark.security("D07")
@pytest.mark.parametrize("subject", ["account-1", None])
def test_of_two_who_disconnect_at_once_the_later_ends_the_grant(
    subject: str | None, provider: Provider, user: User, make_user: Callable[..., User], fake: FakeProvider
) -> None:
    other = make_user("bob") if subject else user
    one, two = (
        make_connection(provider, user, fake, subject=subject),
        make_connection(provider, other, fake, subject=subject),
    )
    ended = at_once(lambda: flows.revoke(one), lambda: flows.revoke(two), pause_at=("INSERT", "oauth_flows_revocation"))
    assert ended == ["not_revoked_shared", "revoked"]
    assert not Token.objects.exists()


@pytest.mark.security("B26")
def test_an_account_that_must_be_unique_is_so_for_two_who_connect_at_once(
    user: User, make_user: Callable[..., User], fake: FakeProvider, browser: Client
) -> None:
    provider, bob = make_provider(fake, unique_subject=True, revocation_effect="token"), make_user("bob")
    callback = begin(browser, provider)
    with meanwhile(lambda: make_connection(provider, bob, fake), after=("SELECT", "parameters_digest")):
        response = answer(browser, callback)
    assert b"account_in_use" in response.content
    assert Connection.objects.get().owner_id == str(bob.pk)
    assert [grant.alive for grant in fake.oauth2.grants] == [False, True]


@pytest.mark.security("B26")
@pytest.mark.skipif(database.vendor == "sqlite", reason="one writer")
def test_two_imports_of_an_account_that_must_be_unique_wait_for_each_other(
    user: User, make_user: Callable[..., User], fake: FakeProvider
) -> None:
    provider, bob = make_provider(fake, unique_subject=True), make_user("bob")
    ended = at_once(
        lambda: make_connection(provider, user, fake),
        lambda: make_connection(provider, bob, fake),
        pause_at=("INSERT", "oauth_flows_token"),
    )
    assert isinstance(ended[0], Connection)
    assert isinstance(ended[1], OAuthFlowsError)
    assert ended[1].code == "account_in_use"


@pytest.mark.parametrize("decision", ["paused", "transferred"])
def test_a_reconnect_undoes_nothing_that_was_decided_meanwhile(
    decision: str, connection: Connection, make_user: Callable[..., User], browser: Client, fake: FakeProvider
) -> None:
    carl = make_user("carl")
    before = Token.objects.get().generation
    callback = begin(browser, connection.provider)

    def decide() -> None:
        if decision == "paused":
            Connection.objects.filter(pk=connection.pk).update(paused=True)
        else:
            flows.transfer(connection, to=carl)

    with meanwhile(decide, after=("SELECT", "parameters_digest")):
        response = answer(browser, callback)
    row = Connection.objects.get()
    if decision == "paused":
        assert (response.status_code, row.paused) == (303, True)
    else:
        assert b"not_allowed" in response.content
        assert (row.owner_id, Token.objects.get().generation) == (str(carl.pk), before + 1)
        assert flows.access_token(row)


@pytest.mark.security("F12")
def test_a_transfer_does_not_lose_the_answer_to_a_refresh(
    connection: Connection, make_user: Callable[..., User], fake: FakeProvider
) -> None:
    shift_expiry(connection, timedelta(seconds=-1))
    reached, until, carl = threading.Event(), threading.Event(), make_user("carl")
    fake.script("token", Delay(reached=reached, until=until))
    ended: list[Any] = []

    def work() -> None:
        ended.append(flows.access_token(connection))
        connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    assert reached.wait(10)
    with pytest.raises(TokenUnavailable) as caught:
        flows.transfer(connection, to=carl)
    assert caught.value.code == "refresh_in_progress"
    until.set()
    thread.join()
    moved = flows.transfer(connection, to=carl)
    assert moved.owner_id == str(carl.pk)
    assert flows.access_token(moved) == ended[0]
    assert flows.refresh(moved).refreshed


@pytest.mark.skipif(database.vendor == "sqlite", reason="one writer")
@pytest.mark.parametrize("verb", ["revoke", "import", "delete"])
def test_a_transfer_waits_in_the_same_order_as_everything_else(
    verb: str, connection: Connection, provider: Provider, user: User, make_user: Callable[..., User]
) -> None:
    carl = make_user("carl")
    acts: dict[str, Callable[[], Any]] = {
        "revoke": lambda: flows.revoke(Connection.objects.get(pk=connection.pk)),
        "import": lambda: flows.import_connection(provider, user, access_token="abc", subject="account-1"),
        "delete": lambda: Connection.objects.get(pk=connection.pk).delete(),
    }
    ended = at_once(
        lambda: flows.transfer(connection, to=carl), acts[verb], pause_at=("UPDATE", "oauth_flows_connection")
    )
    assert isinstance(ended[0], Connection)
    assert not any("deadlock" in str(end).lower() for end in ended)
    if verb != "import":
        assert not Token.objects.exists()
        assert Revocation.objects.get().outcome == "revoked"


@pytest.mark.security("D08")
def test_a_deletion_and_a_connect_at_once_both_come_to_their_end(
    connection: Connection, provider: Provider, user: User
) -> None:
    lean = Connection.objects.get(pk=connection.pk)  # its provider has to be read on the way
    ended = at_once(
        lean.delete,
        lambda: flows.import_connection(provider, user, access_token="abc", subject="account-2"),
        pause_at=("SELECT", "oauth_flows_provider"),
    )
    assert not any(isinstance(end, Exception) for end in ended), ended
    assert Connection.objects.get().subject == "account-2"
    assert Revocation.objects.get().outcome == "revoked"


@pytest.mark.skipif(database.vendor != "mysql", reason="PostgreSQL raises, SQLite has one writer")
@pytest.mark.parametrize("verb", ["revoke", "import"])
def test_what_a_transaction_has_read_before_does_not_make_it_look_for_ever(
    verb: str, connection: Connection, provider: Provider, user: User
) -> None:
    with database.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    sent: list[str] = []

    def counting(execute: Any, sql: str, *args: Any) -> Any:
        sent.append(sql)
        assert len(sent) < 100
        return execute(sql, *args)

    def bump() -> None:
        Token.objects.filter(connection=connection).update(generation=F("generation") + 1)
        connections.close_all()

    try:
        with database.execute_wrapper(counting), transaction.atomic():
            before = Token.objects.get().generation
            thread = threading.Thread(target=bump)
            thread.start()
            thread.join()
            if verb == "revoke":
                flows.revoke(connection)
            else:
                flows.import_connection(provider, user, access_token="abc", subject="account-1")
    finally:
        with database.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    assert list(Token.objects.values_list("generation", flat=True)) == ([] if verb == "revoke" else [before + 2])


def test_an_owner_with_a_long_label_leaves_a_short_trace(
    connection: Connection, settings: Any, make_user: Callable[..., User]
) -> None:
    from django.db import models

    class OrganisationMembershipWorkspaceAccount(models.Model):  # noqa: DJ008 - never shown
        class Meta:
            app_label = "organisation_management_and_billing"
            managed = False

    label = "organisation_management_and_billing.OrganisationMembershipWorkspaceAccount"
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "OWNER_MODELS": [label]}
    moved = flows.transfer(connection, to=OrganisationMembershipWorkspaceAccount(pk=1))
    assert moved.owner_model == label.lower()
    assert ConnectionEvent.objects.get(kind="transferred").outcome == label.lower()[:60]
