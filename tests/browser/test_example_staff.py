"""Staff at the example project's admin, with the example's service on the other side: by mouse and by keyboard alone.

The service is one of the tests' own, so that they can register clients there as its developers do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from example_project.servers import Application, Service, start_service
from tests.browser.conftest import HANDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.browser.desk import Visitor

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.parametrize("hands", HANDS)]

PROVIDERS, CONNECTIONS = "/admin/oauth_flows/provider/", "/admin/oauth_flows/connection/"

ADDRESSES = {
    "Issuer:": "issuer",
    "Authorization endpoint:": "authorization_endpoint",
    "Token endpoint:": "token_endpoint",
    "Revocation endpoint:": "revocation_endpoint",
    "Userinfo endpoint:": "userinfo_endpoint",
    "API base URL:": "api_base_url",
}
"""The fields of a provider's form in which addresses of a service stand, from top to bottom."""


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a service that the demo's site has not heard of."""
    with start_service(tmp_path_factory.mktemp("notebook")) as running:
        yield running


@pytest.fixture
def office(visit: Callable[..., Visitor], hands: str) -> Visitor:
    """Return a member of staff."""
    return visit("admin", hands=hands)


def register(notebook: Service, slug: str, *, at: str) -> Application:
    """Register a client at the service, as its developers would, whose answers come to the site ``at``."""
    return notebook.register_application(slug, redirect_uris=[f"{at}/oauth/callback/{slug}/"])


def add_by_discovery(
    office: Visitor, notebook: Service, slug: str, application: Application, *, secret: str = "", scopes: str = ""
) -> str:
    """Add the service to the site from what it says of itself; return the address of the page that tests it."""
    window = office.window
    page = window.open(f"{PROVIDERS}add/")
    window.fill("Issuer URL", notebook.url)
    window.reach(page.get_by_label("on the internal network", exact=True), then="Space")
    window.press("Discover")
    assert "The service has described itself" in window.text
    window.fill("Name:", slug)
    window.fill("Slug:", slug)
    window.fill("Client id:", application.client_id)
    window.fill("Client secret:", secret or application.client_secret)
    if scopes:
        window.fill("Default scopes:", scopes)
    window.press("Save and test")
    return page.url.removeprefix(window.site)


def take_the_test(office: Visitor, *, button: str = "Allow") -> None:
    """Start a test, or another one, and answer at the service."""
    office.window.press("test")
    office.allow(member="ada", button=button)


def assert_passed(office: Visitor) -> None:
    """Read the report: no step was left out."""
    office.window.page.get_by_text("The test has passed.").wait_for()
    assert "not reached" not in office.window.text


def assert_failed(office: Visitor, fix: str) -> None:
    """Read the report: it says what to do."""
    office.window.page.get_by_text("The test has failed.").wait_for()
    assert fix in office.window.text


def redirect_uri_shown(office: Visitor) -> str:
    """Return what staff copy from the page of the test."""
    return office.window.page.get_by_label("Redirect URI").first.input_value()


def test_a_provider_is_discovered_tested_and_connected(
    hands: str, office: Visitor, visit: Callable[..., Visitor], notebook: Service
) -> None:
    slug = f"found-by-{hands}"
    add_by_discovery(office, notebook, slug, register(notebook, slug, at=office.window.site))
    take_the_test(office)
    assert_passed(office)
    assert notebook.live_tokens("lovelace") == {"access_tokens": 0, "refresh_tokens": 0, "token_credentials": 0}
    visitor = visit("ada", hands=hands)
    visitor.window.open("/oauth/")
    visitor.window.press(f"Connect {slug}")
    visitor.allow()
    visitor.window.page.get_by_role("heading", name=slug).wait_for()
    visitor.disconnect_everything()


@pytest.mark.parametrize(
    ("mistake", "fix"),
    [
        ({"secret": "wrong"}, "Paste the client secret anew"),
        ({"scopes": "openid notes:burn"}, "take out those that it does not know: openid notes:burn"),
    ],
    ids=["secret", "scope"],
)
def test_a_mistake_on_this_side_leads_to_a_report_that_names_the_fix(
    mistake: dict[str, str], fix: str, hands: str, office: Visitor, notebook: Service
) -> None:
    slug = f"wrong-{'-'.join(mistake)}-by-{hands}"
    application = register(notebook, slug, at=office.window.site)
    add_by_discovery(office, notebook, slug, application, **mistake)
    if "scopes" in mistake:
        office.window.press("test")  # the service asks nothing of the kind
        office.log_in_at_the_service("ada")
    else:
        take_the_test(office)
    assert_failed(office, fix)


