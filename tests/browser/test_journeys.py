"""Real browsers walk the journeys: cookies, redirects across sites, history and buttons are Chromium's own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path
from django.utils.html import format_html

from django_oauth_flows.decorators import connection_required
from django_oauth_flows.models import AuthorizationRequest, Connection
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import make_connection, make_provider
from tests.browser.conftest import HANDS, ConsentPage, log_in
from tests.urls import urlpatterns as site

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider
    from tests.browser.conftest import Window

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]


@connection_required("fake")
def notes(request: HttpRequest) -> HttpResponse:
    """Show what needs a connection."""
    return HttpResponse("<title>Notes</title><p>Your notes, page " + request.GET.get("page", "1"))


def home(request: HttpRequest) -> HttpResponse:
    """Be the host's own page, with a button."""
    html = '{% load oauth_flows %}<!doctype html><html lang="en"><title>Home</title><main>{% connect_button "fake" next="/notes/?page=2" %}</main></html>'
    return HttpResponse(engines["django"].from_string(html).render({}, request))


def popup_home(request: HttpRequest) -> HttpResponse:
    """Be the host's own page, with a button that opens a popup."""
    html = '{% load oauth_flows %}<!doctype html><html lang="en"><title>Home</title><main>{% connect_button "fake" popup=True %}</main></html>'
    return HttpResponse(engines["django"].from_string(html).render({}, request))


def framing(request: HttpRequest) -> HttpResponse:
    """Frame a page of this very site."""
    return HttpResponse(format_html('<!doctype html><iframe src="{}"></iframe>', request.GET["target"]))


urlpatterns = [*site, path("notes/", notes), path("home/", home), path("popup/", popup_home), path("framing/", framing)]


def history(window: Window) -> int:
    """Return how many entries the back button could reach."""
    return int(window.page.evaluate("history.length"))


@pytest.mark.security("B25")
@pytest.mark.parametrize("hands", HANDS)
@pytest.mark.parametrize("protocol", ["oauth2", "oauth1"])
def test_a_user_connects_comes_back_and_disconnects(
    protocol: str, hands: str, window_for: Callable[..., Window], user: User, fake: FakeProvider
) -> None:
    make_provider(fake, protocol=protocol)
    window = window_for(user, by_keyboard=hands == "keyboard")
    asked: list[tuple[str, str]] = []
    window.page.on("request", lambda r: asked.append((r.url, r.headers.get("referer", ""))))
    window.open("/home/")
    window.press("Connect Fake")
    assert window.page.url == window.site + "/notes/?page=2"
    assert "page 2" in window.text
    state = AuthorizationRequest.objects.get().state_hash
    assert state not in str(asked)
    after = asked[next(i for i, (url, _) in enumerate(asked) if "/callback/" in url) + 1 :]
    assert after
    assert not [pair for pair in after if re.search(r"code=|state=|oauth_verifier", str(pair))]
    assert not [c for c in window.context.cookies() if c["name"].startswith("oauth_flows")]
    window.open("/home/")
    assert "Fake is connected as Ada Lovelace" in window.text
    window.open("/oauth/")
    window.press("Disconnect")
    assert "Disconnected lately" in window.text
    assert Connection.objects.get().status == Connection.Status.REVOKED
    window.open("/home/")
    assert "Connect Fake" in window.text


@pytest.mark.parametrize("hands", HANDS)
def test_a_page_that_needs_a_connection_is_reached_in_two_presses(
    hands: str, window_for: Callable[..., Window], user: User, provider: Provider
) -> None:
    window = window_for(None, by_keyboard=hands == "keyboard")
    window.open("/notes/?page=3")
    window.fill("Username:", user.username)
    window.fill("Password:", "correct horse")
    window.press("Log in")
    assert "You are logged in here as ada." in window.text
    window.press("Connect Fake")
    assert window.page.url == window.site + "/notes/?page=3"


