"""An OpenID provider that is none of ours: django-oauth-toolkit, in a process of its own, over real HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
from django.conf import settings

from django_oauth_flows import flows
from django_oauth_flows.exceptions import Disconnected, ReauthorizationRequiredError
from django_oauth_flows.models import Token
from django_oauth_flows.testing.factories import answer, shift_expiry
from example_project.browser import Browser
from example_project.servers import start_service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Connection, Provider
    from example_project.servers import Application, Member, Service

pytestmark = pytest.mark.django_db(transaction=True)

CALLBACK = f"{settings.OAUTH_FLOWS['BASE_URL']}/oauth/callback/notebook/"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run the service over plain http."""
    with start_service(tmp_path_factory.mktemp("openid")) as running:
        yield running


@pytest.fixture
def application(service: Service) -> Application:
    """Register a client with a secret."""
    return service.register_application("Dashboard", redirect_uris=[CALLBACK])


@pytest.fixture
def notebook(db: None, service: Service, application: Application) -> Provider:
    """Return a provider that was discovered from the service's address."""
    return flows.add_discovered_provider(
        service.url,
        slug="notebook",
        client_id=application.client_id,
        client_secret=application.client_secret,
        scopes=["openid", "profile", "notes:read"],
        api_base_url=f"{service.url}/api/",
        internal=True,
    )


def refresh_token_of(connection: Connection) -> str:
    """Return the refresh token that is kept now."""
    kept = Token.objects.get(connection=connection).open("refresh_token")
    assert kept is not None
    return kept.reveal()


def consent(url: str, member: Member) -> str:
    """Log in and allow as a member; return where the service sends the browser."""
    browser = Browser()
    page = browser.get(url)
    credentials = {"username": member.username, "password": member.password}
    page = browser.submit(page, page.form(button="Log in"), credentials, button="Log in")
    location = browser.submit(page, page.form(button="Allow"), button="Allow", follow=False).location
    browser.close()
    return location


@pytest.mark.security("I01", "I04", "I05", "I17", "I19")
def test_a_discovered_provider_is_connected_called_refreshed_and_revoked(
    user: User, browser: Client, service: Service, notebook: Provider
) -> None:
    member = service.members[0]
    assert notebook.issuer == service.url
    assert notebook.identity_source == "id_token"
    started: Any = browser.post("/oauth/connect/notebook/")
    response = answer(browser, consent(started["Location"], member))
    assert response.status_code == 303, response.content
    mine = user.oauth_connections.get()
    assert mine.subject
    assert mine.token.extra["id_token"]["sub"] == mine.subject
    first, replaced = flows.access_token(mine), refresh_token_of(mine)
    shift_expiry(mine, timedelta(seconds=-1))
    with flows.session(mine) as http:
        assert http.get("me/").json() == {"id": member.account_id, "name": member.name}
        second = flows.access_token(mine)
        assert second != first
        assert refresh_token_of(mine) != replaced
        assert service.live_tokens(member.username)["refresh_tokens"] == 1
        assert flows.revoke(mine, actor=user) == "revoked"
        with pytest.raises(Disconnected):
            http.get("me/")
    late = requests.get(f"{service.url}/api/me/", headers={"Authorization": f"Bearer {second}"}, timeout=10)
    assert late.status_code == 401
    assert set(service.live_tokens(member.username).values()) == {0}


@pytest.mark.security("F08")
def test_a_refresh_token_that_was_replaced_ends_the_grant_and_the_connection(
    user: User, browser: Client, service: Service, notebook: Provider, application: Application
) -> None:
    member = service.add_member("rotated")
    started: Any = browser.post("/oauth/connect/notebook/")
    assert answer(browser, consent(started["Location"], member)).status_code == 303
    mine = user.oauth_connections.get()
    replaced = refresh_token_of(mine)
    assert flows.refresh(mine).refreshed
    stolen = {"grant_type": "refresh_token", "refresh_token": replaced}
    secret = (application.client_id, application.client_secret)
    late = requests.post(notebook.token_endpoint, data=stolen, auth=secret, timeout=10)
    assert (late.status_code, late.json()["error"]) == (400, "invalid_grant")
    assert set(service.live_tokens(member.username).values()) == {0}
    with pytest.raises(ReauthorizationRequiredError):
        flows.refresh(mine)
    mine.refresh_from_db()
    assert (mine.status, mine.reason) == ("reauthorization_required", "invalid_grant")


@pytest.mark.security("B11", "B12")
@pytest.mark.rfc("9207", "2.4")
def test_its_answers_name_their_issuer_and_no_other_is_taken(
    browser: Client, service: Service, notebook: Provider
) -> None:
    assert notebook.authorization_response_iss_parameter_supported
    for issuer, code in ("https://attacker.example", "issuer_mismatch"), ("", "issuer_missing"):
        started: Any = browser.post("/oauth/connect/notebook/")
        sent = dict(parse_qsl(urlsplit(consent(started["Location"], service.members[0])).query))
        assert sent.pop("iss") == service.url
        named = {"iss": issuer} if issuer else {}
        refused: Any = answer(browser, f"{CALLBACK}?{urlencode({**sent, **named})}")
        assert (refused.status_code, refused.context["code"]) == (400, code)


@pytest.mark.security("I15")
def test_its_userinfo_speaks_of_the_same_person(
    user: User, browser: Client, service: Service, notebook: Provider
) -> None:
    notebook.identity_source = "userinfo"
    notebook.save()
    started: Any = browser.post("/oauth/connect/notebook/")
    assert answer(browser, consent(started["Location"], service.members[1])).status_code == 303
    assert user.oauth_connections.get().subject


@pytest.mark.security("I21")
def test_its_metadata_stay_what_they_were(notebook: Provider) -> None:
    assert flows.rediscover(notebook) == {}
