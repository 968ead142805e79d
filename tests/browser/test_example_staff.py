"""Staff at the example project's admin, with the example's service on the other side: by mouse and by keyboard alone.

The service is one of the tests' own, so that they can register clients there as its developers do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import HANDS
from tests.browser.staff import (
    CONNECTIONS,
    PROVIDERS,
    add_by_discovery,
    add_by_hand,
    assert_failed,
    assert_passed,
    fill_addresses,
    let_be_internal,
    redirect_uri_shown,
    register,
    take_the_test,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from example_project.servers import Service
    from tests.browser.desk import Visitor

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.parametrize("hands", HANDS)]


def test_a_provider_is_discovered_tested_and_connected(
    hands: str, clerk: Visitor, visit: Callable[..., Visitor], notebook: Service
) -> None:
    slug = f"found-by-{hands}"
    add_by_discovery(clerk, notebook, slug, register(notebook, slug, at=clerk.window.site))
    take_the_test(clerk)
    assert_passed(clerk)
    assert notebook.live_tokens("lovelace") == {"access_tokens": 0, "refresh_tokens": 0, "token_credentials": 0}
    visitor = visit("ada", hands=hands)
    visitor.window.open("/oauth/")
    visitor.window.press(f"Connect {slug}")
    visitor.allow()
    visitor.window.page.get_by_role("heading", name=slug).wait_for()
    visitor.disconnect_everything()


def test_a_secret_that_the_service_has_rotated_is_rotated_here(hands: str, clerk: Visitor, notebook: Service) -> None:
    slug, window = f"rotated-by-{hands}", clerk.window
    application = register(notebook, slug, at=window.site)
    add_by_discovery(clerk, notebook, slug, application)
    secret = notebook.rotate_secret(application)
    take_the_test(clerk)
    assert_failed(clerk, "Exchange the code for tokens", "Paste the client secret anew")
    window.press("Back to the provider", role="link")
    window.fill("Client secret:", secret)
    window.press("Save and test")
    take_the_test(clerk)
    assert_passed(clerk)


@pytest.mark.parametrize(("protocol", "kind"), [("oauth2", "access_tokens"), ("oauth1", "token_credentials")])
def test_connections_are_revoked_in_bulk_at_the_service_as_well(
    protocol: str, kind: str, hands: str, clerk: Visitor, visit: Callable[..., Visitor], notebook: Service
) -> None:
    slug, window = f"{protocol}-revoked-by-{hands}", clerk.window
    add_by_hand(clerk, notebook, slug, protocol)
    for name in ("ada", "grace"):
        visitor = visit(name, hands=hands)
        visitor.window.open("/oauth/")
        visitor.window.press(f"Connect {slug}")
        visitor.allow()
        visitor.window.page.get_by_role("heading", name=slug).wait_for()
    members = [member.username for member in notebook.members]
    assert [notebook.live_tokens(member)[kind] for member in members] == [1, 1]
    (pk,) = re.findall(r"provider/([^/]+)/test/", window.page.url)
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


def test_a_provider_is_added_from_the_catalogue(hands: str, clerk: Visitor, notebook: Service) -> None:
    """The row is the catalogue's. What is in the way of testing it here are its addresses: they become the service's."""
    slug, window = f"preset-by-{hands}", clerk.window
    application = register(notebook, slug, at=window.site)
    page = window.open(f"{PROVIDERS}add/")
    window.fill("Search the catalogue", "onshape")
    window.press("Search")
    window.press("Onshape", role="link")
    window.fill("Slug:", slug)
    window.fill("Client id:", application.client_id)
    window.fill("Client secret:", application.client_secret)
    window.press("Save and test")
    assert redirect_uri_shown(clerk) == f"{window.site}/oauth/callback/{slug}/"
    window.press("Back to the provider", role="link")
    assert page.get_by_label("Token endpoint:").input_value() == "https://oauth.onshape.com/oauth/token"
    window.fill("Default scopes:", "profile")
    fill_addresses(clerk, notebook.oauth2)
    window.fill("Present client secret:", application.client_secret)  # or its addresses stay as they are
    let_be_internal(clerk)
    window.press("Save and test")
    take_the_test(clerk)
    assert_passed(clerk)
    assert "Ada Lovelace" in window.text