@pytest.mark.security("B07")
@pytest.mark.parametrize("hands", HANDS)
def test_back_reload_and_the_same_address_again_end_in_sensible_pages(
    hands: str, window_for: Callable[..., Window], user: User, provider: Provider, fake: FakeProvider
) -> None:
    window = window_for(user, by_keyboard=hands == "keyboard")
    callbacks: list[str] = []
    window.page.on("request", lambda r: callbacks.append(r.url) if "/callback/" in r.url else None)
    window.open("/oauth/")
    before = history(window)
    window.press("Connect Fake")
    assert history(window) == before + 1  # neither the provider nor the callback is an entry
    assert "Fake: Ada Lovelace" in window.text
    window.page.reload()
    assert "Fake: Ada Lovelace" in window.text
    window.page.go_back()
    assert "Fake: Ada Lovelace" in window.text  # not the page as it was: it may not be kept
    response = window.page.goto(callbacks[0])
    assert response is not None
    assert (response.status, window.page.url) == (200, window.site + "/oauth/")
    assert fake.count("token") == 1


@pytest.mark.security("B20")
@pytest.mark.parametrize("hands", HANDS)
@pytest.mark.parametrize("answer", ["yes", "no"])
def test_an_answer_that_another_site_posts_arrives_although_its_request_brings_no_session(
    answer: str,
    hands: str,
    window_for: Callable[..., Window],
    user: User,
    fake: FakeProvider,
    settings: SettingsWrapper,
) -> None:
    settings.SESSION_COOKIE_SAMESITE = "Lax"
    make_provider(fake, response_mode="form_post")
    fake.oauth2.denies = answer == "no"
    window = window_for(user, by_keyboard=hands == "keyboard")
    posts: list[tuple[str, str]] = []
    window.page.on(
        "request",
        lambda r: posts.append((r.method, r.all_headers().get("cookie", ""))) if "/callback/" in r.url else None,
    )
    window.open("/oauth/")
    window.reach(window.page.get_by_role("button", name="Connect Fake"), then="Enter")
    window.page.get_by_role("heading", name="Fake: Ada Lovelace" if answer == "yes" else "Cancelled").wait_for()
    assert [method for method, _ in posts] == ["POST", "GET"]
    assert "sessionid" not in posts[0][1]
    assert "sessionid" in posts[1][1]
    assert user.oauth_connections.count() == (1 if answer == "yes" else 0)


@pytest.mark.security("A13")
def test_two_tabs_finish_independently(window: Window, provider: Provider, fake: FakeProvider, user: User) -> None:
    fake.script("authorize", ConsentPage(), ConsentPage())
    tabs = [window.context.new_page() for _ in range(2)]
    for tab in tabs:
        tab.goto(window.site + "/oauth/")
        tab.get_by_role("button", name="Connect Fake").click()
    for tab in reversed(tabs):
        tab.get_by_role("link", name="Allow").click()
        tab.wait_for_url(window.site + "/oauth/")
        assert "Fake: Ada Lovelace" in tab.inner_text("body")
    assert AuthorizationRequest.objects.filter(outcome="connected").count() == 2
    assert user.oauth_connections.count() == 1


@pytest.mark.security("B03", "B04")
def test_a_callback_opened_in_a_victims_browser_connects_nothing(
    window_for: Callable[[User | None], Window],
    user: User,
    provider: Provider,
    fake: FakeProvider,
    make_user: Callable[..., User],
) -> None:
    attacker, victim = window_for(user), window_for(make_user("victim"))
    fake.script("authorize", ConsentPage())
    attacker.open("/oauth/")
    attacker.press("Connect Fake")
    link = attacker.page.get_by_role("link", name="Allow")
    response = victim.page.goto(str(link.get_attribute("href")))
    assert response is not None
    assert response.status == 400
    assert "not started in this browser" in victim.text
    assert fake.count("token") == 0
    link.click()
    assert user.oauth_connections.count() == Connection.objects.count() == 1


