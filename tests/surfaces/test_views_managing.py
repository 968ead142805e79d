"""The owner's buttons, what a card says before they are pressed, and the page of what has happened."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from django_oauth_flows import flows
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Connection, ConnectionEvent, Provider, Token
from django_oauth_flows.testing.factories import make_connection, make_provider, shift_expiry, walk
from django_oauth_flows.views.permissions import permissions
from tests.surfaces.reading import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/oauth/"


def press(browser: Client, connection: Connection, action: str, **form: Any) -> Any:
    """Press one of the card's buttons."""
    return browser.post(f"/oauth/connections/{connection.pk}/{action}/", form)


def card(browser: Client) -> str:
    """Return what the page says."""
    return text_of(browser.get(PAGE)).replace("&#x27;", "'")


# The buttons


def test_pause_and_resume_lead_back_to_the_card_and_say_who_pressed(
    browser: Client, connection: Connection, user: User
) -> None:
    for action, is_paused in (("pause", True), ("resume", False)):
        answer = press(browser, connection, action)
        assert (answer.status_code, answer["Location"]) == (303, f"/oauth/#connection-{connection.pk}")
        assert Connection.objects.get().paused is is_paused
    actors = ConnectionEvent.objects.filter(kind__in=("paused", "resumed")).values_list("actor", flat=True)
    assert list(actors) == [user.pk] * 2


@pytest.mark.parametrize("how", ["by its owner", "by staff"])
def test_a_paused_card_offers_what_helps_and_nothing_else(how: str, browser: Client, connection: Connection) -> None:
    if how == "by staff":
        Provider.objects.update(paused=True)
    else:
        flows.pause(connection)
    page = card(browser)
    assert ("Paused by the site's staff." in page) == (how == "by staff")
    assert (" Resume " in page) == (how == "by its owner")
    assert "Reconnect" not in page
    assert " Pause " not in page
    assert "Disconnect" in page


@pytest.mark.parametrize(
    "change", [{"status": "reauthorization_required", "reason": "invalid_grant"}, {"status": "revoked"}]
)
def test_what_does_not_work_has_nothing_to_pause(
    change: dict[str, str], browser: Client, connection: Connection
) -> None:
    assert " Pause " in card(browser)
    Connection.objects.update(**change)
    assert " Pause " not in card(browser)


def test_pausing_what_is_disconnected_is_refused_with_a_page(browser: Client, connection: Connection) -> None:
    flows.revoke(connection)
    page = press(browser, connection, "pause")
    assert page.status_code == 400
    assert "<code>disconnected</code>" in page.content.decode()


@pytest.mark.parametrize(
    ("entered", "kept"),
    [("  At   work ", "At work"), ("a\0b\u202ec\nd", "abc d"), ("x" * 300, "x" * 255), ("حساب العمل", "حساب العمل")],
)
def test_a_name_of_the_owners_choice_is_kept_when_the_account_is_connected_again(
    entered: str, kept: str, browser: Client, connection: Connection, provider: Provider
) -> None:
    answer = press(browser, connection, "relabel", label=entered)
    assert (answer.status_code, answer["Location"]) == (303, f"/oauth/#connection-{connection.pk}")
    assert f"Fake: {kept}" in card(browser)
    walk(browser, provider)
    assert Connection.objects.get().label == kept
    press(browser, connection, "relabel")
    walk(browser, provider)
    assert "Fake: Ada Lovelace" in card(browser)


@pytest.mark.security("D02")
@pytest.mark.parametrize("action", ["pause", "resume", "relabel", "activity"])
def test_somebody_elses_connection_and_none_at_all_are_the_same_404(
    action: str, connection: Connection, make_user: Callable[..., User], client_for: Callable[[User], Client]
) -> None:
    eve = client_for(make_user("eve"))
    ask = eve.get if action == "activity" else eve.post
    foreign = ask(f"/oauth/connections/{connection.pk}/{action}/")
    none = ask(f"/oauth/connections/{AuthorizationRequest().pk}/{action}/")
    assert foreign.status_code == none.status_code == 404
    assert foreign.content == none.content
    assert Connection.objects.values().get() == Connection.objects.filter(pk=connection.pk).values().get()
    assert not ConnectionEvent.objects.filter(kind__in=("paused", "resumed")).exists()


