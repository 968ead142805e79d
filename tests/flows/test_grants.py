"""A grant that has reached us is kept, or given back; it is never just gone."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, InterfaceError, connection
from django.db.models.signals import post_save

from django_oauth_flows import flows
from django_oauth_flows.models import AuthorizationRequest, Connection, ConnectionEvent, Revocation
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import answer, begin, make_connection, make_provider, shift_expiry, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

UNSTORABLE = {
    "nan": "NaN",
    "infinity": "[-Infinity, 1e999]",
    "nul": '"a\\u0000b"',
    "nul key": '{"\\u0000": 1}',
    "surrogate": '{"a": ["\\ud800"]}',
    "deep": "[" * 300 + "]" * 300,
}


def token_answer(access: str, refresh: str, plan: str) -> Answer:
    """Return a token response with a member ``plan``, written as JSON, beside a harmless one."""
    head = json.dumps({"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "team": "blue"})
    return Answer(200, f'{head[:-1]}, "plan": {plan}}}')


@pytest.mark.security("T16", "V02")
@pytest.mark.parametrize("plan", UNSTORABLE.values(), ids=UNSTORABLE)
def test_a_kept_field_that_no_database_takes_costs_neither_the_grant_nor_a_rotated_token(
    plan: str, user: User, browser: Client, fake: FakeProvider
) -> None:
    provider = make_provider(fake, dialect={"kept_token_fields": ["plan", "team"]})
    fake.script("token", token_answer(*fake.oauth2.issue(), plan))
    assert walk(browser, provider).status_code == 303
    mine = user.oauth_connections.get()
    assert mine.token.extra == {"team": "blue"}
    access, refresh = fake.oauth2.issue()
    fake.script("token", token_answer(access, refresh, plan))
    shift_expiry(mine, timedelta(seconds=-1))
    assert flows.access_token(mine) == access
    mine.token.refresh_from_db()
    assert mine.token.extra == {"team": "blue"}


def test_kept_fields_come_back_as_they_were(user: User, browser: Client, fake: FakeProvider) -> None:
    provider = make_provider(fake, dialect={"kept_token_fields": ["plan"]})
    plan = {"a": [1, 2.5, True, None, "ü 漢 😀", {"b": {"c": []}}], "n": 10**30}
    fake.script("token", token_answer(*fake.oauth2.issue(), json.dumps(plan)))
    assert walk(browser, provider).status_code == 303
    extra = user.oauth_connections.get().token.extra
    assert extra["plan"]["a"] == plan["a"]


def test_listed_callback_parameters_are_kept_and_none_of_the_protocols(
    user: User, browser: Client, fake: FakeProvider
) -> None:
    listed = ["realm_id", "bad", "code", "state"]
    provider = make_provider(fake, dialect={"kept_callback_parameters": listed})
    callback = begin(browser, provider)
    assert answer(browser, f"{callback}&realm_id=4711&bad=%00&other=1").status_code == 303
    assert user.oauth_connections.get().token.extra == {"realm_id": "4711"}


def test_callback_parameters_wait_with_a_parked_grant(
    user: User, browser: Client, fake: FakeProvider, make_user: Callable[..., User]
) -> None:
    provider = make_provider(fake, dialect={"kept_callback_parameters": ["realm_id"]})
    make_connection(provider, make_user("bob"), fake)
    page = answer(browser, f"{begin(browser, provider)}&realm_id=4711")["Location"]
    assert browser.post(page, {"action": "adopt"}).status_code == 303
    assert user.oauth_connections.get().token.extra == {"realm_id": "4711"}


@pytest.mark.security("T16", "B29")
@pytest.mark.parametrize("protocol", ["oauth2", "oauth1"])
@pytest.mark.parametrize(
    "error", [InterfaceError("connection already closed"), ValueError("a receiver of the site's"), RuntimeError("bug")]
)
def test_whatever_fails_after_the_exchange_gives_the_grant_back_and_closes_the_request(
    error: Exception, protocol: str, fake: FakeProvider, browser: Client
) -> None:
    provider = make_provider(fake, protocol=protocol, revocation_effect="token")
    callback = begin(browser, provider)

    def broken(execute: Any, sql: str, *args: Any) -> Any:
        if "INSERT INTO" in sql and "oauth_flows_token" in sql:
            raise error
        return execute(sql, *args)

    with connection.execute_wrapper(broken):
        assert answer(browser, callback).status_code in (500, 503)
    assert not Connection.objects.exists()
    assert fake.count("revoke") + fake.count("revoke1") >= 1
    request = AuthorizationRequest.objects.get()
    assert (request.outcome, request.failure) == ("failed", "internal_error")
    assert b"state_used" in answer(browser, callback).content  # it is over, and not "in progress"


@pytest.mark.security("T16", "D03")
@pytest.mark.parametrize("effect", ["unknown", "grant"])
def test_a_grant_of_nobody_knows_whom_is_not_ended_beside_a_connection_of_the_same_owner(
    effect: str, fake: FakeProvider, browser: Client, user: User
) -> None:
    provider = make_provider(fake, revocation_effect=effect)
    assert walk(browser, provider).status_code == 303
    living = user.oauth_connections.get()
    assert living.subject
    fake.script("userinfo", Answer(503))
    assert walk(browser, provider).status_code >= 400
    assert fake.count("revoke") == 0
    assert flows.session(living).get("echo").status_code == 200


@pytest.mark.security("T16")
def test_a_grant_that_was_committed_is_not_given_back_when_a_hook_of_the_site_fails(
    fake: FakeProvider, browser: Client, user: User
) -> None:
    from django.db import transaction

    provider = make_provider(fake, revocation_effect="token")

    def receiver(**_: Any) -> None:
        def hook() -> None:
            raise ValueError("a hook of the site's, after the commit")

        transaction.on_commit(hook)

    callback = begin(browser, provider)
    post_save.connect(receiver, sender=Connection)
    try:
        assert answer(browser, callback).status_code == 500
    finally:
        post_save.disconnect(receiver, sender=Connection)
    assert fake.count("revoke") == 0
    assert AuthorizationRequest.objects.get().outcome == "connected"
    with flows.session(user.oauth_connections.get()) as http:
        assert http.get("/echo").status_code == 200


@pytest.mark.security("T16")
def test_a_database_that_is_gone_altogether_does_not_hide_what_went_wrong(fake: FakeProvider, browser: Client) -> None:
    provider = make_provider(fake, revocation_effect="token")
    callback, gone = begin(browser, provider), []

    def broken(execute: Any, sql: str, *args: Any) -> Any:
        if gone or ("INSERT INTO" in sql and "oauth_flows_connection" in sql):
            gone.append(sql)
            raise InterfaceError("connection already closed")
        return execute(sql, *args)

    with connection.execute_wrapper(broken):
        assert answer(browser, callback).status_code == 503
    assert not fake.oauth2.grants[0].alive
    assert not Connection.objects.exists()


@pytest.mark.security("B29")
@pytest.mark.parametrize("error", [InterfaceError("connection already closed"), DatabaseError("disk full")])
def test_a_yes_that_cannot_be_stored_can_be_repeated(
    error: Exception,
    provider: Provider,
    fake: FakeProvider,
    browser: Client,
    user: User,
    make_user: Callable[..., User],
) -> None:
    make_connection(provider, make_user("bob"), fake)
    page = walk(browser, provider)["Location"]

    def broken(execute: Any, sql: str, *args: Any) -> Any:
        if "INSERT INTO" in sql and "oauth_flows_token" in sql:
            raise error
        return execute(sql, *args)

    with connection.execute_wrapper(broken):
        assert browser.post(page, {"action": "adopt"}).status_code == 503
    assert browser.post(page, {"action": "adopt"}).status_code == 303
    assert browser.post(page, {"action": "adopt"}).status_code == 303
    assert ConnectionEvent.objects.filter(kind="shared").count() == 1
    assert user.oauth_connections.count() == 1
    assert not Revocation.objects.exists()


@pytest.mark.security("T16", "D08")
@pytest.mark.parametrize("shared", [True, False])
def test_a_user_who_is_deleted_while_the_answer_is_read_leaves_no_grant_behind(
    shared: bool, fake: FakeProvider, browser: Client, user: User, make_user: Callable[..., User]
) -> None:
    provider = make_provider(fake, revocation_effect="token")
    if shared:
        make_connection(provider, make_user("bob"), fake)
    callback, deleted = begin(browser, provider), []

    def wrapper(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith("WITH found") and not deleted:  # PostgreSQL, which looks and stores in one statement
            deleted.append(sql)
            user.delete()
        result = execute(sql, *args)
        if sql.startswith("SELECT") and "parameters_digest" in sql and not deleted:
            deleted.append(sql)
            user.delete()
        return result

    with connection.execute_wrapper(wrapper):
        assert answer(browser, callback).status_code in (400, 503)
    assert deleted
    assert not fake.oauth2.grants[-1].alive
    assert Connection.objects.count() == shared


def parked_by(browser: Client, mine: Connection, fake: FakeProvider) -> tuple[str, str]:
    """Reconnect with another account; return the callback's address and that of the question."""
    from django_oauth_flows.testing.factories import consent

    fake.oauth2.subject = "account-2"
    callback = consent(browser.post(f"/oauth/connections/{mine.pk}/reconnect/")["Location"])
    return callback, answer(browser, callback)["Location"]


@pytest.mark.security("B27")
def test_a_repeated_callback_leads_back_to_the_question_that_still_stands(
    connection: Connection, browser: Client, fake: FakeProvider, client_for: Callable[..., Client], user: User
) -> None:
    callback, page = parked_by(browser, connection, fake)
    again = answer(browser, callback)
    assert (again.status_code, again["Location"]) == (303, page)
    assert fake.count("token") == 1
    elsewhere = client_for(user)  # the same user in another browser
    assert b"session_mismatch" in answer(elsewhere, callback).content
    assert browser.get(page).status_code == 200
    assert browser.post(page, {"action": "drop"}).status_code == 303
    assert b"state_used" in answer(browser, callback).content


@pytest.mark.security("B27")
def test_a_callback_repeated_after_the_yes_says_connected(
    connection: Connection, browser: Client, fake: FakeProvider, user: User
) -> None:
    callback, page = parked_by(browser, connection, fake)
    assert browser.post(page, {"action": "adopt"}).status_code == 303
    assert answer(browser, callback).status_code == 303
    assert user.oauth_connections.count() == 2
