"""Connecting: who is asked what, where each way leads, for whom, and at what cost."""

from __future__ import annotations

import re
from functools import partial
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection as database
from django.test import Client
from django.urls import get_script_prefix, set_script_prefix
from django.utils.html import escape

from django_oauth_flows import flows
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import (
    answer,
    begin,
    consent,
    make_connection,
    make_provider,
    walk,
)
from tests.surfaces.reading import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/oauth/"


def groups_own(user: Any, action: str, target: Any) -> bool:
    """Let the members of a group see what it has, and its members on the staff manage it: a host's owner policy."""
    from django_oauth_flows.managers import default_owner_policy

    if target._meta.model_name == "group":
        group_id = str(target.pk)
    elif target._meta.model_name == "connection" and target.owner_model == "auth.group":
        group_id = target.owner_id
    else:
        return default_owner_policy(user, action, target)  # type: ignore[arg-type]
    return user.groups.filter(pk=group_id).exists() and (action == "view" or user.is_staff)


@pytest.fixture
def group(settings: SettingsWrapper, db: None) -> Group:
    """Return a group on a site where groups may own connections."""
    policy = {"OWNER_MODELS": ["auth.Group"], "OWNER_POLICY": f"{__name__}.groups_own"}
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, **policy}
    return Group.objects.create(name="Engine room")


def test_an_anonymous_start_continues_on_the_page_that_asks(provider: Provider, user: User) -> None:
    client = Client()
    response = client.post("/oauth/connect/fake/", {"scopes": "read write", "next": "/notes/", "owner": ""})
    assert response["Location"].startswith("/accounts/login/?next=/oauth/connect/fake/confirm/%3F")
    credentials = {"username": "ada", "password": "correct horse"}
    page = client.post(response["Location"], credentials, follow=True)
    assert page.redirect_chain[-1][0] == "/oauth/connect/fake/confirm/?scopes=read+write&next=%2Fnotes%2F"
    html = page.content.decode()
    assert 'name="scopes" value="read write"' in html
    assert 'name="next" value="/notes/"' in html
    assert not AuthorizationRequest.objects.exists()


@pytest.mark.parametrize("action", ["reconnect", "disconnect"])
def test_an_anonymous_button_on_a_connection_continues_on_the_list(action: str, connection: Connection) -> None:
    response = Client().post(f"/oauth/connections/{connection.pk}/{action}/")
    assert response["Location"] == f"/accounts/login/?next={PAGE}"
    connection.refresh_from_db()
    assert connection.status == Connection.Status.ACTIVE


@pytest.mark.security("A01", "D01")
@pytest.mark.parametrize("action", ["connect/fake", "connections/{pk}/reconnect", "connections/{pk}/disconnect"])
def test_csrf_protection_does_not_depend_on_the_sites_middleware(
    action: str, connection: Connection, user: User, settings: SettingsWrapper
) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    address = f"/oauth/{action.format(pk=connection.pk)}/"
    assert client.get(address).status_code == 405
    assert client.post(address).status_code == 403
    token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get(PAGE).content.decode())[0]
    assert client.post(address, {"csrfmiddlewaretoken": token}).status_code == 303


def test_the_confirm_page_says_what_is_connected_already_and_what_it_lacks(
    browser: Client, connection: Connection
) -> None:
    Connection.objects.update(label="Ada Lovelace", granted_scopes=("read",))
    page = text_of(browser.get("/oauth/connect/fake/confirm/?scopes=read+write"))
    assert "You are logged in here as ada." in page
    assert "Ada Lovelace is connected already" in page
    assert "read write (not granted so far)" in page


def test_the_confirm_page_names_the_user_on_a_site_without_context_processors(
    browser: Client, provider: Provider, settings: SettingsWrapper
) -> None:
    settings.TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
    assert "You are logged in here as ada." in text_of(browser.get("/oauth/connect/fake/confirm/"))


