"""The admin's pages, looked at whole by axe-core: light and dark, wide and narrow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from django_oauth_flows import flows
from django_oauth_flows.models import Provider, Revocation, WebhookDelivery
from django_oauth_flows.testing.factories import make_connection
from tests.browser.conftest import CONFORMANCE, WIDTHS

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from django_oauth_flows.models import Connection
    from django_oauth_flows.testing import FakeProvider
    from tests.browser.conftest import Window

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.django_db(transaction=True)]


@pytest.fixture
def office(window_for: Callable[[User], Window], make_user: Callable[..., User]) -> Window:
    """Return the window of a superuser."""
    return window_for(make_user("root", is_staff=True, is_superuser=True))


def examine(window: Window, name: str) -> None:
    """Hold the whole page to WCAG A and AA; keep pictures if ``SCREENSHOTS`` names a folder."""
    from axe_playwright_python.sync_playwright import Axe

    page = window.page
    for summary in page.query_selector_all("details:not([open]) > summary"):
        summary.click()  # what is folded away is looked at as well
    page.add_style_tag(
        content="* { transition: none !important }"
    )  # colours half way between light and dark are nobody's
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for device, width in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": 800})
            if folder := os.environ.get("SCREENSHOTS"):
                page.screenshot(path=Path(folder) / f"{name}-{scheme}-{device}.png", full_page=True)
            found = Axe().run(page, options={"runOnly": CONFORMANCE})
            assert found.violations_count == 0, f"{name}, {scheme}, {device}:\n{found.generate_report()}"
    assert window.said == [], window.said


@pytest.mark.parametrize("path", ["", "add/", "{pk}/change/", "{pk}/history/", "{pk}/delete/"])
def test_a_provider_page(path: str, office: Window, connection: Connection) -> None:
    office.open("/admin/oauth_flows/provider/" + path.format(pk=connection.provider_id))
    examine(office, f"admin-provider-{path.strip('/').rpartition('/')[2] or 'list'}")


@pytest.mark.parametrize(("name", "query"), [("search", "preset_search=git"), ("entry", "preset=shopify")])
def test_the_page_that_adds_a_provider_from_the_catalogue(name: str, query: str, office: Window) -> None:
    office.open(f"/admin/oauth_flows/provider/add/?{query}")
    examine(office, f"admin-provider-add-{name}")


@pytest.mark.parametrize("path", ["", "{pk}/change/", "{pk}/history/", "import/"])
def test_a_connection_page(
    path: str, office: Window, provider: Provider, connection: Connection, user: User, fake: FakeProvider
) -> None:
    flows.revoke(make_connection(provider, user, fake, subject="gone", label="Gone"))
    office.open("/admin/oauth_flows/connection/" + path.format(pk=connection.pk))
    examine(office, f"admin-connection-{path.strip('/').rpartition('/')[2] or 'list'}")


@pytest.mark.parametrize("path", ["", "{pk}/change/", "{pk}/history/"])
def test_a_revocation_page(path: str, office: Window, connection: Connection) -> None:
    flows.revoke(connection)
    office.open("/admin/oauth_flows/revocation/" + path.format(pk=Revocation.objects.get().pk))
    examine(office, f"admin-revocation-{path.strip('/').rpartition('/')[2] or 'list'}")


@pytest.mark.parametrize("path", ["", "{pk}/change/", "{pk}/history/"])
def test_a_webhook_delivery_page(path: str, office: Window) -> None:
    row = WebhookDelivery.objects.create(type="connection.revoked", body='{"type":"connection.revoked"}')
    office.open("/admin/oauth_flows/webhookdelivery/" + path.format(pk=row.pk))
    examine(office, f"admin-delivery-{path.strip('/').rpartition('/')[2] or 'list'}")


def test_the_page_of_what_is_disconnected_shows_its_past_and_no_buttons(office: Window, connection: Connection) -> None:
    flows.revoke(connection)
    page = office.open(f"/admin/oauth_flows/connection/{connection.pk}/change/")
    assert "revoked at the service" in page.get_by_role("region", name="Connection events").inner_text()
    assert page.get_by_role("button", name="Refresh").count() == 0
    assert page.get_by_role("button", name="Disconnect").count() == 0
    examine(office, "admin-connection-disconnected")


def test_an_error_on_the_provider_page_stands_at_its_field(office: Window, connection: Connection) -> None:
    page = office.open(f"/admin/oauth_flows/provider/{connection.provider_id}/change/")
    page.get_by_label("Token endpoint").fill("https://elsewhere.example/token")
    with page.expect_navigation():
        page.get_by_role("button", name="Save", exact=True).click()
    assert "would send secrets to another host" in office.text
    examine(office, "admin-provider-error")


def test_errors_on_the_import_page_stand_at_their_fields(office: Window, provider: Provider) -> None:
    page = office.open("/admin/oauth_flows/connection/import/")
    page.get_by_label("User name of the owner").fill("nobody")
    office.press("Import")
    assert "There is no such user." in office.text
    assert "This field is required." in page.locator(".form-row.field-access_token").inner_text()
    examine(office, "admin-import-error")


@pytest.mark.parametrize(
    ("table", "action", "done"),
    [
        ("provider", "Disconnect all connections", "2 connections disconnected"),
        ("connection", "Disconnect and revoke", "2 connections disconnected"),
        ("provider", "Delete selected providers", "it is enabled: disable it first"),
    ],
)
def test_a_bulk_action_asks_first(
    table: str, action: str, done: str, office: Window, connection: Connection, user: User, fake: FakeProvider
) -> None:
    make_connection(connection.provider, user, fake, subject="other", label="Other")
    page = office.open(f"/admin/oauth_flows/{table}/")
    page.locator("#action-toggle").check()
    page.get_by_label("Action:").select_option(action)
    with page.expect_navigation():
        page.locator('button[name="index"]').first.click()  # "Go", or "Run"
    examine(office, f"admin-{table}-{action.split(maxsplit=1)[0].lower()}-confirm")
    if action.startswith("Disconnect"):
        assert "cannot be undone" in office.text
        office.press("Yes")
    assert done in office.text
    examine(office, f"admin-{table}-{action.split(maxsplit=1)[0].lower()}-done")


def test_a_drained_provider_is_deleted_after_a_question(office: Window, connection: Connection) -> None:
    flows.revoke(connection)
    Provider.objects.update(enabled=False)
    office.open(f"/admin/oauth_flows/provider/{connection.provider_id}/delete/")
    assert "Connections: 1" in office.text
    examine(office, "admin-provider-delete-drained")
    office.press("Yes")
    assert not Provider.objects.exists()


def test_the_buttons_of_the_connection_page_work(office: Window, connection: Connection, fake: FakeProvider) -> None:
    office.open(f"/admin/oauth_flows/connection/{connection.pk}/change/")
    office.press("Refresh")
    assert "refreshed" in office.text
    assert fake.count("token") == 1
    office.press("Disconnect and revoke")
    assert "revoked" in office.text
    assert not fake.oauth2.grants[0].alive
