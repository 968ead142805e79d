"""People at the example project: two sites on this machine, one Chromium, by mouse and by keyboard alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import HANDS, Window
from tests.browser.desk import Visitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

pytestmark = pytest.mark.needs("chromium")

NAMES = ["Notebook", "Notebook Classic"]
"""What the service is called: over OAuth 2, and over OAuth 1.0a."""


def open_popup(visitor: Visitor) -> Page:
    """Press the first page's button, and return the window that opens."""
    with visitor.window.page.expect_popup() as opened:
        visitor.window.reach(visitor.window.page.get_by_role("button", name="Connect Notebook").first, then="Enter")
    return opened.value


def expect_closed(popup: Page) -> None:
    """Wait until a window has closed by itself."""
    if not popup.is_closed():
        popup.wait_for_event("close")


@pytest.mark.parametrize("hands", HANDS)
@pytest.mark.parametrize(
    ("name", "path", "in_popup", "permissions"),
    [
        ("Notebook", "/notes/", True, "read your notes"),
        ("Notebook Classic", "/classic/notes/", False, "none named by the service"),
    ],
    ids=["oauth2", "oauth1"],
)
def test_a_day_with_an_account(
    name: str, path: str, in_popup: bool, permissions: str, hands: str, visit: Callable[..., Visitor]
) -> None:
    visitor = visit("ada", hands=hands)
    window = visitor.window
    page = window.open("/")
    if in_popup:
        popup = open_popup(visitor)
        visitor.allow(popup)
        expect_closed(popup)
    else:
        window.press(f"Connect {name}")
        visitor.allow()
    page.wait_for_url(window.site + path)
    page.get_by_role("heading").first.wait_for()
    window.open("/oauth/")
    for said in ("Working.", permissions, "(notes page)", "is told to end this access, and no other."):
        assert said in window.text
    visitor.examine("desk-connections")
    window.press("Pause")
    window.open(path)
    assert "You have paused this account" in window.text
    visitor.examine("desk-paused")
    window.press("See your connected accounts", role="link")
    window.press("Resume")
    window.press("Activity", role="link")
    for said in ("Connected.", "Paused: this site makes no use of it.", "Resumed.", "By you."):
        assert said in window.text
    visitor.examine("desk-activity")
    window.press("Back to the connected accounts", role="link")
    window.press("Disconnect")
    assert "The service has taken the access back." in window.text
    visitor.examine("desk-disconnected")
    window.open(path)
    assert f"You will be sent to {name}, which" in window.text
    visitor.examine("desk-confirm")


@pytest.mark.parametrize("hands", HANDS)
def test_who_does_not_allow_it_in_the_popup_can_start_again_there(hands: str, visit: Callable[..., Visitor]) -> None:
    visitor = visit("ada", hands=hands)
    window = visitor.window
    page = window.open("/")
    popup = open_popup(visitor)
    visitor.allow(popup, button="Do not allow")
    popup.get_by_role("heading", name="Cancelled").wait_for()
    assert (page.url, page.get_by_role("button", name="Connect Notebook").count()) == (f"{window.site}/", 2)
    again = Window(window.context, popup, window.site, window.said, window.by_keyboard)
    again.press("Start again as ada", role="link")
    again.press("Connect Notebook")
    visitor.allow(popup)
    expect_closed(popup)
    page.wait_for_url(f"{window.site}/notes/")
    visitor.disconnect_everything()


