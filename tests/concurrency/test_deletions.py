"""Deletions and disconnects beside each other: one order of locks, and nothing is missed because it has changed hands."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, connections
from django.db import connection as database

from django_oauth_flows import flows
from django_oauth_flows.admin.draining import delete_drained
from django_oauth_flows.flows.history import record
from django_oauth_flows.flows.leaving import connect_receivers
from django_oauth_flows.models import (
    AuthorizationRequest,
    Connection,
    ConnectionEvent,
    Provider,
    Revocation,
    Token,
)
from django_oauth_flows.testing import Answer, Delay
from django_oauth_flows.testing.factories import (
    answer,
    begin,
    consent,
    make_connection,
    make_provider,
    shift_expiry,
    walk,
)
from django_oauth_flows.testing.faults import write
from tests.concurrency.test_holding import at_once, meanwhile
from tests.flows.test_owners import connect_for, members_manage

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)
needs_row_locks = pytest.mark.skipif(database.vendor == "sqlite", reason="SQLite has one writer and no row locks")


class Meanwhile:
    """Act while the provider is being asked, then answer as usual, or with ``reply``."""

    def __init__(self, act: Callable[[], Any], *, reply: Answer | None = None) -> None:
        self.act, self.reply = act, reply

    def play(self, handler: Any, normal: Callable[[], Answer]) -> None:
        try:
            self.act()
        finally:
            connections.close_all()
        write(handler, self.reply or normal())


@needs_row_locks
def test_users_of_the_same_accounts_are_deleted_at_once(
    provider: Provider, make_user: Callable[..., User], fake: FakeProvider
) -> None:
    failures: list[Exception] = []

    def run(user: User, barrier: threading.Barrier) -> None:
        barrier.wait(10)
        try:
            user.delete()
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            failures.append(error)
        finally:
            connections.close_all()

    for turn in range(5):
        users = [make_user(f"user-{turn}-{number}") for number in range(4)]
        for user in users:
            for account in range(3):
                make_connection(provider, user, fake, subject=f"account-{turn}-{account}")
        barrier = threading.Barrier(4)
        threads = [threading.Thread(target=run, args=(user, barrier)) for user in users]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert failures == []
    assert not Token.objects.exists()


@needs_row_locks
def test_a_disconnect_waits_for_the_deletion_of_another_user_of_the_account(
    provider: Provider, user: User, make_user: Callable[..., User], fake: FakeProvider
) -> None:
    both = make_connection(provider, user, fake), make_connection(provider, make_user("bob"), fake)
    one, two = sorted(both, key=lambda row: str(row.pk))
    later = User.objects.get(pk=two.user_id)
    ended = at_once(later.delete, lambda: flows.revoke(one), pause_at=("SELECT", "oauth_flows_authorizationrequest"))
    assert not [error for error in ended if isinstance(error, Exception)]
    assert not Token.objects.exists()


@needs_row_locks
def test_a_drained_provider_is_deleted_while_an_account_is_imported(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    flows.revoke(make_connection(provider, user, fake))
    before = Provider.objects.get()
    Provider.objects.update(enabled=False)
    ended = at_once(
        lambda: flows.import_connection(before, user, access_token="canary_tok", subject="account-1"),
        lambda: delete_drained(provider),
        pause_at=("INSERT", "oauth_flows_token"),
    )
    assert "eadlock" not in str(ended)


@pytest.mark.security("D08", "T16")
@needs_row_locks
@pytest.mark.parametrize(
    "statement", [("DELETE", "oauth_flows_authorizationrequest"), ("UPDATE", "oauth_flows_connection")]
)
def test_a_user_is_deleted_beside_their_first_connect(
    statement: tuple[str, str], user: User, browser: Client, fake: FakeProvider
) -> None:
    provider = make_provider(fake, revocation_effect="token")
    callback = begin(browser, provider)
    table = database.ops.quote_name(statement[1])
    at_once(
        User.objects.get(pk=user.pk).delete,
        lambda: answer(browser, callback),
        pause_at=(statement[0], table),
    )
    assert not User.objects.exists()
    assert not Token.objects.exists()
    assert not [grant for grant in fake.oauth2.grants if grant.alive]


@pytest.mark.security("D08", "T16")
@needs_row_locks
def test_an_organisation_is_deleted_beside_its_first_connect(user: User, fake: FakeProvider, settings: Any) -> None:
    provider = make_provider(fake, revocation_effect="token")
    policy = f"{members_manage.__module__}.members_manage"
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "OWNER_MODELS": ["auth.Group"], "OWNER_POLICY": policy}
    connect_receivers()
    team = Group.objects.create(name="team")
    user.groups.add(team)
    table = database.ops.quote_name("auth_group")
    at_once(Group.objects.get().delete, lambda: connect_for(team, user, provider), pause_at=("DELETE", f"FROM {table}"))
    assert not Group.objects.exists()
    assert not Connection.objects.exists()
    assert not [grant for grant in fake.oauth2.grants if grant.alive]


@pytest.mark.security("D08", "T16")
@needs_row_locks
@pytest.mark.parametrize("whose", ["connection", "user"])
def test_what_is_parked_beside_a_deletion_is_given_back(
    whose: str, user: User, make_user: Callable[..., User], browser: Client, fake: FakeProvider
) -> None:
    provider = make_provider(fake, revocation_effect="token")
    if whose == "connection":
        mine = make_connection(provider, user, fake)
        callback = consent(browser.post(f"/oauth/connections/{mine.pk}/reconnect/")["Location"])
        fake.oauth2.subject = "another"
    else:
        make_connection(provider, make_user("bob"), fake)
        callback = begin(browser, provider)
    kept = len([grant for grant in fake.oauth2.grants if grant.alive]) - (whose == "connection")
    deleted = Connection.objects.get() if whose == "connection" else User.objects.get(pk=user.pk)
    table = database.ops.quote_name("oauth_flows_authorizationrequest")
    at_once(deleted.delete, lambda: answer(browser, callback), pause_at=("DELETE", table))
    assert not AuthorizationRequest.objects.filter(outcome="parked").exists()
    assert len([grant for grant in fake.oauth2.grants if grant.alive]) == kept


def test_a_connection_is_deleted_while_the_code_is_exchanged(user: User, browser: Client, fake: FakeProvider) -> None:
    provider = make_provider(fake, revocation_effect="token")
    mine = make_connection(provider, user, fake)
    callback = consent(browser.post(f"/oauth/connections/{mine.pk}/reconnect/")["Location"])
    fake.script("token", Meanwhile(Connection.objects.get().delete))
    page = answer(browser, callback)
    assert page.status_code == 400
    assert "not_allowed" in page.content.decode()
    assert not [grant for grant in fake.oauth2.grants if grant.alive]


@needs_row_locks
def test_an_event_that_is_recorded_meanwhile_does_not_stop_a_deletion(connection: Connection) -> None:
    def note() -> None:
        with suppress(IntegrityError):  # it comes too late
            record(ConnectionEvent.Kind.PAUSED, connection)

    table = database.ops.quote_name("oauth_flows_connection")
    ended = at_once(Connection.objects.get().delete, note, pause_at=("DELETE", f"FROM {table}"))
    assert not [error for error in ended if isinstance(error, Exception)]
    assert not Connection.objects.exists()


def test_an_account_is_imported_while_its_connection_is_deleted(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    mine = make_connection(provider, user, fake)
    with meanwhile(mine.delete, after=("SELECT", "parameters_digest")):
        imported = flows.import_connection(provider, user, access_token="canary_tok", subject="account-1")
    assert Connection.objects.get() == imported
    assert flows.access_token(imported) == "canary_tok"


def test_an_account_is_connected_while_its_connection_is_deleted(
    provider: Provider, user: User, browser: Client, fake: FakeProvider
) -> None:
    mine = make_connection(provider, user, fake)
    callback = begin(browser, provider)
    with meanwhile(Connection.objects.get().delete, after=("SELECT", "parameters_digest")):
        assert answer(browser, callback).status_code == 303
    connection = user.oauth_connections.get()
    assert connection.pk != mine.pk
    assert [event.kind for event in connection.events.all()] == ["authorized"]
    assert flows.access_token(connection)


def test_a_reconnect_of_a_connection_that_is_deleted_meanwhile_gives_its_grant_back(
    user: User, browser: Client, fake: FakeProvider
) -> None:
    provider = make_provider(fake, revocation_effect="token")
    mine = make_connection(provider, user, fake)
    callback = consent(browser.post(f"/oauth/connections/{mine.pk}/reconnect/")["Location"])
    with meanwhile(Connection.objects.get().delete, after=("SELECT", "parameters_digest")):
        page = answer(browser, callback)
    assert page.status_code == 400
    assert "not_allowed" in page.content.decode()
    assert not Connection.objects.exists()
    assert not [grant for grant in fake.oauth2.grants if grant.alive]


def test_a_connection_is_deleted_by_whoever_read_it_before_its_transfer(
    provider: Provider, user: User, make_user: Callable[..., User], fake: FakeProvider
) -> None:
    connection = make_connection(provider, user, fake, subject=None)
    flows.transfer(connection, to=make_user("bob"))
    connection.delete()
    assert not Token.objects.exists()
    assert Revocation.objects.get().outcome == "revoked"
    assert not fake.oauth2.grants[0].alive


def test_a_bulk_disconnect_meets_a_transfer(
    provider: Provider, user: User, make_user: Callable[..., User], fake: FakeProvider
) -> None:
    connection, bob = make_connection(provider, user, fake, subject=None), make_user("bob")
    with meanwhile(lambda: flows.transfer(connection, to=bob), after=("SELECT", "INNER JOIN")):
        flows.revoke_all(Connection.objects.filter(pk=connection.pk))
    connection.refresh_from_db()
    assert connection.status == "revoked"
    assert not Token.objects.exists()


def test_a_disconnect_meets_a_reconnect_that_learns_the_account(
    provider: Provider, user: User, browser: Client, fake: FakeProvider
) -> None:
    connection = make_connection(provider, user, fake, subject=None)
    callback = consent(browser.post(f"/oauth/connections/{connection.pk}/reconnect/")["Location"])
    with meanwhile(lambda: answer(browser, callback), after=("SELECT", "INNER JOIN")):
        flows.revoke(connection)
    assert Connection.objects.get().status == "revoked"
    assert not Token.objects.exists()


def test_a_reconnect_never_gives_its_grant_to_whom_the_connection_went_meanwhile(
    user: User, make_user: Callable[..., User], browser: Client, fake: FakeProvider
) -> None:
    provider, carl = make_provider(fake, revocation_effect="token"), make_user("carl")
    connection = make_connection(provider, user, fake)
    callback = begin(browser, provider)
    with meanwhile(lambda: flows.revoke(flows.transfer(connection, to=carl)), after=("SELECT", "parameters_digest")):
        answer(browser, callback)
    row = Connection.objects.get(pk=connection.pk)
    assert (row.owner_id, row.status) == (str(carl.pk), "revoked")


def test_a_late_refresh_spares_the_refresh_token_that_a_reconnect_kept(
    user: User, browser: Client, fake: FakeProvider
) -> None:
    provider = make_provider(fake, revocation_effect="token")
    connection = make_connection(provider, user, fake)
    shift_expiry(connection, timedelta(seconds=-1))
    kept = Token.objects.get().open("refresh_token")
    assert kept is not None

    def reconnect() -> None:
        fake.oauth2.issues_refresh_tokens = False  # a second consent brings none: the old one goes on
        started = browser.post(f"/oauth/connections/{connection.pk}/reconnect/")
        assert answer(browser, consent(started["Location"])).status_code == 303

    body = {"access_token": "canary_late", "token_type": "Bearer", "expires_in": 3600, "refresh_token": kept.reveal()}
    fake.script("token", Meanwhile(reconnect, reply=Answer(200, body)))
    flows.access_token(connection)
    assert Token.objects.get().open("refresh_token") == kept
    assert kept.reveal() not in [request.form["token"] for request in fake.received("revoke")]


def test_a_connection_deleted_while_it_is_revoked_stops_nobody_elses_revocation(user: User, fake: FakeProvider) -> None:
    provider = make_provider(fake, revocation_effect="token")
    for number in range(3):
        make_connection(provider, user, fake, subject=f"account-{number}")
    fake.script("revoke", Meanwhile(lambda: Connection.objects.all().delete()))
    ended = flows.revoke_all(Connection.objects.all())
    assert [outcome for _, outcome in ended] == ["revoked"] * 3
    assert not [grant for grant in fake.oauth2.grants if grant.alive]


def test_deleting_a_user_asks_a_silent_provider_once(user: User, fake: FakeProvider) -> None:
    provider = make_provider(fake, revocation_effect="token", request_deadline=1)
    for number in range(4):
        make_connection(provider, user, fake, subject=f"account-{number}")
    fake.script("revoke", *[Delay(3)] * 20)
    user.delete()
    assert fake.count("revoke") == 1
    assert Revocation.objects.filter(outcome="pending").count() == 4


def test_drained_parked_grants_ask_a_silent_provider_once(
    user: User, make_user: Callable[..., User], client_for: Callable[[User], Client], fake: FakeProvider
) -> None:
    provider = make_provider(fake, revocation_effect="token", request_deadline=1)
    make_connection(provider, user, fake)
    for number in range(3):
        walk(client_for(make_user(f"user-{number}")), provider)
    assert AuthorizationRequest.objects.filter(outcome="parked").count() == 3
    fake.script("revoke", *[Delay(3)] * 20)
    flows.drop_parked_of(provider, seconds=5)
    assert fake.count("revoke") == 1


def test_the_outcome_of_a_deleted_connection_is_nobody_elses(
    user: User, make_user: Callable[..., User], fake: FakeProvider
) -> None:
    provider = make_provider(fake, revocation_effect="grant")
    make_connection(provider, make_user("bob"), fake)
    third = make_connection(provider, make_user("carl"), fake)
    mine = make_connection(provider, user, fake, subject="mine")
    mine.delete()
    third.delete()  # ends as ``not_revoked_shared``
    assert flows.revoke(mine) == "revoked"
