"""*Add provider* in the admin: a service is found in the catalogue, and fills the form in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows import catalogue
from django_oauth_flows.models import Provider
from tests.security.test_admin import PROVIDERS, form_of
from tests.surfaces.reading import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

pytestmark = pytest.mark.django_db(transaction=True)

ADD = f"{PROVIDERS}add/"


@pytest.fixture
def root(make_user: Callable[..., User], client_for: Callable[[User], Client]) -> Client:
    return client_for(make_user("root", is_staff=True, is_superuser=True))


def test_a_search_lists_entries_that_lead_to_the_filled_in_form(root: Client) -> None:
    page = root.get(f"{ADD}?preset_search=git").content.decode()
    assert '<a href="?preset=github">GitHub</a>' in page
    assert '<a href="?preset=gitlab">GitLab</a>' in page


def test_a_search_for_what_is_not_there_says_so_and_repeats_it_harmlessly(root: Client) -> None:
    page = root.get(f"{ADD}?preset_search=%22%3E%3Cscript%3E").content.decode()
    assert "no such service" in page
    assert '"><script>' not in page


def test_an_entry_fills_the_form_in_and_a_saved_row_remembers_it(root: Client) -> None:
    shown = root.get(f"{ADD}?preset=github")
    data = form_of(shown)
    assert data["token_endpoint"] == "https://github.com/login/oauth/access_token"
    assert "filled in from the catalogue" in text_of(shown)
    saved = root.post(f"{ADD}?preset=github", {**data, "client_id": "abc", "new_client_secret": "s3cret"})
    assert saved.status_code == 302, saved.context["adminform"].form.errors
    row = Provider.objects.get(slug="github")
    preset = catalogue.find("github")
    assert (row.preset, row.preset_version) == ("github", preset.version)
    assert row.preset_changes() == []


def test_what_staff_change_is_kept_and_shows_as_a_difference(root: Client) -> None:
    data = form_of(root.get(f"{ADD}?preset=github"))
    root.post(f"{ADD}?preset=github", {**data, "client_id": "abc", "label_path": "login"})
    assert [change.column for change in Provider.objects.get().preset_changes()] == ["label_path"]


def test_placeholders_are_explained_and_those_of_staff_wait_to_be_filled_in(root: Client) -> None:
    page: Any = root.get(f"{ADD}?preset=gitea")
    assert page.context["adminform"].form["parameters"].value() == '{"host": ""}'
    assert "fill it in under" in text_of(page)
    refused = root.post(f"{ADD}?preset=gitea", {**form_of(page), "client_id": "abc"})
    assert refused.status_code == 200
    assert "token_endpoint" in refused.context["adminform"].form.errors
    assert "users fill it in" in text_of(root.get(f"{ADD}?preset=shopify"))


def test_an_unknown_entry_is_said_and_the_form_is_empty(root: Client) -> None:
    page: Any = root.get(f"{ADD}?preset=no-such-service")
    assert "has no entry" in text_of(page)
    assert not page.context["adminform"].form["token_endpoint"].value()
    assert root.get(ADD).status_code == 200


def test_a_change_page_has_no_catalogue(root: Client) -> None:
    data = form_of(root.get(f"{ADD}?preset=github"))
    root.post(ADD, {**data, "client_id": "abc"})
    row = Provider.objects.get()
    assert row.preset == ""
    assert "Search the catalogue" not in text_of(root.get(f"{PROVIDERS}{row.pk}/change/"))


@pytest.mark.parametrize("slug", ["slack", "trello", "zoom-cc", "zoho", "facebook"])
def test_entries_of_every_kind_fit_into_the_form(root: Client, slug: str) -> None:
    data = form_of(root.get(f"{ADD}?preset={slug}"))
    if staff := catalogue.find(slug).staff_parameters():
        data["parameters"] = json.dumps(dict.fromkeys(staff, "com"))
    saved: Any = root.post(f"{ADD}?preset={slug}", {**data, "client_id": "abc"})
    assert saved.status_code == 302, saved.context["adminform"].form.errors
    assert Provider.objects.get().preset_changes() == []