@pytest.mark.security("A01")
def test_a_foreign_page_starts_nothing(window: Window, provider: Provider, fake: FakeProvider) -> None:
    target = f"{window.site}/oauth/connect/fake/"
    evil = f'<!doctype html><img src="{target}"><form method="post" action="{target}"><button>Win</button></form>'
    fake.script("authorize", Answer(200, evil, {"Content-Type": "text/html"}))
    asked: list[tuple[str, str]] = []
    window.page.on("request", lambda request: asked.append((request.method, request.url)))
    window.page.goto(f"{fake.url}/authorize")
    window.press("Win")
    window.said.clear()  # an answer that is no picture, on the foreign page
    assert {("GET", target), ("POST", target)} <= set(asked)
    assert "CSRF" in window.text
    assert not AuthorizationRequest.objects.exists()


@pytest.mark.security("A16", "D01")
@pytest.mark.parametrize("target", ["/oauth/", "/oauth/connect/fake/confirm/", "/oauth/callback/fake/"])
def test_no_page_can_be_framed_not_even_by_its_own_site(
    target: str, window: Window, connection: Connection, settings: SettingsWrapper
) -> None:
    settings.SECURE_CSP = {"frame-src": ["'self'"]}  # the page that frames is allowed to
    window.open(f"/framing/?target={target}")
    window.page.wait_for_timeout(200)
    assert window.page.frames[-1].url == "chrome-error://chromewebdata/"
    assert any("frame" in text.lower() for text in window.said)
    window.said.clear()


@pytest.mark.security("B27")
@pytest.mark.parametrize("hands", HANDS)
def test_reconnecting_with_another_account_asks_and_can_be_declined(
    hands: str, window_for: Callable[..., Window], provider: Provider, user: User, fake: FakeProvider
) -> None:
    window = window_for(user, by_keyboard=hands == "keyboard")
    make_connection(provider, user, fake, label="Ada Lovelace")
    fake.oauth2.subject, fake.oauth2.name = "account-2", "Countess"
    window.open("/oauth/")
    window.press("Reconnect")
    assert "You were reconnecting Ada Lovelace, but Fake answered for Countess." in window.text
    window.press("Do not connect it")
    assert "Fake: Ada Lovelace" in window.text
    assert "Countess" not in window.text
    window.press("Reconnect")
    window.press("Connect Countess")
    assert "Fake: Countess" in window.text
    assert "Fake: Ada Lovelace" in window.text


def test_another_user_in_the_same_browser_starts_again_under_their_own_name(
    window: Window, provider: Provider, fake: FakeProvider, make_user: Callable[..., User]
) -> None:
    fake.script("authorize", ConsentPage())
    window.open("/oauth/")
    window.press("Connect Fake")
    bob = make_user("bob")
    log_in(window.context, window.site, bob)
    window.page.get_by_role("link", name="Allow").click()
    assert "started by another user" in window.text
    window.page.get_by_role("link", name="Start again as bob").click()
    window.press("Connect Fake")
    assert bob.oauth_connections.count() == 1
    assert Connection.objects.count() == 1


def test_a_popup_works_where_the_policy_allows_the_sites_own_scripts(
    window: Window, provider: Provider, settings: SettingsWrapper
) -> None:
    settings.SECURE_CSP = STRICT | {"script-src": ["'self'"]}
    page = window.open("/popup/")
    with page.expect_popup():
        page.get_by_role("button", name="Connect Fake").click()
    page.get_by_text("Fake is connected as Ada Lovelace").wait_for()


STRICT = {
    "default-src": ["'none'"],
    "style-src": ["'self'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "require-trusted-types-for": ["'script'"],
}


@pytest.mark.parametrize("hands", HANDS)
def test_everything_works_under_the_strictest_content_policy(
    hands: str, window_for: Callable[..., Window], provider: Provider, user: User, settings: SettingsWrapper
) -> None:
    settings.SECURE_CSP = STRICT
    window = window_for(user, by_keyboard=hands == "keyboard")
    response = window.page.goto(f"{window.site}/oauth/")
    assert response is not None
    assert "form-action 'self'" in response.headers["content-security-policy"]
    window.reach(window.page.get_by_role("button", name="Connect Fake"), then="Enter")
    window.page.get_by_role("heading", name="Fake: Ada Lovelace").wait_for()
    window.press("Disconnect")
    assert "Disconnected lately" in window.text
