"""Group M: disconnecting in bulk, draining and deleting: asked first, bounded in time, told truly."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection as database

from django_oauth_flows import flows
from django_oauth_flows.models import Connection, Provider, Revocation
from django_oauth_flows.testing.factories import answer, consent, make_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

PROVIDERS = "/admin/oauth_flows/provider/"
CONNECTIONS = "/admin/oauth_flows/connection/"


@pytest.fixture
def root(make_user: Callable[..., User], client_for: Callable[[User], Client]) -> Client:
    """Return a superuser's browser."""
    return client_for(make_user("root", is_staff=True, is_superuser=True))


@pytest.fixture
def silence() -> Iterator[str]:
    """Return the address of a server that accepts, and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def choose(client: Client, page: str, action: str, *keys: Any, **more: str) -> Any:
    """Choose an action for rows of a list."""
    chosen = {"action": action, "_selected_action": [str(key) for key in keys], **more}
    return client.post(page, chosen, follow=True)


def said(response: Any) -> str:
    """Return the messages on a page."""
    return " ".join(str(message) for message in response.context["messages"])


@pytest.mark.security("M09")
def test_an_enabled_provider_is_not_deleted(root: Client, provider: Provider) -> None:
    delete = f"{PROVIDERS}{provider.pk}/delete/"
    assert "disable it first" in root.get(delete).content.decode()
    assert root.post(delete, {"post": "yes"}).status_code == 403
    choose(root, PROVIDERS, "delete_selected", provider.pk, post="yes")
    assert Provider.objects.exists()
    Provider.objects.update(enabled=False)
    assert root.post(delete, {"post": "yes"}).status_code == 302
    assert not Provider.objects.exists()


@pytest.mark.security("M09")
def test_a_grant_that_waits_for_its_user_is_given_back_before_its_provider_goes(
    root: Client, browser: Client, user: User, provider: Provider, fake: FakeProvider
) -> None:
    present = make_connection(provider, user, fake, label="Ada Lovelace")
    Provider.objects.update(revocation_effect="token")
    fake.oauth2.subject, fake.oauth2.name = "account-2", "Countess"
    back = answer(browser, consent(browser.post(f"/oauth/connections/{present.pk}/reconnect/")["Location"]))
    assert "parked" in back["Location"]
    flows.revoke(present)
    Provider.objects.update(enabled=False)

    assert root.post(f"{PROVIDERS}{provider.pk}/delete/", {"post": "yes"}).status_code == 403
    choose(root, PROVIDERS, "disconnect_all", provider.pk, post="yes")

    assert not any(grant.alive for grant in fake.oauth2.grants)
    assert root.post(f"{PROVIDERS}{provider.pk}/delete/", {"post": "yes"}).status_code == 302


@pytest.mark.security("M09")
def test_the_delete_page_counts_what_goes_along(root: Client, connection: Connection) -> None:
    flows.revoke(connection)
    Provider.objects.update(enabled=False)
    page = root.get(f"{PROVIDERS}{connection.provider_id}/delete/").content.decode()
    for line in ("Connections: 1", "Connection events: 3", "Revocations: 1"):
        assert line in page


@pytest.mark.parametrize(("page", "action"), [(PROVIDERS, "disconnect_all"), (CONNECTIONS, "revoke_selected")])
def test_disconnecting_in_bulk_asks_first_and_names_the_number(
    page: str, action: str, root: Client, provider: Provider, user: User, fake: FakeProvider
) -> None:
    rows = [make_connection(provider, user, fake, subject=str(number)) for number in range(2)]
    keys = [provider.pk] if page == PROVIDERS else [row.pk for row in rows]
    question = choose(root, page, action, *keys)
    assert "2 connections" in question.content.decode()
    assert "cannot be undone" in question.content.decode()
    assert set(Connection.objects.values_list("status", flat=True)) == {"active"}
    assert Provider.objects.get().enabled
    done = choose(root, page, action, *keys, post="yes")
    assert "2 connections disconnected (revoked at the service: 2)." in said(done)
    assert not any(grant.alive for grant in fake.oauth2.grants)


def test_the_question_keeps_a_choice_across_all_pages(
    root: Client, provider: Provider, user: User, fake: FakeProvider
) -> None:
    rows = [make_connection(provider, user, fake, subject=str(number)) for number in range(2)]
    question = choose(root, CONNECTIONS, "revoke_selected", rows[0].pk, select_across="1")
    assert "2 connections" in question.content.decode()
    assert '<input type="hidden" name="select_across" value="1">' in question.content.decode()


@pytest.mark.parametrize(("page", "action"), [(PROVIDERS, "disconnect_all"), (CONNECTIONS, "revoke_selected")])
def test_a_provider_that_hangs_is_waited_for_once_and_the_rest_is_queued(
    page: str, action: str, root: Client, provider: Provider, user: User, fake: FakeProvider, silence: str
) -> None:
    rows = [make_connection(provider, user, fake, subject=str(number)) for number in range(5)]
    Provider.objects.update(request_deadline=1, revocation_effect="token", revocation_endpoint=f"{silence}/revoke")
    keys = [provider.pk] if page == PROVIDERS else [row.pk for row in rows]
    started = time.monotonic()
    done = choose(root, page, action, *keys, post="yes")
    assert time.monotonic() - started < 4
    assert "5 connections disconnected (still to be done: 5)." in said(done)
    assert "prune_oauth_flows" in said(done)
    assert set(Connection.objects.values_list("status", flat=True)) == {"revoked"}
    assert Revocation.objects.filter(outcome="pending").count() == 5
    refused = root.post(f"{PROVIDERS}{provider.pk}/delete/", {"post": "yes"})
    assert refused.status_code == 403


def test_what_there_is_no_time_for_stays_as_it_is(connection: Connection) -> None:
    assert flows.revoke_all(Connection.objects.all(), seconds=-1) == []
    connection.refresh_from_db()
    assert connection.status == "active"


@pytest.mark.parametrize("path", ["connection/{}/refresh/", "connection/"])
def test_refreshing_works_where_requests_are_atomic(
    path: str, root: Client, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database.settings_dict, "ATOMIC_REQUESTS", True)
    url = f"/admin/oauth_flows/{path.format(connection.pk)}"
    assert "refreshed" in said(choose(root, url, "refresh_selected", connection.pk, post="yes"))


def test_draining_works_where_requests_are_atomic(
    root: Client, connection: Connection, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database.settings_dict, "ATOMIC_REQUESTS", True)
    choose(root, PROVIDERS, "disconnect_all", connection.provider_id, post="yes")
    root.post(f"{CONNECTIONS}{connection.pk}/revoke/")
    assert not fake.oauth2.grants[0].alive