def test_who_does_not_allow_it_reads_that_and_tests_again(hands: str, office: Visitor, notebook: Service) -> None:
    slug = f"denied-by-{hands}"
    add_by_discovery(office, notebook, slug, register(notebook, slug, at=office.window.site))
    take_the_test(office, button="Do not allow")
    assert_failed(office, "Test again and allow it")
    take_the_test(office)
    assert_passed(office)


def test_another_redirect_uri_at_the_service_keeps_the_browser_there(
    hands: str, office: Visitor, notebook: Service
) -> None:
    slug = f"elsewhere-by-{hands}"
    application = register(notebook, slug, at="http://127.0.0.1/elsewhere")
    page = add_by_discovery(office, notebook, slug, application)
    office.window.press("test")
    office.log_in_at_the_service("ada")
    assert "This request cannot be answered" in office.window.text
    office.window.open(page)
    assert "The test is still under way." in office.window.text
    assert "register exactly the one above" in office.window.text
    assert redirect_uri_shown(office) == f"{office.window.site}/oauth/callback/{slug}/"


def test_a_secret_that_the_service_has_rotated_is_rotated_here(hands: str, office: Visitor, notebook: Service) -> None:
    slug, window = f"rotated-by-{hands}", office.window
    application = register(notebook, slug, at=window.site)
    add_by_discovery(office, notebook, slug, application)
    secret = notebook.rotate_secret(application)
    take_the_test(office)
    assert_failed(office, "Paste the client secret anew")
    window.press("Back to the provider", role="link")
    window.fill("Client secret:", secret)
    window.press("Save and test")
    take_the_test(office)
    assert_passed(office)


def test_connections_are_revoked_in_bulk_at_the_service_as_well(
    hands: str, office: Visitor, visit: Callable[..., Visitor], notebook: Service
) -> None:
    slug, window = f"revoked-by-{hands}", office.window
    page = add_by_discovery(office, notebook, slug, register(notebook, slug, at=window.site))
    for name in ("ada", "grace"):
        visitor = visit(name, hands=hands)
        visitor.window.open("/oauth/")
        visitor.window.press(f"Connect {slug}")
        visitor.allow()
        visitor.window.page.get_by_role("heading", name=slug).wait_for()
    members = [member.username for member in notebook.members]
    assert [notebook.live_tokens(member)["access_tokens"] for member in members] == [1, 1]
    (pk,) = re.findall(r"provider/([^/]+)/test/", page)
    window.open(f"{CONNECTIONS}?provider__id__exact={pk}")
    window.reach(window.page.locator("#action-toggle"), then="Space")
    window.choose("Action:", "Disconnect and revoke")
    with window.page.expect_navigation():
        window.reach(window.page.locator('button[name="index"]').first, then="Enter")  # "Go", or "Run"
    assert "cannot be undone" in window.text
    window.press("Yes")
    assert "2 connections disconnected" in window.text
    for member in members:
        assert notebook.live_tokens(member) == {"access_tokens": 0, "refresh_tokens": 0, "token_credentials": 0}


def test_a_provider_is_added_from_the_catalogue(hands: str, office: Visitor, notebook: Service) -> None:
    """The row is the catalogue's. What is in the way of testing it here are its addresses: they become the service's."""
    slug, window = f"preset-by-{hands}", office.window
    application = register(notebook, slug, at=window.site)
    page = window.open(f"{PROVIDERS}add/")
    window.fill("Search the catalogue", "onshape")
    window.press("Search")
    window.press("Onshape", role="link")
    window.fill("Slug:", slug)
    window.fill("Client id:", application.client_id)
    window.fill("Client secret:", application.client_secret)
    window.press("Save and test")
    assert redirect_uri_shown(office) == f"{window.site}/oauth/callback/{slug}/"
    window.press("Back to the provider", role="link")
    assert page.get_by_label("Token endpoint:").input_value() == "https://oauth.onshape.com/oauth/token"
    window.fill("Default scopes:", "profile")
    for label, column in ADDRESSES.items():
        window.fill(label, notebook.oauth2[column])
    window.fill("Present client secret:", application.client_secret)  # or its addresses stay as they are
    window.reach(page.locator("summary", has_text="Advanced"), then="Enter")
    window.reach(page.get_by_label("Internal", exact=True), then="Space")
    window.press("Save and test")
    take_the_test(office)
    assert_passed(office)
    assert "Ada Lovelace" in window.text