def test_the_confirm_page_names_the_permissions_that_the_provider_asks_for_anyway(
    browser: Client, provider: Provider
) -> None:
    page = browser.get("/oauth/connect/fake/confirm/")
    assert "Permissions that will be asked for: read" in text_of(page).replace("\n", " ")
    assert 'name="scopes" value=""' in page.content.decode()  # what the provider's row says when the button is pressed


def test_a_foreign_next_never_reaches_the_form(browser: Client, provider: Provider) -> None:
    html = browser.get("/oauth/connect/fake/confirm/?next=//evil.example/").content.decode()
    assert 'name="next" value=""' in html


def test_a_providers_placeholders_are_asked_for_before_the_start(
    browser: Client, provider: Provider, fake: FakeProvider, user: User
) -> None:
    provider.authorization_endpoint = f"{fake.url}/authorize?shop={{shop}}"
    provider.save()
    listed = browser.get(PAGE).content.decode()
    assert 'action="/oauth/connect/fake/confirm/"' in listed
    assert 'action="/oauth/connect/fake/"' not in listed
    asked = browser.post("/oauth/connect/fake/", {"next": "/notes/"})
    assert (asked.status_code, asked["Location"]) == (303, "/oauth/connect/fake/confirm/?next=%2Fnotes%2F")
    page = browser.get(asked["Location"]).content.decode()
    assert '<label for="parameter-shop">' in page
    again = browser.post("/oauth/connect/fake/", {"parameter-shop": "evil.example/x?"})
    assert again["Location"] == "/oauth/connect/fake/confirm/?parameter-shop=evil.example%2Fx%3F"
    assert not AuthorizationRequest.objects.exists()
    walk(browser, provider, **{"parameter-shop": "ada-lace"})
    assert user.oauth_connections.get().parameters == {"shop": "ada-lace"}


@pytest.mark.parametrize("refused", ["my..shop", ".ada", "ada-", "a" * 201, "a/b", "<b>", "ä"])
def test_a_value_that_no_address_takes_comes_back_with_a_message(
    refused: str, browser: Client, provider: Provider, fake: FakeProvider
) -> None:
    Provider.objects.update(authorization_endpoint=f"{fake.url}/authorize?shop={{shop}}")
    untouched = browser.get("/oauth/connect/fake/confirm/").content.decode()
    assert "aria-invalid" not in untouched
    form = {"parameter-shop": refused, "next": "/notes/"}
    again = browser.post("/oauth/connect/fake/", form, follow=True).content.decode()
    assert f'value="{escape(refused)}"' in again
    assert 'aria-describedby="parameter-shop-problem parameter-shop-help" aria-invalid="true"' in again
    assert "This cannot be part of an address:" in again
    assert 'name="next" value="/notes/"' in again
    (pattern,) = re.findall(r'pattern="([^"]+)"', again)
    assert not re.fullmatch(unescape(pattern), refused)  # a browser that reads the pattern says so before it sends


def test_the_pattern_of_the_page_lets_pass_what_the_addresses_take(
    browser: Client, provider: Provider, fake: FakeProvider
) -> None:
    Provider.objects.update(authorization_endpoint=f"{fake.url}/authorize?shop={{shop}}")
    (pattern,) = re.findall(r'pattern="([^"]+)"', browser.get("/oauth/connect/fake/confirm/").content.decode())
    for value in ("a", "ada-lace", "shop.example.com", "a_b", "9" * 200):
        assert re.fullmatch(unescape(pattern), value)
        started = browser.post("/oauth/connect/fake/", {"parameter-shop": value})
        assert started["Location"].startswith(f"{fake.url}/authorize?shop={value}&")


def test_what_an_anonymous_user_entered_survives_the_login(provider: Provider, fake: FakeProvider, user: User) -> None:
    Provider.objects.update(authorization_endpoint=f"{fake.url}/authorize?shop={{shop}}")
    client = Client()
    response = client.post("/oauth/connect/fake/", {"parameter-shop": "ada-lace"})
    credentials = {"username": "ada", "password": "correct horse"}
    page = client.post(response["Location"], credentials, follow=True)
    assert 'value="ada-lace"' in page.content.decode()


