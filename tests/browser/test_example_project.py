"""People at the example project: two sites on this machine, one Chromium, by mouse and by keyboard alone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import HANDS, Window, complaints_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.needs("chromium")

MANAGE = Path(__file__).resolve().parents[2] / "example_project" / "manage.py"
SETTINGS = "example_project.host.settings.development"


@dataclass(frozen=True)
class Desk:
    """The running demo: the site and the service, and what their people type, by name: site password, member, password there."""

    site: str
    service: str
    people: dict[str, tuple[str, str, str]]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Start the demo as people do, and read what it tells them."""
    environment = {
        **os.environ,
        "EXAMPLE_VAR": str(tmp_path_factory.mktemp("desk")),
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "PYTHONIOENCODING": "utf-8",
    }
    with subprocess.Popen(
        [sys.executable, str(MANAGE), "demo"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        shown = ""
        while "Ctrl-C" not in shown:
            line = process.stdout.readline()
            assert line, shown
            shown += line
        site, _, service = re.findall(r"(http://\S+?)/(?:admin/)?$", shown, re.MULTILINE)
        passwords = dict(re.findall(r"as (\w+) with the password (\S+)", shown))
        there = re.findall(r"(\w+) is (\w+) there, with the password (\S+)", shown)
        yield Desk(site, service, {name: (passwords[name], member, password) for name, member, password in there})
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


@pytest.fixture
def visit(chromium: Browser, desk: Desk) -> Iterator[Callable[..., Visitor]]:
    """Return a maker of visitors, each with a browser profile of their own, in which nothing may have gone wrong."""
    visitors: list[Visitor] = []

    def make(name: str, *, hands: str = "mouse") -> Visitor:
        context = chromium.new_context()
        window = Window(context, context.new_page(), desk.site, complaints_of(context), hands == "keyboard")
        visitor = Visitor(window, desk, name)
        visitors.append(visitor)
        visitor.log_in(name)
        return visitor

    yield make
    for visitor in visitors:
        visitor.window.context.close()
    for visitor in visitors:
        assert visitor.window.said == []


@dataclass
class Visitor:
    """Somebody with an account at both sites."""

    window: Window
    desk: Desk
    name: str

    def log_in(self, name: str) -> None:
        """Log in to the site."""
        self.window.open("/accounts/login/")
        self._sign(self.window, name, self.desk.people[name][0])

    def allow(self, page: Page | None = None, *, button: str = "Allow", member: str = "") -> None:
        """Answer at the service, in this window or the popup ``page``; log in there first if it asks."""
        window = self.window if page is None else self._hands_on(page)
        if "/login/" in window.page.url:
            _, username, password = self.desk.people[member or self.name]
            self._sign(window, username, password)
        window.reach(window.page.get_by_role("button", name=button, exact=True), then="Enter")

    def _hands_on(self, page: Page) -> Window:
        page.wait_for_load_state()
        page.get_by_role("button", name=re.compile("Log in|Allow")).first.wait_for()
        return Window(self.window.context, page, self.desk.service, self.window.said, self.window.by_keyboard)

    def _sign(self, window: Window, username: str, password: str) -> None:
        window.fill("Username:", username)
        window.fill("Password:", password)
        window.press("Log in")

    def examine(self, name: str) -> None:
        """Hold the page to what every page is held to; it is the same whoever's hands have led there."""
        if not self.window.by_keyboard:
            self.window.examine(name)

    def forget_the_service(self) -> None:
        """Let the browser forget who it was at the service; cookies do not know ports, so by their names."""
        kept = [
            cookie for cookie in self.window.context.cookies() if cookie["name"].startswith(("desk_", "oauth_flows"))
        ]
        self.window.context.clear_cookies()
        self.window.context.add_cookies(kept)  # type: ignore[arg-type]

    def disconnect_everything(self) -> None:
        """Leave the site as it was found."""
        page = self.window.open("/oauth/")
        while page.get_by_role("button", name="Disconnect").count():
            self.window.press("Disconnect")


@pytest.mark.parametrize("hands", HANDS)
def test_a_day_with_an_account_over_oauth_2(hands: str, visit: Callable[..., Visitor]) -> None:
    visitor = visit("ada", hands=hands)
    window = visitor.window
    page = window.open("/")
    with page.expect_popup() as opened:
        window.reach(page.get_by_role("button", name="Connect Notebook").first, then="Enter")
    visitor.allow(opened.value)
    page.wait_for_url(f"{window.site}/notes/")
    page.get_by_role("heading").first.wait_for()
    window.open("/oauth/")
    for said in ("Working.", "read your notes", "(notes page)", "is told to end this access, and no other."):
        assert said in window.text
    visitor.examine("desk-connections")
    window.press("Pause")
    window.open("/notes/")
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
    window.open("/notes/")
    assert "You will be sent to Notebook" in window.text
    visitor.examine("desk-confirm")


@pytest.mark.parametrize("hands", HANDS)
def test_connecting_over_oauth_1_going_back_and_disconnecting(hands: str, visit: Callable[..., Visitor]) -> None:
    visitor = visit("ada", hands=hands)
    window = visitor.window
    page = window.open("/")
    window.press("Connect Notebook Classic")
    visitor.allow()
    page.wait_for_url(f"{window.site}/classic/notes/")
    page.go_back()  # to the service, which has nothing to ask any more
    page.go_back()
    window.open("/oauth/")
    assert "Notebook Classic: " in window.text
    assert "Nothing: it works until you disconnect it." in window.text
    visitor.disconnect_everything()
    assert "The service has taken the access back." in window.text


@pytest.mark.parametrize("hands", HANDS)
@pytest.mark.parametrize("name", ["Connect Notebook", "Connect Notebook Classic"])
def test_who_does_not_allow_it_has_connected_nothing(name: str, hands: str, visit: Callable[..., Visitor]) -> None:
    visitor = visit("grace", hands=hands)
    window = visitor.window
    page = window.open("/oauth/")
    with page.expect_navigation():
        window.reach(page.get_by_role("button", name=name, exact=True), then="Enter")
    visitor.allow(button="Do not allow")
    page.get_by_role("heading", name="Cancelled").wait_for()
    window.press("See your connected accounts", role="link")
    assert "No account is connected yet." in window.text


@pytest.mark.parametrize("hands", HANDS)
def test_two_tabs_are_one_account(hands: str, visit: Callable[..., Visitor]) -> None:
    visitor = visit("grace", hands=hands)
    first = visitor.window
    first.open("/oauth/")
    first.press("Connect Notebook")
    visitor._sign(first, *visitor.desk.people["grace"][1:])
    second = Window(first.context, first.context.new_page(), first.site, first.said, first.by_keyboard)
    second.open("/oauth/")
    second.press("Connect Notebook")
    for window in (second, first):
        window.press("Allow")
        window.page.wait_for_url(f"{first.site}/oauth/")
        assert window.page.get_by_role("article").count() == 1
    visitor.disconnect_everything()


@pytest.mark.parametrize("hands", HANDS)
def test_reconnecting_as_somebody_else_asks_first(hands: str, visit: Callable[..., Visitor]) -> None:
    visitor = visit("ada", hands=hands)
    window = visitor.window
    window.open("/oauth/")
    window.press("Connect Notebook")
    visitor.allow()
    window.page.wait_for_url(f"{window.site}/oauth/")
    visitor.forget_the_service()
    window.press("Reconnect")
    visitor.allow(member="grace")
    window.page.get_by_role("heading", name="Is this the right account?").wait_for()
    visitor.examine("desk-other-account")
    window.press("Do not connect it")
    assert window.page.get_by_role("article").count() == 1
    visitor.disconnect_everything()


@pytest.mark.parametrize("hands", HANDS)
def test_another_user_who_logs_in_meanwhile_gets_nothing(hands: str, visit: Callable[..., Visitor]) -> None:
    visitor = visit("ada", hands=hands)
    window = visitor.window
    window.open("/oauth/")
    window.press("Connect Notebook")
    visitor._sign(window, *visitor.desk.people["ada"][1:])
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
