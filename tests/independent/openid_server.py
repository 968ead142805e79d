"""Run npm's oidc-provider in a child process, and be a person who logs in there."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from example_project.browser import Browser, Page
from tests.independent import node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class TLS:
    """PEM files: the server's certificate and key, and the authorities of clients' certificates."""

    certificate: Path
    key: Path
    authorities: Path


@dataclass(frozen=True, slots=True)
class OpenIDServer:
    """A running server; its issuer is ``url``. ``ca``: the PEM file that vouches for it, None without TLS."""

    url: str
    ca: Path | None = None

    def register(self, **metadata: Any) -> dict[str, Any]:
        """Register a client with these metadata (RFC 7591 §2) and return what the server made of them."""
        usual = {"grant_types": ["authorization_code", "refresh_token"]}
        done = requests.post(f"{self.url}/reg", json={**usual, **metadata}, timeout=10, verify=self._verify)
        if done.status_code != requests.codes.created:
            raise AssertionError(done.text)
        return dict(done.json())

    def browser(self) -> Browser:
        """Return a person's browser that trusts the server."""
        browser = Browser()
        browser._http.verify = self._verify
        return browser

    def consent(self, url: str, *, account: str = "account-1") -> Page:
        """Log in and allow; return the page that leads back: a redirect (``location``), or a form that posts itself."""
        browser = self.browser()
        page = browser.get(url)
        page = browser.submit(page, page.form(button="Log in"), {"account": account}, button="Log in", follow=False)
        while page.location.startswith(f"{self.url}/"):
            page = browser.get(page.location, follow=False)
            if any("Allow" in form.buttons for form in page.forms):
                page = browser.submit(page, page.form(button="Allow"), button="Allow", follow=False)
        browser.close()
        return page

    def enter(
        self, verification_uri: str, user_code: str, *, account: str = "account-1", button: str = "Allow"
    ) -> None:
        """Enter a code on another device, as a person who then logs in, and allows or presses another button."""
        browser = self.browser()
        page = browser.get(verification_uri)
        page = browser.submit(page, page.form(), {"user_code": user_code})
        page = browser.submit(page, page.form(), follow=False)
        page = browser.get(page.location)
        page = browser.submit(page, page.form(button="Log in"), {"account": account}, button="Log in")
        page = browser.submit(page, page.form(button=button), button=button)
        browser.close()

    @property
    def _verify(self) -> Any:
        return str(self.ca) if self.ca else True


@contextmanager
def start_openid_server(directory: Path, *, tls: TLS | None = None, **options: Any) -> Iterator[OpenIDServer]:
    """Run a fresh server; ``options`` are those of ``server.mjs``. What it complains of goes to ``directory``.

    The child ends when the context does, and also when this process dies: it reads its standard input to the end.
    """
    interpreter, script = node.oidc_provider()
    if tls:
        options["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key), "authorities": str(tls.authorities)}
    with (directory / "oidc-provider.log").open("w") as log:
        child = subprocess.Popen(
            [interpreter, script, json.dumps(options)],
            env={"PATH": os.environ["PATH"], "NODE_ENV": "production"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        said = child.stdout.readline()  # type: ignore[union-attr]
        if not said:
            raise AssertionError((directory / "oidc-provider.log").read_text())
        yield OpenIDServer(json.loads(said)["url"], tls.authorities if tls else None)
    finally:
        child.stdin.close()  # type: ignore[union-attr]
        child.wait(timeout=10)
        child.stdout.close()  # type: ignore[union-attr]