@pytest.mark.security("A17")
@pytest.mark.urls("tests.localised_urls")
def test_below_a_language_prefix_the_whole_dance_needs_no_redirect_of_ours(
    browser: Client, provider: Provider, user: User
) -> None:
    started = browser.post("/de/oauth/connect/fake/", headers={"Accept-Language": "de"})
    callback = consent(started["Location"])
    assert callback.startswith("http://testserver/en/oauth/callback/fake/?")
    response = answer(browser, callback)
    assert (response.status_code, response["Location"]) == (303, "/en/oauth/")
    assert user.oauth_connections.count() == 1


@pytest.mark.security("A17")
def test_below_a_script_name_the_whole_dance_needs_no_redirect_of_ours(
    provider: Provider, user: User, settings: SettingsWrapper, request: pytest.FixtureRequest
) -> None:
    settings.FORCE_SCRIPT_NAME = "/app"
    request.addfinalizer(partial(set_script_prefix, get_script_prefix()))
    set_script_prefix("/app/")
    client = Client()
    client.force_login(user)
    started: Any = client.post("/oauth/connect/fake/")  # the server has taken the script's name off
    callback = consent(started["Location"])
    assert callback.startswith("http://testserver/app/oauth/callback/fake/?")
    (cookie,) = [c for name, c in started.cookies.items() if name.startswith("oauth_flows")]
    assert cookie["path"] == "/app/oauth/callback/fake/"
    response = answer(client, callback.replace("/app/", "/"))
    assert (response.status_code, response["Location"]) == (303, "/app/oauth/")


@pytest.mark.security("A17")
def test_the_redirect_uri_is_answered_as_it_is_whatever_append_slash_says(
    browser: Client, provider: Provider, settings: SettingsWrapper
) -> None:
    for append in (True, False):
        settings.APPEND_SLASH = append
        assert browser.get(flows.redirect_uri(provider)).status_code == 400


def test_the_cookie_binds_is_secure_on_https_and_goes_when_it_has_served(browser: Client, provider: Provider) -> None:
    started = browser.post("/oauth/connect/fake/", secure=True)
    ((name, cookie),) = [(n, c) for n, c in started.cookies.items() if n.startswith("oauth_flows")]
    assert cookie["httponly"] is cookie["secure"] is True
    assert (cookie["samesite"], cookie["path"], cookie["max-age"]) == ("Lax", "/oauth/callback/fake/", 600)
    plain = browser.post("/oauth/connect/fake/")
    assert all(not c["secure"] for n, c in plain.cookies.items() if n.startswith("oauth_flows"))
    finished = answer(browser, consent(started["Location"]))
    gone = finished.cookies[name]
    assert (gone.value, gone["max-age"], gone["path"]) == ("", 0, "/oauth/callback/fake/")


# Owners other than the user


def test_members_see_a_groups_connections_and_only_who_may_manage_them_gets_buttons(
    provider: Provider, user: User, browser: Client, group: Group, fake: FakeProvider, make_user: Callable[..., User]
) -> None:
    consenting = make_user("grace")
    connection = make_connection(provider, group, fake, user=consenting, label="Engine account")
    address = f"{PAGE}?owner=auth.group:{group.pk}"
    assert browser.get(address).status_code == 404
    assert browser.get(f"{PAGE}?owner=auth.group:999").content == browser.get(address).content
    user.groups.add(group)
    page = text_of(browser.get(address))
    assert "Connected accounts of Engine room" in page
    assert "Engine account" in page
    assert "(by grace)" in page
    assert "Disconnect" not in page
    assert "Connect Fake" not in page
    assert browser.post(f"/oauth/connections/{connection.pk}/disconnect/").status_code == 404
    User.objects.filter(pk=user.pk).update(is_staff=True)
    assert "Disconnect" in text_of(browser.get(address))
    response = browser.post(f"/oauth/connections/{connection.pk}/disconnect/")
    assert (response.status_code, response["Location"]) == (303, f"{PAGE}?owner=auth.group%3A{group.pk}")
    assert "Disconnected lately" in text_of(browser.get(address))


