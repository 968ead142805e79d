"""Speed is counted: statements per call, per page and per dance, BEGIN and COMMIT included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from django_oauth_flows import flows
from django_oauth_flows.flows import usage
from django_oauth_flows.models import Connection
from django_oauth_flows.testing.factories import answer, consent, make_connection, make_provider

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def statements(act: Callable[[], Any]) -> list[str]:
    """Return what ``act`` sent to the database."""
    with CaptureQueriesContext(database) as captured:
        act()
    return [query["sql"] for query in captured.captured_queries]


@pytest.mark.parametrize("protocol", ["oauth2", "oauth1"])
def test_a_fresh_call_reads_one_row_and_writes_nothing(protocol: str, user: User, fake: FakeProvider) -> None:
    make_connection(make_provider(fake, protocol=protocol), user, fake)
    connection = user.oauth_connections.get()  # without its provider, as a host's view would have it

    def call() -> None:
        with flows.session(connection, purpose="count") as http:
            assert http.get("/echo").status_code == 200

    sent = statements(call)
    assert len(sent) == 1, sent
    assert sent[0].startswith("SELECT")
    assert "FOR UPDATE" not in sent[0]
    assert len(statements(lambda: flows.access_token(connection))) == (1)


def test_the_connections_page_costs_the_same_for_one_and_for_ten(
    provider: Provider, user: User, browser: Client, fake: FakeProvider
) -> None:
    make_connection(provider, user, fake, subject="0")
    one = statements(lambda: browser.get("/oauth/"))
    for number in range(1, 6):
        make_connection(provider, user, fake, subject=str(number))
        flows.revoke(make_connection(provider, user, fake, subject=f"gone {number}"))
    ten = statements(lambda: browser.get("/oauth/"))
    assert len(ten) <= len(one) + 1  # what was revoked is looked up once there is something
    make_connection(provider, user, fake, subject="eleven")
    assert len(statements(lambda: browser.get("/oauth/"))) == len(ten)


def test_connecting_costs_at_most_sixteen_statements_and_reconnecting_nineteen(
    provider: Provider, user: User, browser: Client
) -> None:
    at_once = database.vendor == "postgresql"  # what is stored is one statement there
    usage.flush()  # what earlier tests have used is written after a request

    def dance(start_url: str) -> list[str]:
        started: list[Any] = []
        sent = statements(lambda: started.append(browser.post(start_url)))
        callback = consent(started[0]["Location"])
        return sent + statements(lambda: answer(browser, callback))

    first = dance("/oauth/connect/fake/")
    assert user.oauth_connections.count() == 1
    assert len(first) <= (9 if at_once else 16), "\n".join(first)
    again = dance(f"/oauth/connections/{Connection.objects.get().pk}/reconnect/")
    assert len(again) <= (18 if at_once else 19), "\n".join(again)
    assert Connection.objects.count() == 1
