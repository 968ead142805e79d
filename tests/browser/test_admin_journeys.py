"""What staff do with a provider, walked in Chromium under a strict policy: by preset, each mistake, another secret."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from django_oauth_flows.models import Provider
from django_oauth_flows.protocol.secret import Secret
from tests.browser.policy import POLICY

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.models import Connection
    from django_oauth_flows.testing import FakeProvider
    from tests.browser.conftest import Window

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.django_db(transaction=True)]

PROVIDERS = "/admin/oauth_flows/provider/"


@pytest.fixture
def office(window_for: Callable[[User], Window], make_user: Callable[..., User], settings: SettingsWrapper) -> Window:
    """Return the window of a superuser, on a site with a strict content security policy."""
    settings.SECURE_CSP = POLICY
    settings.MIDDLEWARE = ["tests.browser.policy.strict", *settings.MIDDLEWARE]
    return window_for(make_user("root", is_staff=True, is_superuser=True))


def test_a_provider_of_the_catalogue_is_added_by_keyboard_alone(office: Window) -> None:
    page = office.open(f"{PROVIDERS}add/")
    page.get_by_label("Search the catalogue").focus()
    page.keyboard.type("github")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.get_by_role("link", name="GitHub", exact=True).focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.get_by_label("Redirect URI to register").input_value().endswith("/oauth/callback/github/")
    page.get_by_label("Client id:").focus()
    page.keyboard.type("the-id")
    page.keyboard.press("Tab")
    page.keyboard.type("the-secret")
    page.get_by_role("button", name="Save", exact=True).focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")
    row = Provider.objects.get()
    assert (row.slug, row.preset, row.client_id) == ("github", "github", "the-id")
    assert row.open("client_secret") == Secret("the-secret")
    assert office.said == []


def wrong_secret(fake: FakeProvider) -> None:
    row = Provider.objects.get()
    row.seal("client_secret", Secret("wrong"))
    row.save()


def less_scope(fake: FakeProvider) -> None:
    fake.oauth2.granted_scopes = "nothing"


def no(fake: FakeProvider) -> None:
    fake.oauth2.denies = True


@pytest.mark.parametrize(
    ("mistake", "fix"),
    [
        (wrong_secret, "Paste the client secret anew"),
        (less_scope, "Allow these scopes for the client"),
        (no, "Test again and allow it"),
    ],
)
def test_a_mistake_leads_back_to_a_report_that_names_the_fix(
    mistake: Callable[[FakeProvider], None], fix: str, office: Window, provider: Provider, fake: FakeProvider
) -> None:
    mistake(fake)
    page = office.open(f"{PROVIDERS}{provider.pk}/test/")
    page.get_by_role("button", name="Start the test").focus()
    page.keyboard.press("Enter")
    page.get_by_text("The test has failed.").wait_for()
    assert page.url.endswith(f"{provider.pk}/test/")
    assert fix in office.text
    assert office.said == []


def test_the_client_secret_is_changed_and_the_one_from_before_goes_on(
    office: Window, connection: Connection, fake: FakeProvider
) -> None:
    page = office.open(f"{PROVIDERS}{connection.provider_id}/change/")
    page.get_by_label("Client secret:", exact=True).fill("the-new-one")
    until = timezone.localtime(timezone.now() + timedelta(days=1))
    page.get_by_label("Present secret is tried until").fill(f"{until:%Y-%m-%dT%H:%M}")
    page.get_by_label("Present client secret:").fill(fake.oauth2.client_secret)
    with page.expect_navigation():
        page.get_by_role("button", name="Save", exact=True).click()
    row = Provider.objects.get()
    assert row.open("client_secret") == Secret("the-new-one")
    assert row.open("second_client_secret") == Secret(fake.oauth2.client_secret)
    office.open(f"{PROVIDERS}{row.pk}/change/")
    assert "The client secret from before is tried as well" in office.text
