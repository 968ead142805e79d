"""An issuer with placeholders: filled in like the addresses, and of no harm to whom it does not concern where nobody has filled it in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.exceptions import ValidationError

from django_oauth_flows import flows
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.testing.factories import begin, make_connection, walk
from django_oauth_flows.testing.openid import new_key
from tests.protocol.test_assertions import pem

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

TEMPLATE = "https://login.service.example/{tenant_id}/v2.0"
CHECKED: list[dict[str, Any]] = [
    {"jwks_uri": "https://login.service.example/keys"},
    {"dialect": {"id_token_signed_response_alg": "HS256"}},
    {"authorization_response_iss_parameter_supported": True},
    {"token_endpoint_auth_method": "private_key_jwt"},
    {"dialect": {"request_object_signing_alg": "ES256"}},
]
"""What makes a row's issuer something to compare with, or to sign for."""


@pytest.fixture
def templated(provider: Provider) -> Provider:
    Provider.objects.filter(pk=provider.pk).update(issuer=TEMPLATE)
    return Provider.objects.get()


def test_connections_live_on_where_nobody_has_filled_in_an_issuer_that_nothing_needs(
    templated: Provider, user: User, fake: FakeProvider
) -> None:
    connection = make_connection(templated, user, fake)
    with flows.session(connection) as http:
        assert http.get("echo").ok
    assert flows.refresh(connection).refreshed


def test_such_a_row_is_connected_as_well_and_no_issuer_is_believed(
    templated: Provider, browser: Client, fake: FakeProvider
) -> None:
    templated.full_clean()
    assert walk(browser, templated).status_code == 303
    assert Connection.objects.get().provider == templated
    fake.oauth2.sends_iss = True
    assert walk(browser, templated).status_code == 400
    state = parse_qs(urlsplit(begin(browser, templated)).query)["state"][0]
    literal = browser.get(f"/oauth/callback/{templated.slug}/", {"state": state, "code": "c", "iss": TEMPLATE})
    assert (literal.status_code, b"<code>issuer_mismatch</code>" in literal.content) == (400, True)


@pytest.mark.parametrize("columns", CHECKED)
def test_an_issuer_that_something_needs_has_to_be_filled_in(provider: Provider, columns: dict[str, Any]) -> None:
    for name, value in {"issuer": TEMPLATE, **columns}.items():
        setattr(provider, name, value)
    with pytest.raises(ValidationError) as refused:
        provider.full_clean()
    assert "tenant_id" in str(refused.value.message_dict["issuer"])
    provider.parameters = {"tenant_id": "a1"}
    provider.full_clean()
    provider.parameters = {}
    provider.userinfo_endpoint = "https://login.service.example/{tenant_id}/me"  # users are asked then
    provider.full_clean()


def test_nothing_is_signed_for_an_issuer_that_nobody_has_filled_in(
    templated: Provider, browser: Client, fake: FakeProvider
) -> None:
    templated.token_endpoint_auth_method = "private_key_jwt"
    templated.seal("private_key", pem(new_key(3, "ES256").private))
    templated.save()
    assert walk(browser, templated).status_code == 400
    assert fake.count("token") == 0
    templated.token_endpoint_auth_method = "client_secret_basic"
    templated.dialect = {"request_object_signing_alg": "ES256"}
    templated.save()
    assert browser.post(f"/oauth/connect/{templated.slug}/").status_code == 400


@pytest.mark.security("B24")
def test_the_fingerprint_is_that_of_the_issuer_as_it_is_filled_in(provider: Provider) -> None:
    provider.issuer = "https://login.service.example/a/v2.0"
    plain = provider.fingerprint()
    provider.issuer, provider.parameters = TEMPLATE, {"tenant_id": "a"}
    assert provider.fingerprint() == plain
    provider.parameters = {"tenant_id": "b"}
    assert provider.fingerprint() != plain
    provider.parameters = {}
    assert provider.fingerprint({"tenant_id": "a"}) == plain
    assert provider.fingerprint() == provider.fingerprint({"other": "a"}) != plain
