"""Chromium on the test site, and what every page is held to."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from django.conf import settings as django_settings
from django.test import Client, override_settings
from django.utils.html import escape
from pytest_django.live_server_helper import LiveServer

from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.faults import write
from example_project.servers import Service, start_service
from tests.browser.policy import POLICY, USUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User
    from playwright.sync_api import Browser, BrowserContext, Locator, Page
    from pytest_django.fixtures import SettingsWrapper

    from tests.browser.desk import Desk, Visitor

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
CONFORMANCE = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
AXE = {"runOnly": CONFORMANCE, "preload": False}  # else it writes style sheets into the page, against the page's policy
WIDTHS = {"wide": 1024, "phone": 320}
LOOKS: list[Any] = [*product(("light", "dark"), WIDTHS, ("ltr", "rtl"))]
MOST_TABS = 250
HANDS = ("mouse", "keyboard")
TURN = "direction => document.querySelectorAll('html, .oauth-flows').forEach(part => { part.dir = direction })"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start the machine's Chromium, for one module only: its event loop would be in the way of other modules' tests."""
    from playwright.sync_api import sync_playwright

    # Playwright's synchronous interface runs an event loop in this thread, in which Django would refuse the database.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def live_server() -> Iterator[LiveServer]:
    """Serve the site with the policies that a test has set: a server loads its middleware once, when it starts."""
    middleware = ["tests.browser.policy.send", *django_settings.MIDDLEWARE]
    with override_settings(MIDDLEWARE=middleware, SECURE_CROSS_ORIGIN_OPENER_POLICY=None):
        server = LiveServer("localhost")
    yield server
    server.stop()


@dataclass
class Window:
    """One person's browser window on the site."""

    context: BrowserContext
    page: Page
    site: str
    said: list[str]
    by_keyboard: bool = False

    def open(self, path: str) -> Page:
        """Open a path of the site."""
        self.page.goto(self.site + path)
        return self.page

    def press(self, name: str, *, role: Literal["button", "link"] = "button") -> Page:
        """Press a button, or follow a link, and wait for where it leads."""
        with self.page.expect_navigation():
            self.reach(self.page.get_by_role(role, name=name).first, then="Enter")
        return self.page

    def reach(self, target: Locator, *, then: str) -> None:
        """Click; with the keyboard alone, go on by Tab to where the focus can be seen, and press the key ``then``."""
        if not self.by_keyboard:
            target.click()
            return
        for _ in range(MOST_TABS):
            self.page.keyboard.press("Tab")
            if target.evaluate("element => element === document.activeElement"):
                outline = target.evaluate("element => getComputedStyle(element).outlineStyle")
                assert outline != "none", f"the focus cannot be seen at {target}"
                self.page.keyboard.press(then)
                return
        pytest.fail(f"{target} is not reached by Tab")

    def fill(self, label: str, text: str) -> None:
        """Write into a field, in place of what is there."""
        field = self.page.get_by_label(label, exact=True).first
        if not self.by_keyboard:
            field.fill(text)
            return
        self.reach(field, then="Control+a")
        self.page.keyboard.type(text)

    def choose(self, label: str, option: str) -> None:
        """Choose from a list; with the keyboard, by the beginning of what it says."""
        if not self.by_keyboard:
            self.page.get_by_label(label).select_option(option)
            return
        self.reach(self.page.get_by_label(label), then=option[0])
        self.page.keyboard.type(option[1:])

    @property
    def text(self) -> str:
        """Return what a person can read."""
        return self.page.inner_text("body")

    def examine(self, name: str) -> None:
        """Hold the page, folded out, to WCAG A and AA: light and dark, wide and narrow, from the left and from the right.

        Pictures are kept if ``SCREENSHOTS`` names a folder.
        """
        from axe_playwright_python.sync_playwright import Axe

        for summary in self.page.query_selector_all("details:not([open]) > summary"):
            summary.click()
        for look in LOOKS:
            scheme, device, direction = look
            self.page.emulate_media(color_scheme=scheme)
            self.page.set_viewport_size({"width": WIDTHS[device], "height": 800})
            self.page.evaluate(TURN, direction)
            found = Axe().run(self.page, options=AXE)
            assert found.violations_count == 0, f"{name}, {look}:\n{found.generate_report()}"
            overflow = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert overflow <= 0, f"{name}, {look}: {overflow} px too wide"
            if folder := os.environ.get("SCREENSHOTS"):
                self.page.screenshot(path=Path(folder) / f"{name}-{'-'.join(look)}.png", full_page=True)
        assert self.said == [], self.said