@pytest.mark.security("D01")
@pytest.mark.parametrize("action", ["pause", "resume", "relabel"])
def test_nothing_is_changed_by_a_link_nor_by_a_foreign_form(action: str, user: User, connection: Connection) -> None:
    from django.test import Client

    browser = Client(enforce_csrf_checks=True)
    browser.force_login(user)
    path = f"/oauth/connections/{connection.pk}/{action}/"
    assert browser.get(path).status_code == 405
    assert browser.post(path, {"label": "x"}).status_code == 403
    assert Connection.objects.values("paused", "label").get() == {"paused": False, "label": ""}
    anonymous = Client().post(path)
    assert (anonymous.status_code, anonymous["Location"]) == (302, "/accounts/login/?next=/oauth/")


def test_what_is_ticked_is_asked_for_beside_what_there_is(browser: Client, connection: Connection) -> None:
    Provider.objects.update(allowed_scopes=("write", "share"))
    page = browser.get(PAGE).content.decode()
    assert re.findall(r'name="scopes" value="(\w+)"', page) == ["write", "share"]
    started = press(browser, connection, "reconnect", scopes=["write", "share"])
    assert parse_qs(urlsplit(started["Location"]).query)["scope"] == ["read write share"]
    again = press(browser, connection, "reconnect")
    assert parse_qs(urlsplit(again["Location"]).query)["scope"] == ["read"]
    assert "scope_not_allowed" in press(browser, connection, "reconnect", scopes="admin").content.decode()


# What a card says


@pytest.mark.parametrize(
    ("token", "columns", "said"),
    [
        ({}, {}, "It is renewed by itself, and works until you disconnect it."),
        ({"refresh_token": None, "expires_at": None}, {}, "Nothing: it works until you disconnect it."),
        ({"refresh_token": None}, {}, "Access ends in about 2 hours; it cannot be renewed automatically"),
        ({}, {"refresh_token_lifetime": 40 * 86400 + 600}, "The service asks you again in about 40 days. ("),
        ({}, {"refresh_token_lifetime": 200 * 86400}, "The service asks you again in about 6 months. ("),
        ({"refresh_token_expires_at": timedelta(days=1, hours=2)}, {}, "again in about 1 day at the earliest."),
        (
            {"refresh_token_expires_at": timedelta(days=30, hours=2)},
            {"refresh_token_lifetime": 10 * 86400 + 600},
            "The service asks you again in about 10 days. (",
        ),
    ],
)
def test_what_happens_next(
    token: dict[str, Any], columns: dict[str, Any], said: str, browser: Client, connection: Connection
) -> None:
    shift_expiry(connection, timedelta(hours=2, minutes=5))
    Connection.objects.update(authorized_at=DatabaseNow())
    Provider.objects.update(**{"enabled": True} | columns)
    moments = {name: DatabaseNow() + value if isinstance(value, timedelta) else value for name, value in token.items()}
    Token.objects.update(**({"failure_count": 0} | moments))
    assert said in card(browser).replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"revocation_effect": "token"}, "is told to end this access, and no other."),
        ({"revocation_effect": "grant"}, "That ends everything which you allowed this site there."),
        ({"revocation_effect": "unknown"}, "It may then end everything which you allowed this site there."),
        ({"revocation_endpoint": ""}, "Fake cannot be told, so the permission there stays until you remove it there."),
    ],
)
def test_what_disconnecting_would_do_is_said_before(
    columns: dict[str, str], said: str, browser: Client, connection: Connection
) -> None:
    Provider.objects.update(account_url="https://as.example/grants", **columns)
    page = browser.get(PAGE)
    assert said in text_of(page)
    assert ('href="https://as.example/grants"' in page.content.decode()) == ("revocation_endpoint" in columns)


