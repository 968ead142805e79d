"""Popup mode in Chromium: who is told, what, and what is left where nobody listens or no script runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path

from django_oauth_flows.models import Connection
from django_oauth_flows.testing import Answer
from tests.browser.conftest import HANDS, ConsentPage
from tests.urls import urlpatterns as site

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider
    from tests.browser.conftest import Window

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]

HOME = """{% load oauth_flows %}<!doctype html><html lang="en"><meta charset="utf-8"><title>Home</title><main>
<p>Draft: <label>Text <input id="draft"></label></p>{% connect_button "fake" popup=True next=next %}</main></html>"""


def home(request: HttpRequest) -> HttpResponse:
    """Be the host's own page, with a button that opens a popup; ``?next=`` is where it goes on."""
    return HttpResponse(engines["django"].from_string(HOME).render({"next": request.GET.get("next", "")}, request))


def notes(request: HttpRequest) -> HttpResponse:
    """Be where the user wants to go."""
    return HttpResponse('<!doctype html><html lang="en"><title>Notes</title><main>Your notes</main></html>')


urlpatterns = [*site, path("home/", home), path("notes/", notes)]


def listen(page: Any) -> None:
    """Note every message that this page hears, and keep it from going on."""
    page.evaluate(
        """() => {
            window.heard = [];
            window.addEventListener("message", (event) => window.heard.push([event.origin, event.data]));
            document.addEventListener("oauth_flows:connected", (event) => {
                window.told = event.detail; event.preventDefault();
            });
        }"""
    )


def press_in_popup(window: Window, name: str = "Connect Fake") -> Any:
    """Press the button, and return the window that opens."""
    with window.page.expect_popup() as opened:
        window.reach(window.page.get_by_role("button", name=name), then="Enter")
    return opened.value


@pytest.mark.security("B28")
@pytest.mark.parametrize("hands", HANDS)
@pytest.mark.parametrize("policy", ["same-origin", None])
def test_the_popup_tells_the_page_that_opened_it_and_closes(
    policy: str | None, hands: str, window_for: Callable[..., Window], user: User, provider: Provider,
    settings: SettingsWrapper,
) -> None:  # fmt: skip
    """Django parts a page from the windows it opens (``Cross-Origin-Opener-Policy``), unless the site says otherwise."""
    settings.SECURE_CROSS_ORIGIN_OPENER_POLICY = policy
    window = window_for(user, by_keyboard=hands == "keyboard")
    page = window.open("/home/")
    listen(page)
    page.get_by_label("Text").fill("unsaved")
    popup = press_in_popup(window)
    page.wait_for_function("() => window.told !== undefined")
    connection = Connection.objects.get()
    assert page.evaluate("window.told") == {"connection": str(connection.pk)}
    assert page.get_by_label("Text").input_value() == "unsaved"  # the user is where they were
    if not popup.is_closed():
        popup.wait_for_event("close")
    for origin, data in page.evaluate("window.heard"):
        assert origin == window.site
        assert set(data) == {"type", "popup", "connection"}


@pytest.mark.parametrize("following", ["", "/notes/"])
def test_the_page_goes_on_by_itself(following: str, window: Window, provider: Provider) -> None:
    page = window.open(f"/home/?next={following}")
    press_in_popup(window)
    if following:
        page.wait_for_url(window.site + following)
    else:
        page.get_by_text("Fake is connected as Ada Lovelace").wait_for()
        assert page.url == f"{window.site}/home/?next="


@pytest.mark.security("B28")
@pytest.mark.parametrize(
    "following", ["https://evil.example/", "javascript:document.title='gotcha'", "//evil.example/"]
)
def test_a_page_goes_on_to_its_own_site_only(following: str, window: Window, provider: Provider) -> None:
    page = window.open("/home/")
    page.evaluate("next => { document.querySelector('[name=next]').value = next }", following)
    press_in_popup(window)
    page.get_by_text("Fake is connected as Ada Lovelace").wait_for()
    assert (page.url, page.title()) == (window.site + "/home/", "Home")


@pytest.mark.security("B28")
@pytest.mark.parametrize("policy", ["same-origin", None])
def test_an_opener_of_another_origin_hears_nothing(
    policy: str | None, window: Window, connection: Connection, fake: FakeProvider, settings: SettingsWrapper
) -> None:
    settings.SECURE_CROSS_ORIGIN_OPENER_POLICY = policy
    fake.script("authorize", Answer(200, "<!doctype html><title>Evil</title>", {"Content-Type": "text/html"}))
    page = window.page
    page.goto(f"{fake.url}/authorize")
    listen(page)
    address = f"{window.site}/oauth/connected/?popup={'a' * 32}&next=/notes/&connection={connection.pk}"
    with page.expect_popup() as opened:
        page.evaluate("address => { window.theirs = window.open(address, '_blank', 'popup') }", address)
    popup = opened.value
    popup.get_by_role("link", name="Continue").wait_for()
    popup.wait_for_timeout(300)
    assert page.evaluate("window.heard") == []
    assert not popup.is_closed()


@pytest.mark.security("B28")
@pytest.mark.parametrize("policy", ["same-origin", None])
def test_where_the_page_has_moved_on_the_popup_is_a_page_with_a_way_on(
    policy: str | None, window: Window, provider: Provider, fake: FakeProvider, settings: SettingsWrapper
) -> None:
    settings.SECURE_CROSS_ORIGIN_OPENER_POLICY = policy
    fake.script(
        "authorize",
        ConsentPage(),
        Answer(200, "<!doctype html><title>Elsewhere</title>", {"Content-Type": "text/html"}),
    )
    page = window.open("/home/?next=/notes/")
    popup = press_in_popup(window)
    popup.get_by_role("link", name="Allow").wait_for()
    page.goto(f"{fake.url}/authorize")
    listen(page)
    popup.get_by_role("link", name="Allow").click()
    popup.get_by_role("heading", name="Fake is connected").wait_for()
    popup.wait_for_timeout(300)
    assert page.evaluate("window.heard") == []
    popup.get_by_role("link", name="Continue").click()
    popup.wait_for_url(window.site + "/notes/")


@pytest.mark.parametrize("why", ["without scripts", "blocked"])
def test_without_scripts_or_windows_the_page_itself_goes_there_and_comes_back(
    why: str, window_for: Callable[..., Window], user: User, provider: Provider
) -> None:
    window = window_for(user, scripts=why != "without scripts")
    window.open("/home/?next=/notes/")
    if why == "blocked":
        window.page.evaluate("() => { window.open = () => null }")
    window.press("Connect Fake")
    assert window.page.url == window.site + "/notes/"
    assert user.oauth_connections.count() == 1


def test_who_says_no_in_the_popup_is_told_there_and_can_start_again(
    window: Window, provider: Provider, fake: FakeProvider
) -> None:
    fake.oauth2.denies = True
    page = window.open("/home/")
    listen(page)
    popup = press_in_popup(window)
    popup.get_by_role("heading", name="Cancelled").wait_for()
    assert page.evaluate("window.heard") == []
    fake.oauth2.denies = False
    popup.get_by_role("link", name="Start again").click()
    popup.get_by_role("button", name="Connect Fake").click()
    page.wait_for_function("() => window.told !== undefined")


def test_the_popups_last_page(window: Window, connection: Connection) -> None:
    window.open(f"/oauth/connected/?popup={'a' * 32}&next=/notes/&connection={connection.pk}")
    assert "Fake is connected" in window.text
    window.examine("connected")
