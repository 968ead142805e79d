"""What staff do at the example project's admin with a provider of the example's service."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from example_project.servers import Application, Service
    from tests.browser.desk import Visitor

PROVIDERS, CONNECTIONS = "/admin/oauth_flows/provider/", "/admin/oauth_flows/connection/"

ADDRESSES = {
    "Issuer:": "issuer",
    "Authorization endpoint:": "authorization_endpoint",
    "Token endpoint:": "token_endpoint",
    "Temporary credential endpoint:": "temporary_credential_endpoint",
    "Revocation endpoint:": "revocation_endpoint",
    "Userinfo endpoint:": "userinfo_endpoint",
    "API base URL:": "api_base_url",
}
"""The fields of a provider's form in which addresses of a service stand, from top to bottom."""


def register(notebook: Service, slug: str, *, at: str) -> Application:
    """Register a client at the service, as its developers would, whose answers come to the site ``at``."""
    return notebook.register_application(slug, redirect_uris=[f"{at}/oauth/callback/{slug}/"])


def add_by_discovery(
    clerk: Visitor, notebook: Service, slug: str, application: Application, *, secret: str = "", scopes: str = ""
) -> str:
    """Add the service to the site from what it says of itself; return the address of the page that tests it."""
    window = clerk.window
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


def add_by_hand(clerk: Visitor, notebook: Service, slug: str, protocol: str, *, secret: str = "", at: str = "") -> str:
    """Enter a service as its documentation describes it, and go on to the page that tests it; return the true secret.

    The client there is registered for the site ``at``, by default the one that is open.
    """
    window = clerk.window
    client_id, its_secret = _register(notebook, slug, protocol, at=at or window.site)
    endpoints = {"oauth1": notebook.oauth1, "oauth2": notebook.oauth2}[protocol]
    window.open(f"{PROVIDERS}add/")
    window.fill("Name:", slug)  # the slug follows
    window.choose("Protocol:", {"oauth1": "OAuth 1.0a", "oauth2": "OAuth 2"}[protocol])
    window.fill("Client id:", client_id)
    window.fill("Client secret:", secret or its_secret)
    if protocol == "oauth2":
        window.fill("Default scopes:", "profile")
    fill_addresses(clerk, endpoints)
    window.choose("Account identity from:", "userinfo endpoint")
    window.fill("Path of the account id:", endpoints["subject_path"])
    window.fill("Path of the account name:", endpoints["label_path"])
    let_be_internal(clerk)
    window.press("Save and test")
    assert redirect_uri_shown(clerk) == f"{window.site}/oauth/callback/{slug}/"
    return its_secret


def _register(notebook: Service, slug: str, protocol: str, *, at: str) -> tuple[str, str]:
    if protocol == "oauth2":
        application = register(notebook, slug, at=at)
        return application.client_id, application.client_secret
    consumer = notebook.register_consumer(slug, callbacks=[f"{at}/oauth/callback/{slug}/"])
    return consumer.key, consumer.secret


def fill_addresses(clerk: Visitor, endpoints: dict[str, Any]) -> None:
    """Enter a service's addresses into a provider's form."""
    for label, column in ADDRESSES.items():
        if column in endpoints:
            clerk.window.fill(label, endpoints[column])


def let_be_internal(clerk: Visitor) -> None:
    """Allow a provider's form addresses on this machine."""
    clerk.window.reach(clerk.window.page.locator("summary", has_text="Advanced"), then="Enter")
    clerk.window.reach(clerk.window.page.get_by_label("Internal", exact=True), then="Space")


def take_the_test(clerk: Visitor, *, button: str = "Allow") -> None:
    """Start a test, or another one, and answer at the service."""
    clerk.window.press("test")
    clerk.allow(member="ada", button=button)


def assert_passed(clerk: Visitor) -> None:
    """Read the report: no step was left out."""
    clerk.window.page.get_by_text("The test has passed.").wait_for()
    assert "not reached" not in clerk.window.text


def assert_failed(clerk: Visitor, step: str, fix: str) -> None:
    """Read the report: it names the one step that has failed, and what to do."""
    page = clerk.window.page
    page.get_by_text("The test has failed.").wait_for()
    (failed,) = page.get_by_role("listitem").filter(has_text="What to do:").all_inner_texts()
    assert failed.startswith(f"{step} failed"), failed
    assert fix in failed


def redirect_uri_shown(clerk: Visitor) -> str:
    """Return what staff copy from the page of the test."""
    return clerk.window.page.get_by_label("Redirect URI").first.input_value()