def test_permissions_in_the_words_of_the_site_of_the_standard_or_of_the_service(provider: Provider) -> None:
    provider.scope_descriptions = {
        "read": "read your notes",
        "write": {"en": "write notes", "de": "Notizen schreiben"},
        "share": {"fr": "partager"},
        "odd": 7,
        "none": {},
    }
    scopes = ("read", "write", "share", "email", "odd", "none", "https://api.example/x")
    assert [str(text) for _, text in permissions(provider, scopes)] == [
        "read your notes", "write notes", "partager", "see your e-mail address", "", "", "",
    ]  # fmt: skip
    with translation.override("de-at"):
        assert permissions(provider, ["write"])[0].description == "Notizen schreiben"
    provider.scope_descriptions = ["broken"]
    assert permissions(provider, ["read"]) == [("read", "")]


@pytest.mark.parametrize("wrong", [["read"], {"read": 1}, {"read": ""}, {"read": {}}, {"read": {"en": None}}])
def test_a_description_that_is_no_text_is_refused_at_its_field(wrong: Any, provider: Provider) -> None:
    from django.core.exceptions import ValidationError

    provider.scope_descriptions = wrong
    with pytest.raises(ValidationError) as caught:
        provider.full_clean()
    assert set(caught.value.message_dict) == {"scope_descriptions"}
    provider.scope_descriptions = {"read": {"en": "read your notes"}}
    provider.full_clean()


def test_the_services_are_searched_by_words_of_their_names(browser: Client, fake: FakeProvider) -> None:
    for number in range(8):
        make_provider(fake, slug=f"p{number}", name=f"Notebook {number}" if number < 2 else f"Service {number}")
    assert "Name of the service" in card(browser)
    found = browser.get(PAGE, {"q": "  NOTE  book 1 "})
    assert re.findall(r">Connect ([\w ]+)</button>", found.content.decode()) == ["Notebook 1"]
    assert 'value="NOTE book 1"' in found.content.decode()
    hostile = browser.get(PAGE, {"q": '"><script>'}).content.decode()
    assert "<script" not in hostile
    assert "No service is called" in hostile
    Provider.objects.filter(slug__gt="p6").delete()
    assert "Name of the service" not in card(browser)  # few are seen at a glance


# Activity


def test_the_activity_page_tells_in_plain_words_what_happened_and_who_did_it(
    browser: Client, connection: Connection, user: User, make_user: Callable[..., User]
) -> None:
    staff, friend = make_user("root", is_staff=True), make_user("bob <3")
    kinds = ConnectionEvent.Kind
    happened: list[tuple[str, str, User | None]] = [
        (kinds.AUTHORIZED, "", user), (kinds.PAUSED, "", staff), (kinds.RESUMED, "", friend),
        (kinds.NEEDS_REAUTHORIZATION, "invalid_grant", None), (kinds.RECOVERED, "", None),
        (kinds.REVOKED, "pending", user), (kinds.REVOCATION_FINISHED, "not_revoked_shared", None),
    ]  # fmt: skip
    for kind, outcome, actor in happened:
        ConnectionEvent.objects.create(
            provider=connection.provider, connection=connection, kind=kind, outcome=outcome, actor=actor
        )
    page = text_of(browser.get(f"/oauth/connections/{connection.pk}/activity/")).replace("&#x27;", "'")
    told = [
        "The service was told. The permission at the service was left in place",
        "Disconnected: this site has forgotten its access. The service had not been told yet. By you.",
        "It works again, without your doing.",
        "it has to be reconnected. The service no longer accepts the grant",
        "Resumed. By bob &lt;3.",
        "Paused: this site makes no use of it. By the site's staff.",
        "Connected. By you.",
    ]
    places = [page.index(words) for words in told]
    assert places == sorted(places)
    assert "root" not in page


def test_every_kind_of_event_and_every_outcome_has_words() -> None:
    from django_oauth_flows.models import Revocation
    from django_oauth_flows.views.wording import EVENTS, REVOCATIONS

    assert set(EVENTS) == set(ConnectionEvent.Kind.values)
    assert set(REVOCATIONS) == set(Revocation.Outcome.values)


