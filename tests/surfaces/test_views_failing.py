"""What is left when something goes wrong: a page with cause and next step, and no secret anywhere."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import SuspiciousOperation
from django.db import DatabaseError, InterfaceError
from django.db import connection as database
from django.test import Client

from django_oauth_flows.exceptions import ProviderUnreachable, RequestBlocked
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider
from django_oauth_flows.testing.factories import answer, begin
from django_oauth_flows.views.wording import EXPLANATIONS, explain
from tests.contract.reference import documented
from tests.surfaces.reading import text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.contrib.auth.models import User
    from django.http import HttpResponse
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/oauth/"


def test_every_explanation_is_for_a_documented_code() -> None:
    assert set(EXPLANATIONS) <= documented("Error codes")


def test_what_staff_should_do_is_not_told_to_users(
    browser: Client, provider: Provider, settings: SettingsWrapper
) -> None:
    settings.OAUTH_FLOWS, settings.ALLOWED_HOSTS = {}, ["*"]
    response = browser.post("/oauth/connect/fake/")
    assert "ALLOWED_HOSTS" not in text_of(response)
    assert "not set up correctly" in text_of(response)
    assert "base_url_required" in text_of(response)
    assert "Start again" not in text_of(response)


@pytest.mark.security("H12")
def test_a_blocked_address_and_a_dead_one_look_the_same_to_the_user() -> None:
    blocked = [
        RequestBlocked("…", code=code) for code in ("address_not_allowed", "host_not_allowed", "scheme_not_allowed")
    ]
    shown = {explain(error) for error in [*blocked, ProviderUnreachable("…")]}
    assert len(shown) == 1
    assert shown.pop()[0] == "provider_unreachable"


@pytest.mark.security("B05", "B06")
def test_a_refused_callback_offers_to_start_again_as_whoever_is_logged_in(
    browser: Client, provider: Provider, make_user: Callable[..., User]
) -> None:
    callback = begin(browser, provider)
    anonymous = answer(Client(), callback)
    assert "Log in and start again" in text_of(anonymous)
    browser.logout()
    browser.force_login(make_user("bob"))
    bob = answer(browser, callback)
    assert "Start again as bob" in text_of(bob)
    assert 'href="/oauth/connect/fake/confirm/"' in bob.content.decode()


def test_a_denied_consent_offers_another_try(browser: Client, provider: Provider, fake: FakeProvider) -> None:
    fake.oauth2.denies = True
    page = text_of(answer(browser, begin(browser, provider)))
    assert "Cancelled" in page
    assert "Nothing was connected." in page
    assert "Start again as ada" in page


@pytest.mark.security("B29")
@pytest.mark.parametrize("error", [DatabaseError("gone"), InterfaceError("connection already closed")])
def test_a_session_store_that_is_down_is_a_503_and_the_request_stays_usable(
    error: Exception, browser: Client, provider: Provider, fake: FakeProvider
) -> None:
    callback = begin(browser, provider)

    def broken(execute: Any, sql: str, *args: Any) -> Any:
        raise error

    with database.execute_wrapper(broken):
        for response in (answer(browser, callback), browser.get(PAGE), browser.post("/oauth/connect/fake/")):
            assert response.status_code == 503
            assert b"storage_unavailable" in response.content
            assert response["Retry-After"] == "30"
            assert response["Cache-Control"] == "no-store, private"
    assert fake.count("token") == 0
    assert answer(browser, callback).status_code == 303


class SessionStore(SessionBase):
    """A session engine whose server does not answer."""

    def load(self) -> dict[str, Any]:
        raise ConnectionError


@pytest.mark.security("B29")
def test_a_session_server_that_does_not_answer_is_a_503(
    browser: Client, provider: Provider, settings: SettingsWrapper
) -> None:
    callback = begin(browser, provider)
    settings.SESSION_ENGINE = __name__
    cut_off = Client()
    cut_off.cookies = browser.cookies
    for response in (answer(cut_off, callback), cut_off.get(PAGE)):
        assert response.status_code == 503
        assert b"storage_unavailable" in response.content
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    assert answer(browser, callback).status_code == 303


BROKEN_BASE = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.locmem.Loader",
                    {"base.html": "{% block title %}{% endblock %}{% url 'nosuch' %}{% block content %}{% endblock %}"},
                ),
                "django.template.loaders.app_directories.Loader",
            ],
            "context_processors": ["django.template.context_processors.request"],
        },
    }
]


def test_a_broken_base_template_still_leaves_an_error_page_and_is_named_in_the_log(
    browser: Client, provider: Provider, settings: SettingsWrapper, caplog: pytest.LogCaptureFixture
) -> None:
    settings.TEMPLATES = BROKEN_BASE
    response = browser.get(PAGE)
    assert response.status_code == 500
    assert "Something went wrong on our side." in text_of(response)
    (record,) = [r for r in caplog.records if r.name == "oauth_flows"]
    assert "NoReverseMatch: Reverse for 'nosuch' not found" in record.getMessage()
    number = re.findall(r"staff: ([0-9a-f]{16})", text_of(response))[0]
    assert record.correlation_id == number  # type: ignore[attr-defined]


HOSTS_BASE = [
    {
        **BROKEN_BASE[0],
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.locmem.Loader",
                    {
                        "base.html": "<title>{% block title %}{% endblock %} · Host</title><main>{% block content %}{% endblock %}</main>",
                        "oauth_flows/connections.html": (
                            '{% extends "oauth_flows/connections.html" %}{% block providers %}Ask your office.{% endblock %}'
                        ),
                    },
                ),
                "django.template.loaders.app_directories.Loader",
            ],
            "context_processors": ["django.template.context_processors.request"],
        },
    }
]


def test_pages_live_inside_the_hosts_base_and_every_block_can_be_replaced(
    browser: Client, connection: Connection, settings: SettingsWrapper
) -> None:
    settings.TEMPLATES = HOSTS_BASE
    html = browser.get(PAGE).content.decode()
    assert "<title>Connected accounts · Host</title><main>" in html
    assert "Ask your office." in html
    assert "Connect Fake" not in html
    assert str(connection.pk) in html


JINJA2 = {"BACKEND": "django.template.backends.jinja2.Jinja2", "APP_DIRS": False, "OPTIONS": {}}


@pytest.mark.parametrize("first", [True, False])
def test_a_host_whose_own_templates_are_jinja2s_gets_our_pages_in_our_own_frame(
    first: bool, browser: Client, connection: Connection, settings: SettingsWrapper, tmp_path: Path
) -> None:
    (tmp_path / "base.html").write_text("<title>Host</title>{% block content scoped %}{% endblock %}")
    jinja2 = {**JINJA2, "DIRS": [tmp_path]}
    settings.TEMPLATES = [jinja2, *settings.TEMPLATES] if first else [*settings.TEMPLATES, jinja2]
    pages = [browser.get(PAGE), browser.get("/oauth/connect/fake/confirm/"), browser.get("/oauth/callback/fake/")]
    assert [page.status_code for page in pages] == [200, 200, 400]
    assert all("<title>Host" not in page.content.decode() for page in pages)
    assert str(connection.pk) in pages[0].content.decode()


def csp_middleware(get_response: Callable[[Any], HttpResponse]) -> Callable[[Any], HttpResponse]:
    """Do as the usual content-security-policy middleware: leave a header alone, honour ``_csp_replace``."""

    def middleware(request: Any) -> HttpResponse:
        response = get_response(request)
        policy = {"default-src": ["'self'"], **getattr(response, "_csp_replace", {})}
        response.headers.setdefault(
            "Content-Security-Policy", "; ".join(f"{k} {' '.join(v)}" for k, v in policy.items())
        )
        return response

    return middleware


@pytest.mark.security("A16")
def test_the_sites_content_policy_is_extended_not_replaced(
    browser: Client, user: User, provider: Provider, settings: SettingsWrapper, client_for: Callable[[User], Client]
) -> None:
    assert browser.get(PAGE)["Content-Security-Policy"] == "frame-ancestors 'none'"
    settings.MIDDLEWARE = [f"{__name__}.csp_middleware", *settings.MIDDLEWARE]
    browser = client_for(user)
    for response in (browser.get(PAGE), browser.get("/oauth/callback/fake/")):
        assert response["Content-Security-Policy"] == "default-src 'self'; frame-ancestors 'none'"
        assert response["X-Frame-Options"] == "DENY"


@pytest.mark.skipif(django.VERSION < (6, 0), reason="Django 6.0 brought it")
@pytest.mark.security("A16")
def test_djangos_own_content_policy_is_extended_not_replaced(
    browser: Client, provider: Provider, settings: SettingsWrapper
) -> None:
    settings.MIDDLEWARE = ["django.middleware.csp.ContentSecurityPolicyMiddleware", *settings.MIDDLEWARE]
    settings.SECURE_CSP = {"default-src": ["'self'"], "frame-ancestors": ["'self'"]}
    assert browser.get(PAGE)["Content-Security-Policy"] == "default-src 'self'; frame-ancestors 'none'"


def unwell(get_response: Any) -> Any:
    """Let the user be suspicious."""

    class Suspicious:
        @property
        def is_authenticated(self) -> bool:
            raise SuspiciousOperation

    def middleware(request: Any) -> HttpResponse:
        request.user = Suspicious()
        response: HttpResponse = get_response(request)
        return response

    return middleware


def test_a_suspicious_request_stays_a_400_of_djangos(browser: Client, settings: SettingsWrapper) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.unwell"]
    logging.getLogger("django.security").setLevel(logging.ERROR)
    assert browser.get(PAGE).status_code == 400


def test_a_forged_host_is_a_400_of_djangos(browser: Client, provider: Provider, settings: SettingsWrapper) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "CommonMiddleware" not in name]
    response = browser.post("/oauth/connect/fake/", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert not AuthorizationRequest.objects.exists()
