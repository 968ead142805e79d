"""``{% connect_button %}``: a form, or what is connected."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.template import Context, Template
from django.test import RequestFactory

from django_oauth_flows import flows
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.testing.factories import make_connection, make_provider, shift_expiry

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client
    from pytest_django import DjangoAssertNumQueries
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db

PLAIN = '{% connect_button "fake" %}'


def render(template: str, user: Any, **context: Any) -> str:
    """Render as inside a page of the host."""
    request = RequestFactory().get("/page/?a=1&b=<x>")
    request.user = user
    source = Template("{% load oauth_flows %}" + template)
    return source.render(Context({"request": request, "csrf_token": "TOKEN", **context}))


def hidden(html: str) -> dict[str, str]:
    """Return the form's hidden fields."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))


def test_it_is_a_form_that_posts_with_a_csrf_token(user: User, provider: Provider) -> None:
    html = render('{% connect_button "fake" scopes="write" next=request.get_full_path %}', user)
    assert '<form class="oauth-connect" method="post" action="/oauth/connect/fake/">' in html
    assert hidden(html) == {
        "csrfmiddlewaretoken": "TOKEN",
        "scopes": "read write",  # the provider's own stay: the new grant replaces the old
        "next": "/page/?a=1&amp;b=%3Cx%3E",
    }
    assert '<button type="submit">Connect Fake</button>' in html


def test_its_form_works(browser: Client, user: User, provider: Provider) -> None:
    html = render('{% connect_button "fake" scopes="write" %}', user)
    started = browser.post("/oauth/connect/fake/", hidden(html))
    assert started.status_code == 303
    assert "scope=read+write" in started["Location"]


@pytest.mark.security("M06")
def test_its_text_is_text(user: User, provider: Provider) -> None:
    html = render('{% connect_button "fake" label=label %}', user, label="<b>Link</b>")
    assert "&lt;b&gt;Link&lt;/b&gt;</button>" in html


def test_it_says_what_is_connected_instead(user: User, connection: Connection) -> None:
    Connection.objects.update(label="Ada <3")
    assert "Fake is connected as <bdi>Ada &lt;3</bdi>" in render(PLAIN, user)
    assert "<form" not in render(PLAIN, user)
    Connection.objects.update(label="")
    assert ">Fake is connected<" in render(PLAIN, user)


def test_missing_scopes_bring_the_button_back_and_keep_what_was_asked_for(
    user: User, connection: Connection, provider: Provider
) -> None:
    Provider.objects.update(allowed_scopes=("write", "gists"))
    Connection.objects.update(requested_scopes=("read", "gists"), granted_scopes=("read", "gists"))
    html = render('{% connect_button "fake" scopes="write" %}', user)
    assert hidden(html)["scopes"] == "read gists write"
    assert "is connected" in render('{% connect_button "fake" scopes="gists" %}', user)


def test_an_expired_connection_that_cannot_be_renewed_brings_the_button_back(
    user: User, connection: Connection
) -> None:
    shift_expiry(connection, timedelta(hours=-1))
    assert "is connected" in render(PLAIN, user)
    Token.objects.update(refresh_token=None)
    assert "<button" in render(PLAIN, user)
    shift_expiry(connection, timedelta(hours=1))
    assert "is connected" in render(PLAIN, user)


def test_a_connection_without_tokens_brings_the_button_back(user: User, connection: Connection) -> None:
    Token.objects.all().delete()
    assert "<button" in render(PLAIN, user)


@pytest.mark.parametrize("change", [{"enabled": False}, {"paused": True}, {"slug": "other"}])
def test_it_is_nothing_where_nothing_can_be_connected(user: User, provider: Provider, change: dict[str, Any]) -> None:
    Provider.objects.update(**change)
    assert render(PLAIN, user) == ""


def test_it_is_nothing_for_anonymous_users_nor_without_a_request(provider: Provider) -> None:
    assert render(PLAIN, AnonymousUser()) == ""
    assert Template("{% load oauth_flows %}" + PLAIN).render(Context()) == ""


def nobody(user: Any, action: str, target: Any) -> bool:
    """Allow nothing."""
    return False


def test_it_is_nothing_for_a_provider_that_the_policy_keeps_from_the_user(
    user: User, provider: Provider, settings: SettingsWrapper
) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "OWNER_POLICY": f"{__name__}.nobody"}
    assert render(PLAIN, user) == ""


def test_a_provider_with_placeholders_leads_to_the_page_that_asks_for_them(user: User, provider: Provider) -> None:
    Provider.objects.update(authorization_endpoint="https://{shop}.example.com/authorize")
    html = render(PLAIN, user)
    assert 'method="get" action="/oauth/connect/fake/confirm/"' in html
    assert "TOKEN" not in html  # a token has no business in an address


def test_a_paused_account_is_said_to_be_paused_and_not_offered_once_more(
    user: User, connection: Connection, provider: Provider, fake: FakeProvider
) -> None:
    flows.pause(connection)
    html = render(PLAIN, user)
    assert '<a href="/oauth/">Fake is paused</a>' in html
    assert "<button" not in html
    make_connection(provider, user, fake, subject="another")
    assert "Fake is connected" in render(PLAIN, user)


def test_a_popup_is_asked_for_and_brings_its_script_along(user: User, provider: Provider) -> None:
    html = render('{% connect_button "fake" popup=True %}', user)
    assert '<form class="oauth-connect" data-oauth-flows-popup' in html
    assert '<script src="/static/oauth_flows/popup.js" defer></script>' in html
    assert hidden(html)["popup"] == ""
    assert 'defer nonce="abc"></script>' in render('{% connect_button "fake" popup=True %}', user, csp_nonce="abc")
    assert "script" not in render(PLAIN, user, csp_nonce="abc")
    Provider.objects.update(authorization_endpoint="https://{shop}.example.com/authorize")
    assert "popup" not in render('{% connect_button "fake" popup=True %}', user)  # its page has to ask first


def test_the_cards_stand_on_a_page_of_the_site_with_working_buttons(
    user: User, connection: Connection, fake: FakeProvider, browser: Client
) -> None:
    make_connection(make_provider(fake, slug="other"), user, fake, label="Elsewhere")
    flows.revoke(make_connection(connection.provider, user, fake, subject="gone"))
    html = render("{% connected_accounts %}", user)
    assert html.count("<article") == 2
    assert 'value="TOKEN"' in html
    (path,) = re.findall(rf'action="(/oauth/connections/{connection.pk}/pause/)"', html)
    assert browser.post(path).status_code == 303
    only = render('{% connected_accounts "other" %}', user)
    assert only.count("<article") == 1
    assert "Elsewhere" in only
    assert render("{% connected_accounts %}", AnonymousUser()).strip() == ""
    assert Template("{% load oauth_flows %}{% connected_accounts %}").render(Context()).strip() == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (30, "1 minute"), (7300, "2 hours"), (86400, "1 day"), (3456000, "40 days"), (86400 * 400, "1 year")],
)
def test_roughly(seconds: int | None, said: str) -> None:
    from django_oauth_flows.templatetags.oauth_flows import roughly

    span = None if seconds is None else timedelta(seconds=seconds)
    assert roughly(span).replace("\N{NO-BREAK SPACE}", " ") == said


def test_it_costs_two_queries(
    user: User, connection: Connection, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(2):
        render(PLAIN, user)
