"""From the empty list of providers to a passed *Test connection*: every action is counted, written down and pictured.

``CLICK_LIST=write`` writes the list and its pictures into ``docs/``; else the test compares the list with what is there.
"""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from django_oauth_flows.models import Connection, Provider
from tests.browser.conftest import HANDS, ConsentPage

if TYPE_CHECKING:
    from django_oauth_flows.testing import FakeProvider
    from tests.browser.conftest import Window

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.django_db(transaction=True)]

DOCS = Path(__file__).resolve().parents[2] / "docs"
PICTURES = DOCS / "pictures"
AT_MOST = 25


@dataclass
class ClickList:
    """Does what a person would, and keeps count."""

    window: Window
    lines: list[str] = field(default_factory=list)

    def click(self, role: str, name: str, *, leads_on: bool = True) -> None:
        """Press a button, or follow a link."""
        page = self.window.page
        target = page.get_by_role(role, name=name, exact=True).first  # type: ignore[arg-type]
        with page.expect_navigation() if leads_on else nullcontext():
            self.window.reach(target, then="Enter")
        self.lines.append(f"Click **{name}**.")

    def fill(self, label: str, value: str, *, told: str) -> None:
        """Type or paste."""
        self.window.fill(label, value)
        self.lines.append(f"{told} into **{label}**.")

    def tick(self, label: str) -> None:
        """Tick a box."""
        self.window.reach(self.window.page.get_by_label(label, exact=True), then="Space")
        self.lines.append(f"Tick **{label}** (only for a server in your own network).")

    def picture(self, name: str, told: str) -> None:
        """Show what there is to see now."""
        if os.environ.get("CLICK_LIST") == "write":
            PICTURES.mkdir(exist_ok=True)
            self.window.page.screenshot(path=PICTURES / f"{name}.png")
        self.lines.append(f"![{told}](pictures/{name}.png)")

    @property
    def count(self) -> int:
        """Return how many actions there were."""
        return sum(not line.startswith("![") for line in self.lines)

    def written(self) -> str:
        """Return the list as it stands in the docs."""
        text, number = [], 0
        for line in self.lines:
            if line.startswith("!["):
                text.append(f"\n{line}\n")
            else:
                number += 1
                text.append(f"{number}. {line}")
        return "\n".join(text).strip() + "\n"


@pytest.mark.parametrize("office", HANDS, indirect=True)
def test_from_the_empty_list_to_a_passed_test(office: Window, fake: FakeProvider) -> None:
    fake.script("authorize", ConsentPage())
    office.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = office.page
    page.set_viewport_size({"width": 1100, "height": 760})
    did = ClickList(office)

    office.open("/admin/oauth_flows/provider/")
    did.lines.append("Open *OAuth connections › Providers* in the admin.")
    did.picture("providers-empty", "The empty list of providers")
    did.click("link", "Add provider")
    did.fill("Issuer URL", fake.url, told="Paste the service's issuer URL")
    did.tick("on the internal network")
    did.picture("provider-discover", "The catalogue, and the field for an issuer")
    did.click("button", "Discover")
    did.fill("Name:", "Notebook", told="Type what your users call the service")
    did.fill("Slug:", "notebook", told="Type a short name for its addresses")
    did.click("button", "Copy", leads_on=False)
    page.get_by_text("Copied.").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{office.site}/oauth/callback/notebook/"
    did.lines.append("Register the redirect URI, which is now in your clipboard, at the service.")
    page.get_by_label("Client id:").scroll_into_view_if_needed()
    did.fill("Client id:", fake.oauth2.client_id, told="Paste the id that the service shows")
    did.fill("Client secret:", fake.oauth2.client_secret, told="Paste the secret")
    did.picture("provider-filled-in", "The form, filled in from what the service says of itself")
    did.click("button", "Save and test")
    did.picture("provider-before-test", "The test's page")
    office.reach(page.get_by_role("button", name="Start the test"), then="Enter")
    did.lines.append("Click **Start the test**.")
    page.wait_for_url(f"{fake.url}/**")
    did.click("link", "Allow")
    page.get_by_text("The test has passed.").wait_for()
    did.picture("provider-test-passed", "The report: the test has passed")

    assert did.count <= AT_MOST
    assert Provider.objects.get().slug == "notebook"
    assert not Connection.objects.exists()
    written = DOCS / "click-list.md"
    text = HEAD % did.count + did.written()
    if os.environ.get("CLICK_LIST") == "write":
        written.write_text(text)
    assert written.read_text() == text
    for line in did.lines:
        if line.startswith("!["):
            assert (DOCS / line.rpartition("(")[2].rstrip(")")).stat().st_size > 5_000


def test_without_a_script_the_redirect_uri_is_there_to_be_marked(office: Window, provider: Provider) -> None:
    page = office.page
    page.route("**/*.js", lambda route: route.fulfill(body=""))
    page.goto(f"{office.site}/admin/oauth_flows/provider/{provider.pk}/change/")
    field = page.get_by_label("Redirect URI to register at the service")
    assert field.input_value() == f"{office.site}/oauth/callback/fake/"
    assert page.get_by_role("button", name="Copy").count() == 0


HEAD = """# From the empty list to a passed test

How a provider is added in the admin: %d actions, done by a browser in
`tests/browser/test_admin_click_list.py`, which also took the pictures (`CLICK_LIST=write`). Instead of discovering it, look a service up
in the catalogue (*Known services*); the rest is the same. [admin.md](admin.md) says what the pages are for.

"""
