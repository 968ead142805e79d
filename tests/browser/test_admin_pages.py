"""The admin's pages, looked at whole by axe-core: light and dark, wide and narrow, from the left and from the right."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.templatetags.static import static
from django.utils import timezone

from django_oauth_flows import flows
from django_oauth_flows.admin import connection_actions
from django_oauth_flows.models import Provider, RefreshCount, Revocation, WebhookDelivery
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import make_connection
from tests.browser.conftest import AXE, LOOKS, WIDTHS

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from playwright.sync_api import Page

    from django_oauth_flows.models import Connection
    from django_oauth_flows.testing import FakeProvider
    from tests.browser.conftest import Window

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.django_db(transaction=True)]


def examine(window: Window, name: str) -> None:
    """Hold the whole page to WCAG A and AA in every look; keep pictures if ``SCREENSHOTS`` names a folder."""
    page = window.page
    for summary in page.query_selector_all("details:not([open]) > summary"):
        summary.click()  # what is folded away is looked at as well
    page.evaluate(  # colours half way between light and dark are nobody's; a policy lets scripts' rules pass
        """() => { const sheet = new CSSStyleSheet(); sheet.replaceSync("* { transition: none !important }");
        document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet]; }"""
    )
    for look in sorted(LOOKS, key=lambda look: look[2]):
        scheme, device, direction = look
        turn(page, direction)
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": WIDTHS[device], "height": 800})
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=Path(folder) / f"{name}-{'-'.join(look)}.png", full_page=True)
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0 or device == "phone", f"{name}, {look}: {overflow} px wider than the window"
        found = axe(page)
        assert found.violations_count == 0, f"{name}, {look}:\n{found.generate_report()}"
    assert window.said == [], window.said


def turn(page: Page, direction: str) -> None:
    """Do to a page what Django does in languages that are written from right to left."""
    if direction == "rtl" and page.evaluate("document.dir") != "rtl":
        for sheet in ("rtl", "responsive_rtl"):
            page.add_style_tag(url=static(f"admin/css/{sheet}.css"))
        page.evaluate("document.dir = 'rtl'")


def axe(page: Page) -> Any:
    """Run axe-core, which is put into the page from outside: the page's policy is not its own."""
    from axe_playwright_python.sync_playwright import Axe

    return Axe().run(page, options=AXE)


@pytest.mark.parametrize("path", ["", "add/", "{pk}/change/", "{pk}/history/", "{pk}/delete/", "{pk}/test/"])
def test_a_provider_page(path: str, office: Window, connection: Connection) -> None:
    office.open("/admin/oauth_flows/provider/" + path.format(pk=connection.provider_id))
    examine(office, f"admin-provider-{path.strip('/').rpartition('/')[2] or 'list'}")


def test_a_providers_health_with_good_and_bad_days(office: Window, connection: Connection) -> None:
    this_hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    for number in range(30 * 24):
        hour = this_hour - timedelta(hours=number)
        outcomes = {"refreshed": 40 + 7 * (number % 11), "provider_unreachable": 9 if number % 13 == 0 else 0}
        for outcome, count in outcomes.items():
            RefreshCount.objects.create(provider=connection.provider, hour=hour, outcome=outcome, count=count)
    Provider.objects.update(client_secret_expires_at=timezone.now() + timedelta(days=9), alarm="invalid_client")
    page = office.open(f"/admin/oauth_flows/provider/{connection.provider_id}/change/")
    assert page.locator(".oauth-chart svg rect").count() > 50
    examine(office, "admin-provider-health")


@pytest.mark.parametrize("outcome", ["passed", "failed", "waiting"])
def test_the_report_of_a_test(outcome: str, office: Window, provider: Provider, fake: FakeProvider) -> None:
    if outcome == "failed":
        fake.script("token", Answer(401, {"error": "invalid_client"}))
    if outcome == "waiting":
        fake.script("authorize", Answer(400, "redirect_uri_mismatch"))
    page = office.open(f"/admin/oauth_flows/provider/{provider.pk}/test/")
    page.get_by_role("button", name="Start the test").click()
    if outcome == "waiting":
        page.wait_for_url(f"{fake.url}/**")
        office.said.clear()  # the service's own error page is no page of ours
        office.open(f"/admin/oauth_flows/provider/{provider.pk}/test/")
    page.get_by_text("under way" if outcome == "waiting" else f"The test has {outcome}").wait_for()
    examine(office, f"admin-provider-test-{outcome}")


def test_the_page_between_two_rounds_goes_on_by_itself(
    office: Window, connection: Connection, user: User, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_actions, "SECONDS", 0)
    monkeypatch.setattr(connection_actions, "BATCH", 1)
    for number in range(3):
        make_connection(connection.provider, user, fake, subject=f"other-{number}", label=f"Other {number}")
    page = office.open("/admin/oauth_flows/connection/")
    page.locator("#action-toggle").check()
    page.get_by_label("Action:").select_option("Refresh")
    with page.expect_navigation():
        page.locator('button[name="index"]').first.click()
    examine(office, "admin-connection-refresh-confirm")
    page.route("**/oauth_flows/admin.js", lambda route: route.fulfill(body=""))
    office.press("Yes")
    examine(office, "admin-connection-progress")
    page.unroute("**/oauth_flows/admin.js")
    office.press("Go on")
    page.get_by_text("connections refreshed.").wait_for()
    assert fake.count("token") == 4


@pytest.mark.parametrize(("name", "query"), [("search", "preset_search=git"), ("entry", "preset=shopify")])
def test_the_page_that_adds_a_provider_from_the_catalogue(name: str, query: str, office: Window) -> None:
    office.open(f"/admin/oauth_flows/provider/add/?{query}")
    examine(office, f"admin-provider-add-{name}")


@pytest.mark.parametrize("outcome", ["found", "refused"])
def test_what_discovery_leads_to(outcome: str, office: Window, fake: FakeProvider) -> None:
    page = office.open("/admin/oauth_flows/provider/add/")
    office.fill("Issuer URL", fake.url if outcome == "found" else "https://127.0.0.1:1")
    page.get_by_label("on the internal network", exact=True).check()
    office.press("Discover")
    assert ("has described itself" in office.text) == (outcome == "found")
    examine(office, f"admin-provider-discovered-{outcome}")


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
    assert "revoked at the service" in page.get_by_role("region", name="What happened").inner_text()
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
