"""Group D: disconnecting. Immediate here, really revoked there, and no bystander is hurt."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError
from django.db import connection as database
from django.test import Client

from django_oauth_flows import flows
from django_oauth_flows.exceptions import Disconnected, ReauthorizationRequiredError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.revocations import work_off
from django_oauth_flows.models import Connection, ConnectionEvent, Provider, Revocation, Token
from django_oauth_flows.testing import Answer, Delay, Drop
from django_oauth_flows.testing.factories import answer, consent, make_connection, make_provider, shift_expiry, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def url_of(connection: Connection) -> str:
    return f"/oauth/connections/{connection.pk}/disconnect/"


@pytest.mark.security("D01")
def test_disconnecting_is_a_post_with_a_csrf_token(connection: Connection, user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.get(url_of(connection)).status_code == 405
    assert client.post(url_of(connection)).status_code == 403
    connection.refresh_from_db()
    assert connection.status == Connection.Status.ACTIVE


@pytest.mark.security("D02")
@pytest.mark.parametrize("verb", ["disconnect", "reconnect"])
def test_somebody_elses_connection_does_not_exist(
    verb: str,
    connection: Connection,
    make_user: Callable[..., User],
    client_for: Callable[..., Client],
    fake: FakeProvider,
) -> None:
    eve = client_for(make_user("eve"))
    theirs = eve.post(f"/oauth/connections/{connection.pk}/{verb}/")
    none = eve.post(f"/oauth/connections/00000000-0000-4000-8000-000000000000/{verb}/")
    assert theirs.status_code == none.status_code == 404
    assert theirs.content == none.content
    assert Client().post(f"/oauth/connections/{connection.pk}/{verb}/").status_code == 302
    connection.refresh_from_db()
    assert connection.status == Connection.Status.ACTIVE
    assert not fake.requests


@pytest.mark.security("D03")
@pytest.mark.parametrize(
    "fault", [Answer(500), Answer(503, b"", {"Retry-After": "60"}), Drop(), Answer(302, headers={"Location": "/"})]
)
def test_a_provider_that_is_down_delays_only_its_own_part(
    fault: Any, connection: Connection, fake: FakeProvider, browser: Client
) -> None:
    fake.script("revoke", fault)
    assert browser.post(url_of(connection)).status_code == 303
    with pytest.raises(Disconnected):
        flows.access_token(connection)
    assert not Token.objects.exists()
    row = Revocation.objects.get()
    assert (row.outcome, row.attempts) == ("pending", 1)
    assert row.refresh_token is not None
    assert row.next_attempt_at is not None
    page = browser.get("/oauth/").content.decode()
    assert "has not been told yet" in page
    assert flows.work_off_revocations() == 0  # not due yet
    Revocation.objects.update(next_attempt_at=DatabaseNow() - timedelta(seconds=1))
    assert flows.work_off_revocations() == 1
    row.refresh_from_db()
    assert (row.outcome, row.refresh_token, row.access_token) == ("revoked", None, None)
    assert not fake.oauth2.grants[0].alive
    assert "has taken the access back" in browser.get("/oauth/").content.decode()


@pytest.mark.security("D03")
def test_a_provider_that_does_not_answer_in_time_delays_only_its_own_part(
    connection: Connection, fake: FakeProvider, browser: Client
) -> None:
    Provider.objects.update(request_deadline=1)
    go = threading.Event()
    fake.script("revoke", Delay(until=go))
    assert browser.post(url_of(connection)).status_code == 303
    go.set()
    assert not Token.objects.exists()
    assert (Revocation.objects.get().outcome, fake.count("revoke")) == ("pending", 1)
    Revocation.objects.update(next_attempt_at=DatabaseNow() - timedelta(seconds=1))
    assert flows.work_off_revocations() == 1


@pytest.mark.security("D03")
def test_a_provider_that_says_when_to_come_back_is_not_asked_before(connection: Connection, fake: FakeProvider) -> None:
    fake.script("revoke", Answer(503, b"", {"Retry-After": "3600"}))
    flows.revoke(connection)
    row = Revocation.objects.annotate(now=DatabaseNow()).get()
    assert row.next_attempt_at is not None
    assert row.next_attempt_at - row.now > timedelta(minutes=50)


@pytest.mark.security("D03")
def test_retries_are_bounded(connection: Connection, fake: FakeProvider) -> None:
    fake.script("revoke", *[Answer(500)] * 20)
    flows.revoke(connection)
    for _ in range(15):
        Revocation.objects.filter(outcome="pending").update(next_attempt_at=None)
        flows.work_off_revocations()
    row = Revocation.objects.get()
    assert (row.outcome, row.attempts, row.refresh_token) == ("failed", 12, None)
    assert fake.count("revoke") == 12


@pytest.mark.security("D04")
def test_the_refresh_token_goes_first_and_an_unknown_token_is_a_success(
    connection: Connection, fake: FakeProvider
) -> None:
    fake.oauth2.grants.clear()
    assert flows.revoke(connection) == "revoked"
    sent = [(r.form["token_type_hint"], r.form["token"].rpartition("_")[0]) for r in fake.received("revoke")]
    assert sent == [("refresh_token", "canary_refresh"), ("access_token", "canary_access")]


@pytest.mark.security("D04")
def test_a_provider_without_revocation_is_named_as_such_with_a_way_out(
    provider: Provider, user: User, fake: FakeProvider, browser: Client
) -> None:
    provider.revocation_endpoint, provider.account_url = "", "https://fake.example/grants"
    provider.save()
    mine = make_connection(provider, user, fake)
    assert flows.revoke(mine) == "unsupported"
    page = browser.get("/oauth/").content.decode()
    assert "did not take the access back" in page
    assert 'href="https://fake.example/grants"' in page
    assert not fake.requests


@pytest.mark.security("D04")
def test_an_unsupported_token_type_is_unsupported(connection: Connection, fake: FakeProvider) -> None:
    fake.script("revoke", *[Answer(400, {"error": "unsupported_token_type"})] * 2)
    assert flows.revoke(connection) == "unsupported"


@pytest.mark.security("D05")
def test_ten_presses_revoke_once(connection: Connection, fake: FakeProvider, browser: Client) -> None:
    assert [browser.post(url_of(connection)).status_code for _ in range(10)] == [303] * 10
    assert fake.count("revoke") == 2
    assert Revocation.objects.count() == 1
    assert ConnectionEvent.objects.filter(kind="revoked").count() == 1


@pytest.mark.security("D05")
def test_a_revocation_under_way_is_not_sent_by_a_second_worker(
    connection: Connection, fake: FakeProvider, browser: Client
) -> None:
    go, reached = threading.Event(), threading.Event()
    fake.script("revoke", Delay(until=go, reached=reached))

    def run() -> None:
        browser.post(url_of(connection))
        database.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert reached.wait(10)
    assert flows.work_off_revocations() == 0
    assert work_off(Revocation.objects.get()) == "pending"  # by one who had found it before it was under way
    go.set()
    thread.join()
    assert fake.count("revoke") == 2
    assert Revocation.objects.get().outcome == "revoked"


@pytest.mark.security("D06")
def test_a_session_held_elsewhere_stops_with_the_next_request(connection: Connection, fake: FakeProvider) -> None:
    with flows.session(connection) as http:
        assert http.get("/echo").status_code == 200
        flows.revoke(Connection.objects.get(pk=connection.pk))
        with pytest.raises(Disconnected) as caught:
            http.get("/echo")
    assert caught.value.code == "disconnected"
    assert fake.count("api") == 1


def test_disconnecting_inside_a_transaction_waits_for_its_commit(connection: Connection, fake: FakeProvider) -> None:
    from django.db import transaction

    with transaction.atomic():
        assert flows.revoke(connection) == "pending"
        assert not fake.requests
    assert fake.count("revoke") == 2
    assert Revocation.objects.get().outcome == "revoked"


@pytest.mark.parametrize("effect", ["grant", "unknown"])
@pytest.mark.security("D07")
def test_a_bystander_on_the_same_grant_is_not_hurt_and_is_told_before(
    effect: str, provider: Provider, user: User, make_user: Callable[..., User], fake: FakeProvider, browser: Client
) -> None:
    provider.revocation_effect = effect
    provider.save()
    fake.oauth2.revocation_ends_grant = True
    mine, theirs = make_connection(provider, user, fake), make_connection(provider, make_user("bob"), fake)
    page = browser.get("/oauth/").content.decode()
    assert "Another connection stands on the same permission" in page
    assert flows.revoke(mine) == "not_revoked_shared"
    assert not fake.requests
    assert flows.access_token(theirs)
    assert "left in place, because another connection" in browser.get("/oauth/").content.decode()
    assert flows.revoke(theirs) == "revoked"


@pytest.mark.security("D07")
def test_a_bystander_whose_grant_ended_nevertheless_is_told_at_the_next_refusal(
    provider: Provider, user: User, make_user: Callable[..., User], fake: FakeProvider
) -> None:
    """The row promises that revoking ends a token; the server ends the account's whole grant."""
    provider.revocation_effect = "token"
    provider.save()
    mine, theirs = make_connection(provider, user, fake), make_connection(provider, make_user("bob"), fake)
    shared, other = fake.oauth2.grants
    shared.access.update(other.access)
    shared.refresh.update(other.refresh)
    fake.oauth2.grants.remove(other)
    assert flows.revoke(mine) == "revoked"
    shift_expiry(theirs, timedelta(minutes=30))
    with flows.session(theirs) as http, pytest.raises(ReauthorizationRequiredError):
        http.get("/echo")
    theirs.refresh_from_db()
    assert (theirs.status, theirs.reason) == ("reauthorization_required", "invalid_grant")