@pytest.mark.parametrize("name", ["auth.user:1", "auth.group", "auth.group:x", ":", "nosuch.model:1", "auth.group:1:1"])
def test_an_address_that_names_no_owner_is_a_404(name: str, browser: Client, group: Group) -> None:
    assert browser.get(PAGE, {"owner": name}).status_code == 404


def test_an_account_is_connected_for_a_group_by_who_may_manage_it(
    provider: Provider, user: User, browser: Client, group: Group
) -> None:
    owner = f"auth.group:{group.pk}"
    assert browser.post("/oauth/connect/fake/", {"owner": owner}).status_code == 404
    user.groups.add(group)
    refused = browser.post("/oauth/connect/fake/", {"owner": owner})
    assert refused.status_code == 400
    assert b"not_allowed" in refused.content
    User.objects.filter(pk=user.pk).update(is_staff=True)
    page = browser.get("/oauth/connect/fake/confirm/", {"owner": owner})
    assert "The connection will belong to Engine room." in text_of(page)
    assert f'name="owner" value="{owner}"' in page.content.decode()
    response = walk(browser, provider, owner=owner)
    assert response["Location"] == f"{PAGE}?owner=auth.group%3A{group.pk}"
    connection = Connection.objects.get()
    assert (connection.owner_model, connection.owner_id, connection.user) == ("auth.group", str(group.pk), user)
    assert str(connection.pk) in browser.get(PAGE).content.decode()  # beside their own, what they consented to
    user.groups.clear()
    assert str(connection.pk) not in browser.get(PAGE).content.decode()


def test_the_addresses_can_be_loaded_once_more() -> None:
    import importlib

    from django_oauth_flows import urls

    importlib.reload(urls)


# Counting


def _statements(user: User, provider: Provider, **form: str) -> int:
    """Count the statements of a start and its callback, with those that open and close transactions."""
    from django.test.utils import CaptureQueriesContext

    client = Client()
    client.force_login(user)
    with CaptureQueriesContext(database) as queries:
        target = form.pop("target", f"/oauth/connect/{provider.slug}/")
        started: Any = client.post(target, form)
        response = answer(client, consent(started["Location"]))
    assert response.status_code == 303
    return len(queries)


@pytest.mark.parametrize("protocol", ["oauth2", "oauth1"])
def test_a_first_connect_takes_at_most_sixteen_statements_and_a_reconnect_nineteen(
    protocol: str, user: User, fake: FakeProvider
) -> None:
    provider = make_provider(fake, protocol=protocol)
    assert _statements(user, provider) <= 16
    connection = Connection.objects.get()
    assert _statements(user, provider, target=f"/oauth/connections/{connection.pk}/reconnect/") <= 19


def test_an_answer_that_nobody_can_use_is_explained(browser: Client, provider: Provider, fake: FakeProvider) -> None:
    fake.script("token", Answer(200, "<html>Log in</html>"))
    page = text_of(answer(browser, begin(browser, provider)))
    assert "nothing was connected" in page
    assert "bad_response" in page
    assert "Log in<" not in page


@pytest.mark.parametrize(
    "policy",
    [
        {"SECURE_CSP": {"form-action": ["'self'"]}},
        {"CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"form-action": ["'self'"]}}},
        {"CSP_FORM_ACTION": ["'self'"]},  # django-csp before 4.0
    ],
)
def test_a_site_that_restricts_forms_gets_a_page_that_moves_on_instead_of_a_redirect(
    policy: dict[str, Any], browser: Client, provider: Provider, settings: SettingsWrapper, user: User
) -> None:
    for name, value in policy.items():
        setattr(settings, name, value)
    page = browser.post("/oauth/connect/fake/")
    assert page.status_code == 200
    waiting, _, target = page["Refresh"].partition("; url=")
    assert waiting == "0"
    assert f'href="{escape(target)}"' in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    assert answer(browser, consent(target)).status_code == 303
    assert user.oauth_connections.count() == 1
