"""Chromium on the test site, and what every page is held to."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from django.test import Client
from django.utils.html import escape

from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.faults import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User
    from playwright.sync_api import Browser, BrowserContext, Locator, Page
    from pytest_django.fixtures import SettingsWrapper
    from pytest_django.live_server_helper import LiveServer

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
CONFORMANCE = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
WIDTHS = {"wide": 1024, "phone": 320}
LOOKS: list[Any] = [*product(("light", "dark"), WIDTHS, ("ltr", "rtl"))]
MOST_TABS = 80
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
                assert outline != "none", "the focus cannot be seen"
                self.page.keyboard.press(then)
                return
        pytest.fail(f"{target} is not reached by Tab")

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
            found = Axe().run(self.page, options={"runOnly": CONFORMANCE})
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
    """Return a maker of windows, each a browser profile of its own; errors on the console are collected."""
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "BASE_URL": live_server.url}
    contexts = []

    def make(user: User | None, *, by_keyboard: bool = False, scripts: bool = True) -> Window:
        context = chromium.new_context(java_script_enabled=scripts)
        contexts.append(context)
        page, said = context.new_page(), []
        page.on("console", lambda message: said.append(message.text) if is_complaint(message) else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        if user is not None:
            log_in(context, live_server.url, user)
        return Window(context, page, live_server.url, said, by_keyboard)

    yield make
    for context in contexts:
        context.close()


def is_complaint(message: Any) -> bool:
    return message.type == "error" and not message.location.get("url", "").endswith("/favicon.ico")


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
