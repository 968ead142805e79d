"""Rows to test with: a provider that points at a fake, and a connection with tokens that the fake has issued."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from django_oauth_flows import flows
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpResponse
    from django.test import Client

    from django_oauth_flows.testing.server import FakeProvider


def make_provider(fake: FakeProvider, *, slug: str = "fake", protocol: str = "oauth2", **columns: Any) -> Provider:
    """Save a provider row for ``fake``; ``columns`` override what is usual."""
    usual: dict[str, Any] = {
        "name": slug.title(),
        "internal": True,
        "identity_source": Provider.IdentitySource.USERINFO,
        "userinfo_endpoint": f"{fake.url}/userinfo",
        "subject_path": "sub",
        "label_path": "name",
        "api_base_url": f"{fake.url}/api/",
    }
    if protocol == "oauth1":
        server: Any = fake.oauth1
        usual |= {
            "temporary_credential_endpoint": f"{fake.url}/oauth1/temporary",
            "authorization_endpoint": f"{fake.url}/oauth1/authorize",
            "token_endpoint": f"{fake.url}/oauth1/token",
            "revocation_endpoint": f"{fake.url}/oauth1/revoke",
        }
    else:
        server = fake.oauth2
        usual |= {
            "authorization_endpoint": f"{fake.url}/authorize",
            "token_endpoint": f"{fake.url}/token",
            "revocation_endpoint": f"{fake.url}/revoke",
            "issuer": fake.url,
            "scopes": ("read",),
            "allowed_scopes": ("write",),
        }
        if "openid" in columns.get("scopes", ()):
            usual["jwks_uri"] = f"{fake.url}/jwks"
    provider = Provider(slug=slug, protocol=protocol, client_id=server.client_id, **{**usual, **columns})
    if provider.token_endpoint_auth_method != Provider.AuthMethod.NONE:
        provider.seal("client_secret", Secret(server.client_secret))
    provider.save()
    return provider


def make_connection(
    provider: Provider, owner: Model, fake: FakeProvider, *, expires_in: timedelta | None = None, **columns: Any
) -> Connection:
    """Import tokens that ``fake`` has issued; ``expires_in`` is what the row says, and may be negative."""
    if provider.protocol == Provider.Protocol.OAUTH1:
        access_token, token_secret = fake.oauth1.issue()
        tokens = {"access_token": access_token, "token_secret": token_secret}
    else:
        access_token, refresh_token = fake.oauth2.issue()
        tokens = {"access_token": access_token, "refresh_token": refresh_token}
    connection = flows.import_connection(provider, owner, **{**tokens, "subject": "account-1", **columns})
    if expires_in is not None:
        shift_expiry(connection, expires_in)
    return connection


def shift_expiry(connection: Connection, expires_in: timedelta) -> None:
    """Let the connection's token expire so far from now, by the database's clock; due for refresh a minute before."""
    Token.objects.filter(connection=connection).update(
        issued_at=DatabaseNow() - timedelta(hours=1),
        expires_at=DatabaseNow() + expires_in,
        next_refresh_at=DatabaseNow() + expires_in - timedelta(minutes=1),
    )


def walk(client: Client, provider: Provider, **form: str) -> HttpResponse:
    """Connect as the client's user: start, consent at the fake over real HTTP, and follow its redirect to the callback."""
    return answer(client, begin(client, provider, **form))


def begin(client: Client, provider: Provider, **form: str) -> str:
    """Start, and return the address that the provider sends the browser back to."""
    started: Any = client.post(f"/oauth/connect/{provider.slug}/", form)
    if started.status_code != 303:  # noqa: PLR2004
        message = f"the start was answered with {started.status_code}"
        raise AssertionError(message)
    return consent(started["Location"])


def posted_form(authorization_url: str) -> tuple[str, dict[str, str]]:
    """Open the provider's page, and return where the form on it posts itself to, and with what."""
    with requests.Session() as browser:
        browser.trust_env = False
        browser.verify = False
        page = browser.get(authorization_url, timeout=10).text
    fields = re.findall(r'name="([^"]*)" value="([^"]*)"', page)
    return unescape(re.findall(r'action="([^"]*)"', page)[0]), {unescape(k): unescape(v) for k, v in fields}


def consent(authorization_url: str) -> str:
    """Open the provider's page as the user's browser would, and return where it redirects to.

    A one-page application reads what stands behind its route, which no browser sends; here it asks the server as its script would.
    """
    page, _, route = authorization_url.partition("#")
    if "?" in route:
        authorization_url = f"{page}?{route.partition('?')[2]}"
    with requests.Session() as browser:
        browser.trust_env = False
        browser.verify = False  # the fake's own certificate; nothing secret is sent here
        page_shown = browser.get(authorization_url, allow_redirects=False, timeout=10)
    if "Location" not in page_shown.headers:
        message = f"the authorization page answered with {page_shown.status_code}: {page_shown.text[:200]}"
        raise AssertionError(message)
    return page_shown.headers["Location"]


def answer(client: Client, callback_url: str) -> HttpResponse:
    """Open the callback as the client."""
    parts = urlsplit(callback_url)
    response: Any = client.get(f"{parts.path}?{parts.query}")
    return response  # type: ignore[no-any-return]
