"""Starting again after a failure: the same for the same owner and the same way back, and none of it for a stranger."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider
from django_oauth_flows.testing.factories import answer, begin, consent, make_connection
from tests.surfaces.reading import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpResponse
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

CONFIRM = "/oauth/connect/fake/confirm/"


@pytest.fixture
def group(settings: SettingsWrapper, user: User) -> Group:
    """Return a group whose connections ``user`` manages."""
    policy = {"OWNER_MODELS": ["auth.Group"], "OWNER_POLICY": "tests.surfaces.test_views_connecting.groups_own"}
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, **policy}
    group = Group.objects.create(name="Engine room")
    group.user_set.add(user)
    User.objects.filter(pk=user.pk).update(is_staff=True)
    return group


def link(response: HttpResponse, text: str) -> str:
    """Return where the link with this text leads."""
    html = response.content.decode()
    assert f">{text}</a>" in html, html
    address = html.partition(f'">{text}</a>')[0].rpartition('href="')[2]
    return address.replace("&amp;", "&")


def test_after_a_no_the_same_permissions_are_asked_for_and_the_way_back_is_kept(
    browser: Client, provider: Provider, fake: FakeProvider
) -> None:
    fake.oauth2.denies = True
    refused = answer(browser, begin(browser, provider, next="/notes/?page=2", scopes="read write"))
    again = urlsplit(link(refused, "Start again as ada"))
    assert again.path == CONFIRM
    assert parse_qs(again.query) == {"scopes": ["read write"], "next": ["/notes/?page=2"]}


def test_who_cancels_for_an_organisation_starts_again_for_the_organisation(
    browser: Client, provider: Provider, fake: FakeProvider, group: Group
) -> None:
    fake.oauth2.denies = True
    refused = answer(browser, begin(browser, provider, owner=f"auth.group:{group.pk}"))
    page = browser.get(link(refused, "Start again as ada"))
    assert "The connection will belong to Engine room." in text_of(page)
    assert link(refused, "See your connected accounts") == f"/oauth/?owner=auth.group%3A{group.pk}"


@pytest.mark.parametrize("owned_by", ["user", "group"])
def test_a_failed_reconnect_leads_back_to_its_button_and_not_to_a_new_connection(
    owned_by: str, browser: Client, provider: Provider, user: User, fake: FakeProvider, group: Group
) -> None:
    connection = make_connection(provider, {"user": user, "group": group}[owned_by], fake, user=user)
    fake.oauth2.denies = True
    refused = answer(browser, consent(browser.post(f"/oauth/connections/{connection.pk}/reconnect/")["Location"]))
    address = link(refused, "Go back to the connected accounts, and reconnect")
    assert address == ("/oauth/" if owned_by == "user" else f"/oauth/?owner=auth.group%3A{group.pk}")
    assert f"/oauth/connections/{connection.pk}/reconnect/" in browser.get(address).content.decode()
    assert "Start again" not in text_of(refused)


def test_what_was_entered_for_a_placeholder_is_still_there(
    browser: Client, provider: Provider, fake: FakeProvider
) -> None:
    Provider.objects.update(authorization_endpoint=f"{fake.url}/authorize?shop={{shop}}")
    fake.oauth2.denies = True
    refused = answer(browser, begin(browser, provider, **{"parameter-shop": "ada-lace"}))
    assert 'value="ada-lace"' in browser.get(link(refused, "Start again as ada")).content.decode()


@pytest.mark.security("B09")
def test_who_comes_back_too_late_can_start_the_same_again(browser: Client, provider: Provider) -> None:
    callback = begin(browser, provider, next="/notes/")
    AuthorizationRequest.objects.update(expires_at=DatabaseNow())
    refused = answer(browser, callback)
    assert "state_expired" in text_of(refused)
    assert "next=%2Fnotes%2F" in link(refused, "Start again as ada")


@pytest.mark.security("B07")
def test_reloading_the_page_of_a_no_changes_nothing_about_starting_again(
    browser: Client, provider: Provider, fake: FakeProvider
) -> None:
    fake.oauth2.denies = True
    callback = begin(browser, provider, next="/notes/")
    first, reloaded = answer(browser, callback), answer(browser, callback)
    assert "state_used" in text_of(reloaded)
    assert link(reloaded, "Start again as ada") == link(first, "Start again as ada")


@pytest.mark.security("B03", "B05")
def test_a_stranger_learns_nothing_of_what_was_started(
    browser: Client,
    provider: Provider,
    user: User,
    fake: FakeProvider,
    group: Group,
    make_user: Callable[..., User],
    client_for: Callable[[User], Client],
) -> None:
    callback = begin(browser, provider, next="/secret-plans/", scopes="read write", owner=f"auth.group:{group.pk}")
    stranger = make_user("eve")
    pages = [answer(client_for(stranger), callback), answer(Client(), callback)]
    browser.logout()
    browser.force_login(stranger)  # on the same machine, with the first user's cookie
    pages.append(answer(browser, callback))
    fake.oauth2.denies = True
    finished = begin(owner := client_for(user), provider, next="/secret-plans/")
    answer(owner, finished)
    pages.append(answer(browser, finished))
    for page in pages:
        assert page.status_code == 400
        html = page.content.decode()
        assert f'href="{CONFIRM}"' in html
        assert 'href="/oauth/"' in html
        assert "secret-plans" not in html
        assert "write" not in html
        assert "auth.group" not in html
    assert not Connection.objects.exists()
