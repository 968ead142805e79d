"""What staff do with a provider, walked in Chromium under a strict policy, by mouse and by keyboard alone."""

from __future__ import annotations

import ssl
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import trustme
from django.utils import timezone

from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Answer, FakeProvider
from django_oauth_flows.testing.factories import make_connection, make_provider
from tests.browser.conftest import HANDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from django.contrib.auth.models import User

    from tests.browser.conftest import Window

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("office", HANDS, indirect=True),
]

PROVIDERS, CONNECTIONS = "/admin/oauth_flows/provider/", "/admin/oauth_flows/connection/"


def save(office: Window) -> None:
    """Save a form of the admin."""
    with office.page.expect_navigation():
        office.reach(office.page.get_by_role("button", name="Save", exact=True), then="Enter")


def test_a_provider_is_added_from_the_catalogue(office: Window) -> None:
    page = office.open(f"{PROVIDERS}add/")
    office.fill("Search the catalogue", "github")
    office.press("Search")
    with page.expect_navigation():
        office.reach(page.get_by_role("link", name="GitHub", exact=True), then="Enter")
    assert page.get_by_label("Redirect URI to register").input_value().endswith("/oauth/callback/github/")
    office.fill("Client id:", "the-id")
    office.fill("Client secret:", "the-secret")
    save(office)
    row = Provider.objects.get()
    assert (row.slug, row.preset, row.client_id) == ("github", "github", "the-id")
    assert row.open("client_secret") == Secret("the-secret")


def test_a_provider_is_added_by_discovery(office: Window, fake: FakeProvider) -> None:
    page = office.open(f"{PROVIDERS}add/")
    office.fill("Issuer URL", fake.url)
    office.reach(page.get_by_label("on the internal network", exact=True), then="Space")
    office.press("Discover")
    assert "The service has described itself" in office.text
    office.fill("Name:", "Notebook")
    office.fill("Slug:", "notebook")
    office.fill("Client id:", fake.oauth2.client_id)
    office.fill("Client secret:", fake.oauth2.client_secret)
    save(office)
    row = Provider.objects.get()
    assert (row.slug, row.issuer, row.token_endpoint) == ("notebook", fake.url, f"{fake.url}/token")


def start_the_test(office: Window, provider: Provider) -> None:
    """Press the button, which leads to the service."""
    office.open(f"{PROVIDERS}{provider.pk}/test/")
    office.reach(office.page.get_by_role("button", name="Start the test"), then="Enter")


def assert_failed(office: Window, provider: Provider, fix: str) -> None:
    """Read the report."""
    office.page.get_by_text("The test has failed.").wait_for()
    assert office.page.url.endswith(f"{provider.pk}/test/")
    assert fix in office.text
    assert not Connection.objects.exists()


def wrong_secret(fake: FakeProvider) -> None:
    row = Provider.objects.get()
    row.seal("client_secret", Secret("wrong"))
    row.save()


def less_scope(fake: FakeProvider) -> None:
    fake.oauth2.granted_scopes = "nothing"


def no(fake: FakeProvider) -> None:
    fake.oauth2.denies = True


def wrong_clock(fake: FakeProvider) -> None:
    Provider.objects.update(scopes=("openid",), jwks_uri=f"{fake.url}/jwks", identity_source="id_token")
    in_an_hour = int(time.time()) + 3600
    fake.openid.change_claims = lambda claims: claims.update(iat=in_an_hour, exp=in_an_hour + 600)


@pytest.mark.parametrize(
    ("mistake", "fix"),
    [
        (wrong_secret, "Paste the client secret anew"),
        (less_scope, "Allow these scopes for the client"),
        (no, "Test again and allow it"),
        (wrong_clock, "Set this server's clock by NTP"),
    ],
)
def test_a_mistake_leads_back_to_a_report_that_names_the_fix(
    mistake: Callable[[FakeProvider], None], fix: str, office: Window, provider: Provider, fake: FakeProvider
) -> None:
    mistake(fake)
    start_the_test(office, provider)
    assert_failed(office, provider, fix)


@pytest.fixture
def over_tls(tmp_path: Path) -> Iterator[FakeProvider]:
    """Return a provider over TLS, whose authority is in ``tmp_path``; a stranger is there, too."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "stranger.pem"))
    with FakeProvider(tls=context) as running:
        yield running


@pytest.mark.parametrize("trusted", ["stranger", "authority"])
def test_a_certificate_that_is_not_trusted_is_named(
    trusted: str, office: Window, over_tls: FakeProvider, tmp_path: Path
) -> None:
    provider = make_provider(over_tls, ca_bundle=str(tmp_path / f"{trusted}.pem"))
    start_the_test(office, provider)
    if trusted == "stranger":
        assert_failed(office, provider, "CA bundle")
    else:
        office.page.get_by_text("The test has passed.").wait_for()


def test_who_is_stopped_for_the_redirect_uri_reads_what_to_compare(
    office: Window, provider: Provider, fake: FakeProvider
) -> None:
    fake.script("authorize", Answer(400, "redirect_uri_mismatch"))
    start_the_test(office, provider)
    office.page.wait_for_url(f"{fake.url}/**")
    office.page.go_back()
    office.page.get_by_text("The test is still under way.").wait_for()
    assert "redirect_uri_mismatch" in office.text
    shown = office.page.get_by_label("Redirect URI").first
    assert shown.input_value() == f"{office.site}/oauth/callback/fake/"


def test_the_client_secret_is_changed_and_the_one_from_before_goes_on(
    office: Window, connection: Connection, fake: FakeProvider
) -> None:
    office.open(f"{PROVIDERS}{connection.provider_id}/change/")
    office.fill("Client secret:", "the-new-one")
    until = timezone.localtime(timezone.now() + timedelta(days=1))
    typed = f"{until:%m%d00%Y%I%M%p}" if office.by_keyboard else f"{until:%Y-%m-%dT%H:%M}"
    office.fill("Present secret is tried until:", typed)
    office.fill("Present client secret:", fake.oauth2.client_secret)
    save(office)
    row = Provider.objects.get()
    assert row.open("client_secret") == Secret("the-new-one")
    assert row.open("second_client_secret") == Secret(fake.oauth2.client_secret)
    office.open(f"{PROVIDERS}{row.pk}/change/")
    assert "The client secret from before is tried as well" in office.text


def test_connections_are_revoked_in_bulk_after_a_question(
    office: Window, connection: Connection, user: User, fake: FakeProvider
) -> None:
    make_connection(connection.provider, user, fake, subject="other", label="Other")
    page = office.open(CONNECTIONS)
    office.reach(page.locator("#action-toggle"), then="Space")
    office.choose("Action:", "Disconnect and revoke")
    with page.expect_navigation():
        office.reach(page.locator('button[name="index"]').first, then="Enter")  # "Go", or "Run"
    assert "cannot be undone" in office.text
    office.press("Yes")
    assert "2 connections disconnected" in office.text
    assert not Connection.objects.exclude(status=Connection.Status.REVOKED).exists()
    assert not any(grant.alive for grant in fake.oauth2.grants)