def test_reconnecting_does_not_revoke_what_the_new_grant_stands_on(
    provider: Provider, user: User, fake: FakeProvider, browser: Client
) -> None:
    fake.oauth2.revocation_ends_grant = True
    mine = make_connection(provider, user, fake)
    started = browser.post(f"/oauth/connections/{mine.pk}/reconnect/")
    answer(browser, consent(started["Location"]))
    assert fake.count("revoke") == 0
    assert Revocation.objects.get().outcome == "not_revoked_shared"
    assert all(grant.alive for grant in fake.oauth2.grants)


def test_a_superseded_token_is_revoked_where_it_stands_alone(
    provider: Provider, user: User, fake: FakeProvider, browser: Client
) -> None:
    provider.revocation_effect = "token"
    provider.save()
    make_connection(provider, user, fake)
    walk(browser, provider)
    assert [grant.alive for grant in fake.oauth2.grants] == [False, True]
    with flows.session(Connection.objects.get()) as http:
        assert http.get("/echo").status_code == 200


def test_a_provider_that_answers_with_the_same_tokens_again_is_not_asked_to_revoke_them(
    provider: Provider, user: User, fake: FakeProvider, browser: Client
) -> None:
    provider.revocation_effect = "token"
    provider.save()
    mine = make_connection(provider, user, fake)
    grant = fake.oauth2.grants[0]
    access, refresh = next(iter(grant.access)), next(iter(grant.refresh))
    fake.script("token", Answer(200, {"access_token": access, "refresh_token": refresh, "token_type": "Bearer"}))
    walk(browser, provider)
    assert fake.count("revoke") == 0
    assert flows.access_token(mine) == access