@pytest.fixture
def window_for(
    chromium: Browser, live_server: LiveServer, settings: SettingsWrapper
) -> Iterator[Callable[..., Window]]:
    """Return a maker of windows, each a browser profile of its own; none may have complained when the test is over."""
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "BASE_URL": live_server.url}
    settings.SECURE_CSP = USUAL
    windows: list[Window] = []

    def make(user: User | None, *, by_keyboard: bool = False, scripts: bool = True) -> Window:
        # Whom the browser trusts is not what is tested.
        context = chromium.new_context(java_script_enabled=scripts, ignore_https_errors=True)
        if user is not None:
            log_in(context, live_server.url, user)
        window = Window(context, context.new_page(), live_server.url, complaints_of(context), by_keyboard)
        windows.append(window)
        return window

    yield make
    for window in windows:
        window.context.close()
    for window in windows:
        assert window.said == []


def complaints_of(context: BrowserContext) -> list[str]:
    """Return what will stand on the consoles of all pages of a browser: errors, and what a policy has kept away."""
    said: list[str] = []
    context.on("console", lambda message: said.append(message.text) if is_complaint(message) else None)
    context.on("weberror", lambda error: said.append(str(error.error)))
    return said


def is_complaint(message: Any) -> bool:
    """Tell an error from what Chromium mentions of every page with another status than 200."""
    url = message.location.get("url", "")
    is_status = "Failed to load resource: the server responded with a status of 4" in message.text
    is_page = message.page is not None and message.page.url == url
    return message.type == "error" and not url.endswith("/favicon.ico") and not (is_status and is_page)


class ConsentPage:
    """Let the fake provider show a page with a link instead of redirecting at once."""

    def play(self, handler: Any, normal: Callable[[], Answer]) -> None:
        """Answer with the page."""
        link = f'<!doctype html><title>Consent</title><a href="{escape(normal().headers["Location"])}">Allow</a>'
        write(handler, Answer(200, link, {"Content-Type": "text/html"}))


def log_in(context: Any, site: str, user: User) -> None:
    """Give a browser the session of ``user``."""
    client = Client()
    client.force_login(user)
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": site}
    context.add_cookies(
        [{**cookie, "sameSite": "Lax"}]
    )  # said, as Django does: else browsers make an exception for new ones


@pytest.fixture
def window(window_for: Callable[[User | None], Window], user: User) -> Window:
    """Return the window of ``user``."""
    return window_for(user)


@pytest.fixture(params=["mouse"])
def office(
    request: pytest.FixtureRequest,
    window_for: Callable[..., Window],
    make_user: Callable[..., User],
    settings: SettingsWrapper,
) -> Window:
    """Return the window of a superuser, on a site whose forms lead nowhere else."""
    settings.SECURE_CSP = POLICY
    return window_for(make_user("root", is_staff=True, is_superuser=True), by_keyboard=request.param == "keyboard")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Run the example project."""
    from tests.browser.desk import open_desk

    with open_desk(tmp_path_factory.mktemp("desk")) as running:
        yield running


@pytest.fixture
def visit(chromium: Browser, desk: Desk) -> Iterator[Callable[..., Visitor]]:
    """Return a maker of visitors of the example project."""
    from tests.browser.desk import visitors

    with visitors(chromium, desk) as make:
        yield make


@pytest.fixture
def clerk(visit: Callable[..., Visitor], hands: str) -> Visitor:
    """Return a member of staff."""
    return visit("admin", hands=hands)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service that the demo's site has not heard of."""
    with start_service(tmp_path_factory.mktemp("notebook")) as running:
        yield running