@pytest.mark.parametrize("hands", HANDS)
@pytest.mark.parametrize(
    ("name", "path", "there", "lasts"),
    [
        ("Notebook", "/notes/", (200, "Allow Desk?"), "It is renewed by itself, and works until you disconnect it."),
        (
            "Notebook Classic",
            "/classic/notes/",
            (400, "This request cannot be answered"),  # the service has nothing to ask any more
            "Nothing: it works until you disconnect it.",
        ),
    ],
    ids=["oauth2", "oauth1"],
)
def test_connecting_going_back_and_forth_and_disconnecting(
    name: str, path: str, there: tuple[int, str], lasts: str, hands: str, visit: Callable[..., Visitor]
) -> None:
    visitor = visit("ada", hands=hands)
    window = visitor.window
    page = window.open(path)
    window.press(f"Connect {name}")
    visitor.allow()
    page.wait_for_url(window.site + path)
    sent: list[tuple[str, str]] = []
    page.on("request", lambda request: sent.append((request.method, request.url)))
    seen = []
    for move in [page.go_back] * 3 + [page.go_forward] * 3:
        answer = move()
        assert answer is not None, page.url
        seen.append((answer.status, page.get_by_role("heading").first.inner_text()))
    log_in, confirm = (200, "Log in to Notebook"), (200, f"Connect {name}")
    assert seen == [there, log_in, confirm, log_in, there, (200, "Notes")]
    assert not [url for method, url in sent if method != "GET" or "/callback/" in url]
    window.open("/oauth/")
    assert f"{name}: Ada Lovelace" in window.text
    assert lasts in window.text
    assert page.get_by_role("article").count() == 1
    visitor.disconnect_everything()
    assert "The service has taken the access back." in window.text


@pytest.mark.parametrize("hands", HANDS)
def test_who_goes_back_and_allows_it_again_has_one_account(hands: str, visit: Callable[..., Visitor]) -> None:
    """Over OAuth 1.0a the service does not ask again."""
    visitor = visit("ada", hands=hands)
    window = visitor.window
    page = window.open("/notes/")
    window.press("Connect Notebook")
    visitor.allow()
    page.wait_for_url(f"{window.site}/notes/")
    page.go_back()
    seen: list[tuple[str, int]] = []
    page.on("response", lambda answer: seen.append((answer.url.partition("?")[0], answer.status)))
    visitor.allow()
    page.wait_for_url(f"{window.site}/notes/")
    page.get_by_role("heading", name="Notes").wait_for()
    assert (f"{window.site}/oauth/callback/notebook/", 303) in seen
    assert not [status for _, status in seen if status >= 400]
    window.open("/oauth/")
    assert "Working." in window.text
    assert page.get_by_role("article").count() == 1
    visitor.disconnect_everything()


@pytest.mark.parametrize("hands", HANDS)
@pytest.mark.parametrize("name", NAMES)
def test_who_does_not_allow_it_has_connected_nothing(name: str, hands: str, visit: Callable[..., Visitor]) -> None:
    visitor = visit("grace", hands=hands)
    window = visitor.window
    page = window.open("/oauth/")
    with page.expect_navigation():
        window.reach(page.get_by_role("button", name=f"Connect {name}", exact=True), then="Enter")
    visitor.allow(button="Do not allow")
    page.get_by_role("heading", name="Cancelled").wait_for()
    window.press("See your connected accounts", role="link")
    assert "No account is connected yet." in window.text


@pytest.mark.parametrize("hands", HANDS)
@pytest.mark.parametrize("name", NAMES)
def test_two_tabs_are_one_account(name: str, hands: str, visit: Callable[..., Visitor]) -> None:
    visitor = visit("grace", hands=hands)
    first = visitor.window
    first.open("/oauth/")
    first.press(f"Connect {name}")
    visitor.log_in_at_the_service()
    second = Window(first.context, first.context.new_page(), first.site, first.said, first.by_keyboard)
    second.open("/oauth/")
    second.press(f"Connect {name}")
    for window in (second, first):
        window.press("Allow")
        window.page.wait_for_url(f"{first.site}/oauth/")
        assert window.page.get_by_role("article").count() == 1
    visitor.disconnect_everything()


@pytest.mark.parametrize("hands", HANDS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("button", "accounts"), [("Connect Grace Hopper", 2), ("Do not connect it", 1)])
def test_reconnecting_as_somebody_else_asks_first(
    button: str, accounts: int, name: str, hands: str, visit: Callable[..., Visitor]
) -> None:
    visitor = visit("ada", hands=hands)
    window = visitor.window
    window.open("/oauth/")
    window.press(f"Connect {name}")
    visitor.allow()
    window.page.wait_for_url(f"{window.site}/oauth/")
    visitor.forget_the_service()
    window.press("Reconnect")
    visitor.allow(member="grace")
    window.page.get_by_role("heading", name="Is this the right account?").wait_for()
    visitor.examine("desk-other-account")
    window.press(button)
    assert window.page.get_by_role("article").count() == accounts
    assert (f"{name}: Grace Hopper" in window.text) == (accounts == 2)
    assert f"{name}: Ada Lovelace" in window.text
    visitor.disconnect_everything()


