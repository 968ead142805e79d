"""The admin's pages of ours, looked at by axe-core."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from django_oauth_flows import flows
from django_oauth_flows.models import Revocation
from django_oauth_flows.testing.factories import make_connection
from tests.browser.conftest import CONFORMANCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from django_oauth_flows.models import Connection, Provider
    from django_oauth_flows.testing import FakeProvider
    from tests.browser.conftest import Window

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.django_db(transaction=True)]


@pytest.fixture
def office(window_for: Callable[[User], Window], make_user: Callable[..., User]) -> Window:
    """Return the window of a superuser."""
    return window_for(make_user("root", is_staff=True, is_superuser=True))


def examine(window: Window, name: str) -> None:
    """Hold what the page shows below the site's header to WCAG A and AA; keep a picture if ``SCREENSHOTS`` names a folder."""
    from axe_playwright_python.sync_playwright import Axe

    for summary in window.page.query_selector_all("details:not([open]) > summary"):
        summary.click()  # what is folded away is looked at as well
    if folder := os.environ.get("SCREENSHOTS"):
        window.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
    found = Axe().run(window.page, context="#content", options={"runOnly": CONFORMANCE})
    assert found.violations_count == 0, f"{name}:\n{found.generate_report()}"


def test_the_provider_pages(office: Window, provider: Provider) -> None:
    for name, path in (
        ("admin-provider-list", "provider/"),
        ("admin-provider-add", "provider/add/"),
        ("admin-provider-change", f"provider/{provider.pk}/change/"),
        ("admin-provider-delete", f"provider/{provider.pk}/delete/"),
    ):
        office.open(f"/admin/oauth_flows/{path}")
        examine(office, name)


def test_an_error_on_the_provider_page_stands_at_its_field(office: Window, connection: Connection) -> None:
    page = office.open(f"/admin/oauth_flows/provider/{connection.provider_id}/change/")
    page.get_by_label("Token endpoint").fill("https://elsewhere.example/token")
    with page.expect_navigation():
        page.get_by_role("button", name="Save", exact=True).click()
    assert "would send secrets to another host" in office.text
    examine(office, "admin-provider-error")


def test_the_connection_pages(
    office: Window, provider: Provider, connection: Connection, user: User, fake: FakeProvider
) -> None:
    flows.revoke(make_connection(provider, user, fake, subject="gone", label="Gone"))
    revocation = Revocation.objects.get()
    for name, path in (
        ("admin-connection-list", "connection/"),
        ("admin-connection-change", f"connection/{connection.pk}/change/"),
        ("admin-connection-import", "connection/import/"),
        ("admin-revocation-list", "revocation/"),
        ("admin-revocation-change", f"revocation/{revocation.pk}/change/"),
    ):
        office.open(f"/admin/oauth_flows/{path}")
        examine(office, name)


def test_the_buttons_of_the_connection_page_work(office: Window, connection: Connection, fake: FakeProvider) -> None:
    office.open(f"/admin/oauth_flows/connection/{connection.pk}/change/")
    office.press("Refresh")
    assert "refreshed" in office.text
    assert fake.count("token") == 1
    office.press("Disconnect and revoke")
    assert "revoked" in office.text
    assert not fake.oauth2.grants[0].alive
