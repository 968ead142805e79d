"""Each deliberate mistake with the example's service, told by *Test connection*: by mouse and by keyboard alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

from example_project.servers import Service, start_service
from tests.browser.conftest import HANDS
from tests.browser.staff import (
    add_by_discovery,
    add_by_hand,
    assert_failed,
    assert_passed,
    redirect_uri_shown,
    register,
    take_the_test,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.browser.desk import Visitor

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.parametrize("hands", HANDS)]

AN_HOUR = 3600
NOTHING = {"access_tokens": 0, "refresh_tokens": 0, "token_credentials": 0}


@pytest.mark.parametrize(
    ("mistake", "step", "fix"),
    [
        ({"secret": "wrong"}, "Exchange the code for tokens", "Paste the client secret anew"),
        (
            {"scopes": "openid notes:burn"},
            "Come back with an answer",
            "take out those that it does not know: openid notes:burn",
        ),
    ],
    ids=["secret", "scope"],
)
def test_a_mistake_on_this_side_leads_to_a_report_that_names_the_fix(
    mistake: dict[str, str], step: str, fix: str, hands: str, clerk: Visitor, notebook: Service
) -> None:
    slug = f"wrong-{'-'.join(mistake)}-by-{hands}"
    application = register(notebook, slug, at=clerk.window.site)
    add_by_discovery(clerk, notebook, slug, application, **mistake)
    if "scopes" in mistake:
        clerk.window.press("test")  # the service asks nothing of the kind
        clerk.log_in_at_the_service("ada")
    else:
        take_the_test(clerk)
    assert_failed(clerk, step, fix)


def test_who_does_not_allow_it_reads_that_and_tests_again(hands: str, clerk: Visitor, notebook: Service) -> None:
    slug = f"denied-by-{hands}"
    add_by_discovery(clerk, notebook, slug, register(notebook, slug, at=clerk.window.site))
    take_the_test(clerk, button="Do not allow")
    assert_failed(clerk, "Come back with an answer", "Test again and allow it")
    take_the_test(clerk)
    assert_passed(clerk)


def test_another_redirect_uri_at_the_service_keeps_the_browser_there(
    hands: str, clerk: Visitor, notebook: Service
) -> None:
    slug = f"elsewhere-by-{hands}"
    application = register(notebook, slug, at="http://127.0.0.1/elsewhere")
    page = add_by_discovery(clerk, notebook, slug, application)
    clerk.window.press("test")
    clerk.log_in_at_the_service("ada")
    assert "This request cannot be answered" in clerk.window.text
    clerk.window.open(page)
    assert "The test is still under way." in clerk.window.text
    assert "register exactly the one above" in clerk.window.text
    assert redirect_uri_shown(clerk) == f"{clerk.window.site}/oauth/callback/{slug}/"


@pytest.mark.parametrize(
    ("mistake", "fix"),
    [
        ({"secret": "wrong"}, "Paste the client secret anew"),
        ({"at": "http://127.0.0.1/elsewhere"}, "register exactly the redirect URI above"),
    ],
    ids=["secret", "redirect-uri"],
)
def test_over_oauth_1_a_mistake_shows_before_the_browser_leaves(
    mistake: dict[str, str], fix: str, hands: str, clerk: Visitor, notebook: Service
) -> None:
    add_by_hand(clerk, notebook, f"classic-{'-'.join(mistake)}-by-{hands}", "oauth1", **mistake)
    clerk.window.press("test")
    assert_failed(clerk, "Send the browser to the service", fix)


def test_a_permission_that_was_not_granted_is_named(hands: str, clerk: Visitor, notebook: Service) -> None:
    slug, window = f"unticked-by-{hands}", clerk.window
    application = register(notebook, slug, at=window.site)
    add_by_discovery(clerk, notebook, slug, application, scopes="openid profile notes:read photos:read")
    window.press("test")
    clerk.log_in_at_the_service("ada")
    window.reach(window.page.get_by_label("See your photos"), then="Space")
    window.press("Allow")
    assert_failed(clerk, "Compare the permissions", "tick them on its consent page")
    assert "Missing: photos:read." in window.text
    assert notebook.live_tokens("lovelace") == NOTHING
    take_the_test(clerk)
    assert_passed(clerk)


def test_clocks_that_do_not_agree_are_named_over_oauth_1(hands: str, clerk: Visitor, notebook: Service) -> None:
    """The service says nothing but 401, as for a wrong secret; what tells is the ``Date`` of its answer."""
    slug, window = f"slow-by-{hands}", clerk.window
    add_by_hand(clerk, notebook, slug, "oauth1")
    with notebook.wrong_clock(fast_by=-AN_HOUR):
        window.press("test")
        assert_failed(clerk, "Send the browser to the service", "Set this server's clock by NTP")
    take_the_test(clerk)
    window.page.get_by_text("The test has passed.").wait_for()


def test_clocks_that_do_not_agree_are_named_over_openid_connect(hands: str, clerk: Visitor, notebook: Service) -> None:
    slug = f"ahead-by-{hands}"
    application = register(notebook, slug, at=clerk.window.site)
    add_by_discovery(clerk, notebook, slug, application, scopes="openid profile")
    with notebook.wrong_clock(fast_by=AN_HOUR):
        take_the_test(clerk)
        assert_failed(clerk, "Verify the ID token", "Set this server's clock by NTP")
    take_the_test(clerk)
    assert_passed(clerk)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Path]]:
    """Run a service whose certificate is of an authority of its own; yield it, and that authority's file."""
    folder = tmp_path_factory.mktemp("private")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    with start_service(folder / "service", tls=(folder / "certificate.pem", folder / "key.pem")) as running:
        yield running, folder / "authority.pem"


@pytest.mark.parametrize(
    ("protocol", "step"),
    [("oauth1", "Send the browser to the service"), ("oauth2", "Exchange the code for tokens")],
)
def test_a_certificate_that_nobody_vouches_for_is_named(
    protocol: str, step: str, hands: str, clerk: Visitor, private: tuple[Service, Path]
) -> None:
    (notebook, authority), slug, window = private, f"{protocol}-private-by-{hands}", clerk.window
    secret = add_by_hand(clerk, notebook, slug, protocol)
    window.press("test")
    if protocol == "oauth2":  # and over OAuth 1.0a it gets no further
        clerk.allow(member="ada")
    assert_failed(clerk, step, "give its certificate under “CA bundle”")
    window.press("Back to the provider", role="link")
    window.fill("Present client secret:", secret)
    window.reach(window.page.locator("summary", has_text="Advanced"), then="Enter")
    window.fill("CA bundle:", str(authority))
    window.press("Save and test")
    take_the_test(clerk)
    window.page.get_by_text("The test has passed.").wait_for()