def test_a_second_consent_without_a_refresh_token_keeps_the_old_one(
    connection: Connection, provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    before = Token.objects.select_related("connection").get().open("refresh_token")
    fake.oauth2.issues_refresh_tokens = False
    walk(browser, provider)
    token = Token.objects.select_related("connection").get()
    assert token.open("refresh_token") == before
    assert token.next_refresh_at is not None


def test_tokens_are_not_sent_to_a_provider_that_was_repointed(connection: Connection, fake: FakeProvider) -> None:
    Provider.objects.update(token_endpoint=f"{fake.url}/elsewhere")
    assert flows.revoke(connection) == "pending"
    for _ in range(12):
        assert Revocation.objects.get().last_failure == "provider_changed"
        Revocation.objects.update(next_attempt_at=None)
        flows.work_off_revocations()
    row = Revocation.objects.get()
    assert (row.outcome, row.refresh_token) == ("failed", None)
    assert not fake.requests


def test_a_crash_between_queue_and_sending_leaves_the_revocation_to_be_done(
    connection: Connection, fake: FakeProvider
) -> None:
    def broken(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("UPDATE") and "oauth_flows_revocation" in sql:
            raise DatabaseError("gone")
        return execute(sql, *args)

    with database.execute_wrapper(broken):
        flows.revoke(connection)
    assert Revocation.objects.get().outcome == "pending"
    assert flows.work_off_revocations() == 1
    assert not fake.oauth2.grants[0].alive


def test_oauth1_without_a_revocation_endpoint_says_so(user: User, fake: FakeProvider) -> None:
    provider = make_provider(fake, slug="plain", protocol="oauth1", revocation_endpoint="")
    assert flows.revoke(make_connection(provider, user, fake)) == "unsupported"
