"""The example project as its people find it: the running demo, and visitors with an account on each side."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import requests
from requests_oauthlib import OAuth1

from tests.browser.conftest import Window, complaints_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

MANAGE = Path(__file__).resolve().parents[2] / "example_project" / "manage.py"
SETTINGS = "example_project.host.settings.development"
COPY = """
import json, sys, django
django.setup()
from django_oauth_flows.models import Connection
kept = Connection.objects.select_related("provider", "token").get(pk=sys.argv[1])
sealed = {name: kept.token.open(name) for name in ("access_token", "refresh_token", "token_secret")}
sealed["client_secret"] = kept.provider.open("client_secret")
copy = {name: secret.reveal() for name, secret in sealed.items() if secret}
print(json.dumps({**copy, "client_id": kept.provider.client_id}))
"""
"""Run with the site's settings, it prints what the site keeps sealed of a connection."""


@dataclass(frozen=True)
class Copy:
    """What somebody would have who had copied a connection's token, with what is needed to call with it."""

    client_id: str
    client_secret: str = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    token_secret: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return what no answer may have in it."""
        return tuple(filter(None, (self.client_secret, self.access_token, self.refresh_token, self.token_secret)))


@dataclass(frozen=True)
class Desk:
    """The running demo: its two sites, who can log in to the first with which password, and who these are at the second."""

    folder: Path
    site: str
    service: str
    passwords: dict[str, str]
    members: dict[str, tuple[str, str]]

    def copy_of(self, connection: str) -> Copy:
        """Copy a connection's token out of the site's database, which takes the site's keys."""
        read = [sys.executable, "-c", COPY, connection]
        root = MANAGE.parents[1]
        printed = subprocess.run(read, cwd=root, env=_environment(self.folder), check=True, capture_output=True)
        return Copy(**json.loads(printed.stdout))

    def answers(self, copy: Copy) -> int:
        """Return the status with which the service answers whoever calls with ``copy``."""
        signed = OAuth1(copy.client_id, copy.client_secret, copy.access_token, copy.token_secret)
        bearer = {} if copy.token_secret else {"Authorization": f"Bearer {copy.access_token}"}
        with requests.Session() as http:
            http.trust_env = False
            auth = signed if copy.token_secret else None
            return http.get(f"{self.service}/api/me/", headers=bearer, auth=auth, timeout=30).status_code


@contextmanager
def open_desk(folder: Path) -> Iterator[Desk]:
    """Start the demo as people do, and read what it tells them."""
    with subprocess.Popen(
        [sys.executable, str(MANAGE), "demo"],
        env=_environment(folder),
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
        yield _read(shown, folder)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def _environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "EXAMPLE_VAR": str(folder),
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "PYTHONIOENCODING": "utf-8",
    }


def _read(shown: str, folder: Path) -> Desk:
    site, _, service = re.findall(r"(http://\S+?)/(?:admin/)?$", shown, re.MULTILINE)
    passwords = dict(re.findall(r"as (\w+) with the password (\S+)", shown))
    there = re.findall(r"(\w+) is (\w+) there, with the password (\S+)", shown)
    return Desk(folder, site, service, passwords, {name: (member, password) for name, member, password in there})


@contextmanager
def visitors(chromium: Browser, desk: Desk) -> Iterator[Callable[..., Visitor]]:
    """Make visitors, each with a browser profile of their own, in which nothing may have gone wrong."""
    made: list[Visitor] = []

    def make(name: str, *, hands: str = "mouse", host: str = "127.0.0.1", scripts: bool = True) -> Visitor:
        # Whom the browser trusts is not what is tested.
        context = chromium.new_context(java_script_enabled=scripts, ignore_https_errors=True)
        site = desk.site.replace("127.0.0.1", host)
        window = Window(context, context.new_page(), site, complaints_of(context), hands == "keyboard")
        visitor = Visitor(window, desk, name)
        made.append(visitor)
        visitor.log_in(name)
        return visitor

    yield make
    for visitor in made:
        visitor.window.context.close()
    for visitor in made:
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
        self.log_in_where_asked(name)

    def log_in_where_asked(self, name: str) -> None:
        """Log in to the site on the page that is open."""
        self._sign(self.window, name, self.desk.passwords[name])

    def allow(self, page: Page | None = None, *, button: str = "Allow", member: str = "") -> None:
        """Answer at the service, in this window or the popup ``page``; log in there first if it asks."""
        window = self.window if page is None else self._hands_on(page)
        if "/login/" in window.page.url:
            self.log_in_at_the_service(member, window=window)
        window.reach(window.page.get_by_role("button", name=button, exact=True), then="Enter")

    def log_in_at_the_service(self, member: str = "", *, window: Window | None = None) -> None:
        """Log in where the service asks for it, by default as who this is."""
        self._sign(window or self.window, *self.desk.members[member or self.name])

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
