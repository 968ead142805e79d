"""What users fill into a service's addresses: explained, checked by the entry's pattern, and never more than a part of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from django_oauth_flows import flows
from django_oauth_flows.exceptions import AuthorizationError
from django_oauth_flows.forms import parameter_fields, read_parameters
from django_oauth_flows.models import Provider
from django_oauth_flows.protocol.placeholders import decides_domain
from tests.surfaces.reading import text_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop() -> Provider:
    provider = Provider.from_preset("shopify", client_id="x")
    provider.token_endpoint_auth_method = "none"
    provider.full_clean()
    provider.save()
    return provider


def test_the_form_says_what_is_asked_for(shop: Provider, client: Client, user: User) -> None:
    client.force_login(user)
    page = client.get("/oauth/connect/shopify/confirm/")
    assert "Shopify Domain, such as domain" in text_of(page)
    assert "[a-z0-9_-]+" in page.content.decode()


@pytest.mark.parametrize("value", ["ACME", "evil.example", "a/b", "a@b", "a?b", "", "shop\n"])
def test_what_the_service_cannot_have_is_refused_by_form_and_flow(shop: Provider, user: User, value: str) -> None:
    form = {"parameter-shop": value, "parameter-api_version": "2025-01"}
    if value.strip() != "shop":
        assert read_parameters(shop, form) is None
        assert parameter_fields(shop, form)[0].refused == bool(value)
    if not value:
        return
    with pytest.raises(AuthorizationError) as refused:
        flows.start_authorization(
            shop, user=user, session_auth_hash="x", parameters={"shop": value}, site_url="https://a.example"
        )
    assert refused.value.code == "parameter_refused"
    assert value not in str(refused.value)


def test_what_the_service_can_have_goes_into_its_addresses(shop: Provider, user: User) -> None:
    started = flows.start_authorization(
        shop,
        user=user,
        session_auth_hash="x",
        parameters={"shop": "acme", "api_version": "2025-01"},
        site_url="https://a.example",
    )
    assert started.authorization_url.startswith("https://acme.myshopify.com/admin/oauth/authorize?")


@pytest.mark.parametrize("rest", ["", "/token", "?v=1.0", "#v1.0", "/a?v=1.0"])
def test_what_comes_after_a_host_decides_no_domain(rest: str) -> None:
    assert decides_domain("https://{shop}.com" + rest) == ("shop",)
    assert decides_domain("https://{shop}.example.com" + rest) == ()