def test_a_long_history_comes_fifty_a_page_each_at_the_same_cost(browser: Client, connection: Connection) -> None:
    ConnectionEvent.objects.bulk_create(
        ConnectionEvent(provider=connection.provider, connection=connection, kind="paused") for _ in range(119)
    )
    start = f"/oauth/connections/{connection.pk}/activity/"
    address, counts, costs = start, [], []
    while address:
        with CaptureQueriesContext(database) as captured:
            html = browser.get(address).content.decode()
        costs.append(len(captured))
        counts.append(html.count("<li>"))
        found = re.search(r'rel="next" href="(\?before=\d+)"', html)
        address = start + found[1] if found else ""
    assert counts == [50, 50, 20]
    assert costs == [4, 4, 4]  # session, user, connection, events
    assert "Newest" in html
    for nonsense in ("x", "-1", "²", "9" * 40, "0"):
        assert browser.get(start, {"before": nonsense}).content.decode().count("<li>") == 50
    assert "There is nothing older" in text_of(browser.get(start, {"before": "1"}))


@pytest.mark.security("D02")
def test_who_may_view_may_look_at_the_activity_and_press_nothing(
    connection: Connection,
    make_user: Callable[..., User],
    client_for: Callable[[User], Client],
    settings: SettingsWrapper,
) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "OWNER_POLICY": f"{__name__}.viewers"}
    viewer = client_for(make_user("viewer"))
    assert viewer.get(f"/oauth/connections/{connection.pk}/activity/").status_code == 200
    assert press(viewer, connection, "pause").status_code == 404


def viewers(user: Any, action: str, target: Any) -> bool:
    """Let everybody look."""
    return action == "view"


# The popup's last page


def test_a_connect_form_of_a_popup_comes_back_by_its_page(browser: Client, provider: Provider) -> None:
    window = "0123456789abcdef" * 2
    back = walk(browser, provider, popup=window, next="/notes/?a=1")
    connection = Connection.objects.get()
    assert back["Location"] == f"/oauth/connected/?popup={window}&next=%2Fnotes%2F%3Fa%3D1&connection={connection.pk}"
    html = browser.get(back["Location"]).content.decode()
    assert f'data-oauth-flows-connected="{window}" data-connection="{connection.pk}"' in html
    assert 'href="/notes/?a=1"' in html
    assert "oauth_flows/popup.js" in html


@pytest.mark.security("B28")
@pytest.mark.parametrize("window", ["", "x" * 32, "A" * 32, "a" * 33, '"><script>'])
def test_what_is_no_window_of_ours_is_no_popup(window: str, browser: Client, provider: Provider) -> None:
    assert walk(browser, provider, popup=window, next="/notes/")["Location"] == "/notes/"
    html = browser.get("/oauth/connected/", {"popup": window, "next": "//evil.example/"}).content.decode()
    assert "<script" not in html
    assert "evil.example" not in html
    assert 'href="/oauth/"' in html


@pytest.mark.security("B28", "D02")
def test_the_popups_page_names_no_connection_that_its_user_may_not_see(
    connection: Connection, make_user: Callable[..., User], client_for: Callable[[User], Client]
) -> None:
    eve = client_for(make_user("eve"))
    for pk in (str(connection.pk), str(AuthorizationRequest().pk), "nonsense", ""):
        html = eve.get("/oauth/connected/", {"popup": "a" * 32, "connection": pk}).content.decode()
        assert 'data-connection=""' in html
        assert "Fake" not in html


def test_the_cost_of_cards_does_not_grow(
    browser: Client, provider: Provider, user: User, fake: FakeProvider, django_assert_num_queries: Any
) -> None:
    Provider.objects.update(scope_descriptions={"read": "read your notes"}, refresh_token_lifetime=86400)
    for number in range(6):
        flows.pause(make_connection(provider, user, fake, subject=str(number), scopes=("read", "write")))
    with django_assert_num_queries(6):  # session, user, connections, revocations, who shares a grant, providers
        assert browser.get(PAGE).content.decode().count("<article") == 6
