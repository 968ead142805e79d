"""The example's browser does what a real one does; above all, what it sends with a form depends on the form's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.urls import reverse

from example_project.browser import Browser, PageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

    from django_oauth_flows.models import Connection, Provider
    from example_project.servers import Service


@pytest.fixture
def window() -> Iterator[Browser]:
    """Open a browser."""
    browser = Browser()
    yield browser
    browser.close()


def test_a_form_is_found_by_its_button_and_sent_with_its_hidden_fields(service: Service, window: Browser) -> None:
    page = window.get(f"{service.url}/applications/")
    form = page.form(button="Log in")
    assert form.fields["csrfmiddlewaretoken"]
    assert form.fields["next"] == "/applications/"
    member = service.members[0]
    page = window.submit(page, form, {"username": member.username, "password": member.password}, button="Log in")
    assert page.url == f"{service.url}/applications/"


def test_a_missing_button_is_told_with_what_the_page_shows(service: Service, window: Browser) -> None:
    page = window.get(f"{service.url}/login/")
    with pytest.raises(PageError, match=r"no form with 'Fly'.*Log in to Notebook"):
        page.form(button="Fly")


@pytest.mark.parametrize("button", ["connect", "reconnect", "disconnect"])
def test_the_buttons_of_our_pages_pass_the_csrf_check_with_the_origin_that_a_browser_sends(
    button: str, user: User, provider: Provider, connection: Connection
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    target = reverse(f"oauth_flows:{button}", args=[provider.slug if button == "connect" else connection.pk])
    page = client.get(reverse("oauth_flows:connections"))
    assert target in page.content.decode()
    # Fetch standard, "append a request Origin header": the policy "no-referrer" turns a form's Origin into null.
    origin = "null" if page["Referrer-Policy"] == "no-referrer" else "http://testserver"
    fields = {"csrfmiddlewaretoken": page.context["csrf_token"]}
    assert client.post(target, fields, headers={"Origin": origin}).status_code == 303
