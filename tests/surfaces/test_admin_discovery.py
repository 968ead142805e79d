"""*Discover* in the admin: an issuer's URL fills the form in; a POST asks the network, and nothing is saved before staff do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission

from django_oauth_flows.models import DiscoveredMetadata, Provider
from django_oauth_flows.testing import Answer
from tests.security.test_admin import PROVIDERS, form_of
from tests.surfaces.reading import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

ADD, DISCOVER = f"{PROVIDERS}add/", f"{PROVIDERS}discover/"


@pytest.fixture
def root(make_user: Callable[..., User], client_for: Callable[[User], Client]) -> Client:
    return client_for(make_user("root", is_staff=True, is_superuser=True))


def discover(client: Client, issuer: str, **form: str) -> Any:
    return client.post(DISCOVER, {"issuer": issuer, "internal": "on", **form}, follow=True)


def test_an_issuer_fills_the_form_in_and_a_saved_row_is_pinned(root: Client, fake: FakeProvider) -> None:
    shown = discover(root, fake.url)
    assert not Provider.objects.exists()
    data = form_of(shown)
    assert data["token_endpoint"] == f"{fake.url}/token"
    assert (data["issuer"], data["scopes"], data["internal"]) == (fake.url, "openid offline_access", "on")
    assert (data["name"], data["slug"]) == ("127.0.0.1", "127-0-0-1")
    url, _status = shown.redirect_chain[-1]
    saved = root.post(url, {**data, "client_id": "abc", "new_client_secret": "s3cret"})
    assert saved.status_code == 302, saved.context["adminform"].form.errors
    row = Provider.objects.get()
    assert row.jwks_uri == f"{fake.url}/jwks"
    assert DiscoveredMetadata.objects.get().differences == {}


def test_every_field_of_the_form_says_what_it_is(root: Client) -> None:
    form = root.get(ADD).context["adminform"].form
    assert [name for name, field in form.fields.items() if not field.help_text] == []


def test_save_and_test_leads_on_to_the_test(root: Client, fake: FakeProvider) -> None:
    shown = discover(root, fake.url)
    url, _status = shown.redirect_chain[-1]
    saved = root.post(url, {**form_of(shown), "client_id": "abc", "new_client_secret": "s3cret", "_test": "1"})
    assert saved["Location"] == f"{PROVIDERS}{Provider.objects.get().pk}/test/"


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        (Answer(404), "metadata_missing"),
        (Answer(200, "no json"), "metadata_invalid"),
        (Answer(200, {"issuer": "https://other.example"}), "discovered_issuer_mismatch"),
    ],
)
def test_what_goes_wrong_is_said_with_its_next_step(
    metadata: Answer, code: str, root: Client, fake: FakeProvider
) -> None:
    for endpoint in ("discovery", "metadata", "discovery"):
        fake.script(endpoint, metadata)
    for _ in range(3):
        fake.script("api", Answer(404))
    shown = discover(root, fake.url)
    said = " ".join(str(message) for message in shown.context["messages"])
    assert f"[{code}]" in said
    assert fake.url in shown.content.decode()  # what was entered is still there
    assert not Provider.objects.exists()


@pytest.mark.security("M08")
def test_discovery_asks_no_inner_address_and_repeats_no_answer(root: Client, fake: FakeProvider) -> None:
    outside = root.post(DISCOVER, {"issuer": fake.url.replace("http:", "https:")}, follow=True)
    assert fake.connections == 0
    assert "address" not in " ".join(str(message) for message in outside.context["messages"])
    fake.script("discovery", Answer(200, "root:x:0:0 inner text"))
    assert "inner text" not in discover(root, fake.url).content.decode()


@pytest.mark.security("M03", "M08")
def test_discovery_needs_a_post_and_the_permission_to_add(
    root: Client, make_user: Callable[..., User], client_for: Callable[[User], Client], fake: FakeProvider
) -> None:
    assert root.get(DISCOVER, {"issuer": fake.url}).status_code == 405
    looker = make_user("looker", is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename__in=("view_provider", "change_provider")))
    assert client_for(looker).post(DISCOVER, {"issuer": fake.url, "internal": "on"}).status_code == 403
    assert fake.requests == []


@pytest.mark.security("M03", "M08")
def test_the_inner_network_is_asked_only_by_who_may(
    make_user: Callable[..., User], client_for: Callable[[User], Client], fake: FakeProvider
) -> None:
    adder = make_user("adder", is_staff=True)
    adder.user_permissions.set(Permission.objects.filter(codename__in=("view_provider", "add_provider")))
    client = client_for(adder)
    assert 'name="internal"' not in client.get(ADD).content.decode()
    assert "issuer_not_allowed" in text_of(discover(client, fake.url))
    assert fake.requests == []


def test_values_that_nobody_has_signed_fill_in_nothing(root: Client) -> None:
    data = form_of(root.get(f"{ADD}?discovered=eyJpc3N1ZXIiOiJ4In0:1:x"))
    assert not data.get("issuer")