@pytest.mark.parametrize("hands", HANDS)
@pytest.mark.parametrize("name", NAMES)
def test_another_user_who_logs_in_meanwhile_gets_nothing(name: str, hands: str, visit: Callable[..., Visitor]) -> None:
    visitor = visit("ada", hands=hands)
    window = visitor.window
    window.open("/oauth/")
    window.press(f"Connect {name}")
    visitor.log_in_at_the_service()
    other = Window(window.context, window.context.new_page(), window.site, window.said, window.by_keyboard)
    other.open("/")
    other.press("Log out ada")
    Visitor(other, visitor.desk, "grace").log_in("grace")
    window.press("Allow")
    assert "started by another user" in window.text
    window.press("Start again as grace", role="link")
    assert "You are logged in here as grace" in window.text
    window.open("/oauth/")
    assert "No account is connected yet." in window.text


@pytest.mark.parametrize("hands", HANDS)
@pytest.mark.parametrize("button", ["Allow", "Do not allow"])
def test_a_code_is_entered_on_another_device(button: str, hands: str, visit: Callable[..., Visitor]) -> None:
    window = visit("ada", hands=hands).window
    window.open("/oauth/")
    window.press("Connect Notebook by code")
    code = window.page.locator("code.oauth-user-code").inner_text()
    address = window.page.get_by_role("link", name="/device/").inner_text()
    phone = visit("ada", hands=hands)
    phone.window.page.goto(address)
    phone.log_in_at_the_service()
    phone.window.fill("User code:", code)
    phone.window.press("Go on")
    assert "Allow it only if it was you who was given this code." in phone.window.text
    phone.window.press(button)
    assert "Go back to the device that showed you the code" in phone.window.text
    told = "Notebook by code: Ada Lovelace" if button == "Allow" else "Cancelled"
    window.page.get_by_role("heading", name=told).wait_for()  # the page has looked again by itself
    window.open("/oauth/")
    assert window.page.get_by_role("article").count() == (1 if button == "Allow" else 0)
    phone.disconnect_everything()


@pytest.mark.security("B20")
@pytest.mark.parametrize("hands", HANDS)
@pytest.mark.parametrize("button", ["Allow", "Do not allow"])
def test_an_answer_is_posted_from_another_site(button: str, hands: str, visit: Callable[..., Visitor]) -> None:
    visitor = visit("ada", hands=hands, host="localhost")  # to browsers another site than the service's 127.0.0.1
    window = visitor.window
    asked: list[tuple[str, str, bool]] = []
    window.page.on(
        "request",
        lambda r: (
            asked.append((r.method, r.url, "desk_session=" in r.all_headers().get("cookie", "")))
            if "/callback/" in r.url
            else None
        ),
    )
    window.open("/oauth/")
    assert [cookie["sameSite"] for cookie in window.context.cookies() if cookie["name"] == "desk_session"] == ["Lax"]
    window.press("Connect Notebook by post")
    visitor.allow(button=button)
    told = "Notebook by post: Ada Lovelace" if button == "Allow" else "Cancelled"
    window.page.get_by_role("heading", name=told).wait_for()
    assert [(method, with_session) for method, _, with_session in asked] == [("POST", False), ("GET", True)]
    assert not [url for _, url, _ in asked if "code=" in url or "error=" in url]
    window.open("/oauth/")
    assert window.page.get_by_role("article").count() == (1 if button == "Allow" else 0)
    visitor.disconnect_everything()


@pytest.mark.parametrize("hands", HANDS)
def test_an_answer_is_posted_by_a_button_where_no_script_runs(hands: str, visit: Callable[..., Visitor]) -> None:
    visitor = visit("ada", hands=hands, host="localhost", scripts=False)
    visitor.window.open("/oauth/")
    visitor.window.press("Connect Notebook by post")
    visitor.allow()
    visitor.window.press("Go on")
    visitor.window.page.get_by_role("heading", name="Notebook by post: Ada Lovelace").wait_for()
    visitor.disconnect_everything()
