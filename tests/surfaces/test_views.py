"""The connections page and disconnecting: what is said, to whom, and how truly."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection as database
from django.db import connections
from django.utils import timezone

from django_oauth_flows import flows
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Connection, ConnectionEvent, Provider, Revocation, Token
from django_oauth_flows.testing.factories import answer, consent, make_connection, make_provider, shift_expiry, walk
from django_oauth_flows.testing.faults import write
from tests.surfaces.reading import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import Answer, FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/oauth/"


def test_the_page_says_what_is_connected_as_whom_with_what_since_when_and_how_it_stands(
    browser: Client, connection: Connection
) -> None:
    moment = timezone.now() - timedelta(days=3)
    Connection.objects.update(
        label="Ada Lovelace", requested_scopes=("read", "write"), granted_scopes=("read",), last_used_at=moment,
        last_purpose="Show your notes", authorized_at=moment,
    )  # fmt: skip
    page = text_of(browser.get(PAGE))
    assert "Fake: Ada Lovelace" in page
    assert "Permissions read Not granted write" in page
    assert "Working, with fewer permissions than asked for." in page
    assert "(Show your notes)" in page
    assert str(moment.year) in page
    assert "Reconnect" in page
    assert "Disconnect" in page
    assert "Connect Fake" in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "Working."),
        ({"paused": True}, "Paused: this site makes no use of it."),
        (
            {"status": "reauthorization_required", "reason": "invalid_grant"},
            "Needs your attention: the service no longer accepts the grant.",
        ),
        ({"granted_scopes": ()}, "Working, with fewer permissions"),
    ],
)
def test_health_in_plain_words(browser: Client, connection: Connection, change: dict[str, Any], said: str) -> None:
    Connection.objects.update(**({"requested_scopes": ("read",), "granted_scopes": ("read",)} | change))
    assert said in text_of(browser.get(PAGE)).replace("&#x27;", "'")


def test_an_expired_connection_that_cannot_be_renewed_says_when_it_ended_and_one_that_can_does_not(
    browser: Client, connection: Connection
) -> None:
    shift_expiry(connection, timedelta(hours=-1))
    assert "Needs your attention" not in text_of(browser.get(PAGE))
    Token.objects.update(refresh_token=None)
    page = text_of(browser.get(PAGE))
    assert "access has expired and cannot be renewed automatically" in page
    assert "Ended" in page
    shift_expiry(connection, timedelta(hours=1))
    page = text_of(browser.get(PAGE))
    assert "it cannot be renewed automatically, so reconnect then" in page
    assert "Working." in page


def test_a_connection_whose_refresh_fails_says_that_nothing_is_lost(browser: Client, connection: Connection) -> None:
    Token.objects.update(failure_count=2)
    assert "It will be asked again; nothing is lost." in text_of(browser.get(PAGE))


def test_a_connection_without_tokens_asks_for_a_reconnect(browser: Client, connection: Connection) -> None:
    Token.objects.all().delete()
    assert "Needs your attention: it has to be reconnected." in text_of(browser.get(PAGE))


@pytest.mark.parametrize("change", [{"enabled": False}, {"paused": True}, {"authorization_endpoint": ""}])
def test_a_provider_that_cannot_be_asked_offers_neither_connect_nor_reconnect_but_disconnect(
    change: dict[str, Any], browser: Client, connection: Connection
) -> None:
    Provider.objects.update(**change)
    page = text_of(browser.get(PAGE))
    assert "Reconnect" not in page
    assert "Connect Fake" not in page
    assert "Disconnect" in page


def test_the_number_of_queries_does_not_depend_on_the_number_of_connections(
    browser: Client, provider: Provider, user: User, fake: FakeProvider, django_assert_max_num_queries: Any
) -> None:
    counts = []
    for round_ in range(3):
        for index in range(4):
            connection = make_connection(provider, user, fake, subject=f"{round_}-{index}")
        flows.revoke(connection)
        with django_assert_max_num_queries(10) as queries:
            assert text_of(browser.get(PAGE)).count("Fake: ") == 3 * (round_ + 1)
        counts.append(len(queries))
    assert len(set(counts)) == 1
    assert counts[0] <= 6


def test_thousands_of_connections_come_a_hundred_a_page_at_the_cost_of_a_few(
    browser: Client, provider: Provider, user: User, fake: FakeProvider, django_assert_max_num_queries: Any
) -> None:
    first = make_connection(provider, user, fake)
    Connection.objects.bulk_create(
        Connection(
            provider=provider, user=user, owner_model=first.owner_model, owner_id=first.owner_id,
            subject=str(number), label=f"account {number:04}", grant_type="imported",
        )
        for number in range(1, 2250)
    )  # fmt: skip
    names, address = [], f"{PAGE}?"
    while address:
        with django_assert_max_num_queries(6):
            html = browser.get(f"{PAGE}{address.removeprefix(PAGE)}").content.decode()
        names += re.findall(r"<bdi>(.*?)</bdi></h2>", html)
        found = re.search(r'rel="next" href="(.*?)"', html)
        address = found[1] if found else ""
        assert html.count("<article") <= 100
    assert names == ["account-1", *(f"account {number:04}" for number in range(1, 2250))]
    assert 'rel="prev" href="?page=22"' in html
    for nonsense in ("0", "-1", "x", "9" * 30, "²"):
        assert "account-1<" in browser.get(PAGE, {"page": nonsense}).content.decode()
    assert "No account" not in text_of(browser.get(PAGE, {"page": "500"}))


def test_what_was_disconnected_just_now_stands_on_the_first_page(
    browser: Client, provider: Provider, user: User, fake: FakeProvider
) -> None:
    first = make_connection(provider, user, fake)
    Connection.objects.bulk_create(
        Connection(
            provider=provider, user=user, owner_model=first.owner_model, owner_id=first.owner_id,
            subject=str(number), grant_type="imported",
        )
        for number in range(150)
    )  # fmt: skip
    last = Connection.objects.order_by("-created_at", "-pk").first()
    after = browser.post(f"/oauth/connections/{last.pk}/disconnect/", follow=True)  # type: ignore[union-attr]
    assert "Disconnected lately" in text_of(after)


@pytest.mark.security("M06")
def test_what_the_provider_says_is_text(
    browser: Client, provider: Provider, user: User, fake: FakeProvider, connection: Connection
) -> None:
    hostile = '"><img src=x onerror=alert(1)>{{ 7|add:7 }}'
    fake.oauth2.subject, fake.oauth2.name = "account-2", hostile
    fake.oauth2.granted_scopes = "read <b>x</b>"
    Provider.objects.update(name=hostile, account_url="https://as.example/'><script>")
    started = browser.post(f"/oauth/connections/{connection.pk}/reconnect/")
    parked = answer(browser, consent(started["Location"]))
    pages = [browser.get(parked["Location"]), browser.get("/oauth/connect/fake/confirm/?scopes=<b>&next=/<b>")]
    browser.post(parked["Location"], {"action": "adopt"})
    flows.revoke(connection)
    Revocation.objects.update(outcome=Revocation.Outcome.FAILED, finished_at=timezone.now())
    pages.append(browser.get(PAGE))
    for page in pages:
        html = page.content.decode()
        assert page.status_code == 200
        assert "<img" not in html
        assert "<b>" not in html
        assert "<script" not in html
        assert "&gt;&lt;img" in html
        assert "14" not in re.findall(r"onerror=alert\(1\)&gt;(.{0,20})", html)[0]


@pytest.mark.security("M06")
def test_a_name_that_turns_the_writing_direction_turns_nothing_but_itself(
    browser: Client, provider: Provider, user: User, fake: FakeProvider, connection: Connection
) -> None:
    turning = "\u202eecalevoL adA"
    Connection.objects.update(label=turning)
    fake.oauth2.subject, fake.oauth2.name = "account-2", turning
    parked = answer(browser, consent(browser.post(f"/oauth/connections/{connection.pk}/reconnect/")["Location"]))
    pages = [browser.get(PAGE), browser.get("/oauth/connect/fake/confirm/"), browser.get(parked["Location"])]
    flows.revoke(connection)
    for page in (*pages, browser.get(PAGE)):
        html = page.content.decode()
        assert turning in html
        assert turning not in html.replace(f"<bdi>{turning}</bdi>", "").replace(f'value="{turning}"', "")


def test_somebody_elses_connections_are_not_on_the_page(
    provider: Provider,
    connection: Connection,
    make_user: Callable[..., User],
    client_for: Callable[[User], Client],
) -> None:
    page = client_for(make_user("eve")).get(PAGE)
    assert str(connection.pk) not in page.content.decode()
    assert "No account is connected yet." in text_of(page)


# Disconnecting


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("revoked", "The service has taken the access back."),
        ("pending", "the service has not been told yet, and will be."),
        ("unsupported", "the service did not take the access back. Remove it at Fake yourself."),
        ("failed", "the service did not take the access back. Remove it at Fake yourself."),
        ("not_revoked_shared", "was left in place, because another connection uses it."),
    ],
)
def test_the_page_tells_the_truth_about_the_revocation(
    outcome: str, said: str, browser: Client, connection: Connection
) -> None:
    Provider.objects.update(account_url="https://as.example/grants")
    browser.post(f"/oauth/connections/{connection.pk}/disconnect/")
    ended = None if outcome == "pending" else timezone.now()
    Revocation.objects.update(outcome=outcome, finished_at=ended)
    page = browser.get(PAGE)
    assert said in text_of(page)
    assert ('href="https://as.example/grants"' in page.content.decode()) == (outcome in ("unsupported", "failed"))
    Connection.objects.update(revoked_at=DatabaseNow() - timedelta(days=8))
    assert "Disconnected lately" not in text_of(browser.get(PAGE))


class Watch:
    """Answer as usual, and note whether the caller has a transaction open while it waits."""

    def __init__(self) -> None:
        self.callers = connections["default"]  # of this thread, not of the server's
        self.open: list[bool] = []

    def play(self, handler: Any, normal: Callable[[], Answer]) -> None:
        """Look, then answer."""
        self.open.append(self.callers.in_atomic_block)
        write(handler, normal())


@pytest.mark.security("F19")
def test_no_page_holds_a_transaction_open_while_the_provider_is_asked(
    browser: Client, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch, user: User
) -> None:
    """A site may wrap every request into a transaction; ours are exempt."""
    monkeypatch.setitem(database.settings_dict, "ATOMIC_REQUESTS", True)
    provider, watch = make_provider(fake, protocol="oauth1"), Watch()
    for endpoint in ("temporary", "token1", "userinfo", "revoke1"):
        fake.script(endpoint, watch)
    assert walk(browser, provider).status_code == 303
    browser.post(f"/oauth/connections/{user.oauth_connections.get().pk}/disconnect/")
    assert watch.open == [False] * 4


@pytest.mark.security("D05")
def test_pressing_disconnect_ten_times_is_pressing_it_once(
    browser: Client, connection: Connection, fake: FakeProvider
) -> None:
    for _ in range(10):
        assert browser.post(f"/oauth/connections/{connection.pk}/disconnect/").status_code == 303
    assert fake.count("revoke") == 2
    assert ConnectionEvent.objects.filter(kind="revoked").count() == 1


@pytest.mark.security("D02")
@pytest.mark.parametrize("action", ["reconnect", "disconnect"])
def test_somebody_elses_connection_and_none_at_all_are_the_same_404(
    action: str, connection: Connection, make_user: Callable[..., User], client_for: Callable[[User], Client]
) -> None:
    eve = client_for(make_user("eve"))
    foreign = eve.post(f"/oauth/connections/{connection.pk}/{action}/")
    none = eve.post(f"/oauth/connections/{AuthorizationRequest().pk}/{action}/")
    assert foreign.status_code == none.status_code == 404
    assert foreign.content == none.content
    connection.refresh_from_db()
    assert connection.status == Connection.Status.ACTIVE


def test_disconnecting_a_shared_grant_says_so_first(
    browser: Client, connection: Connection, provider: Provider, fake: FakeProvider, make_user: Callable[..., User]
) -> None:
    notice = "leaves the permission there in place"
    assert notice not in text_of(browser.get(PAGE))
    make_connection(provider, make_user("bob"), fake)
    assert notice in text_of(browser.get(PAGE))
    Provider.objects.update(revocation_effect="token")
    assert notice not in text_of(browser.get(PAGE))
