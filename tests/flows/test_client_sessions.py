"""The site's own tokens: client credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows import flows
from django_oauth_flows.crypto import generate_key
from django_oauth_flows.exceptions import AuthorizationError, ConfigurationError, Disconnected
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def call(provider: Provider) -> int:
    with flows.client_session(provider) as http:
        return int(http.get("/echo").status_code)


def test_a_lost_key_needs_no_user_once_staff_have_entered_the_clients_secret_anew(
    provider: Provider, fake: FakeProvider, settings: Any
) -> None:
    assert call(provider) == 200
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "ENCRYPTION_KEYS": [generate_key()]}
    with pytest.raises(ConfigurationError) as caught:
        call(provider)
    assert caught.value.code == "decrypt_failed"
    provider.seal("client_secret", Secret(fake.oauth2.client_secret))
    provider.save()
    assert call(provider) == 200
    assert call(provider) == 200
    assert fake.count("token") == 2
    assert Connection.objects.get().status == "active"


def test_a_disabled_provider_gets_no_first_token_and_goes_on_serving_the_present_one(
    provider: Provider, fake: FakeProvider
) -> None:
    provider.enabled = False
    provider.save()
    with pytest.raises(AuthorizationError) as caught:
        flows.client_session(provider)
    assert caught.value.code == "provider_disabled"
    assert not Connection.objects.exists()
    Provider.objects.update(enabled=True)
    provider.refresh_from_db()
    assert call(provider) == 200
    Provider.objects.update(enabled=False)
    provider.refresh_from_db()
    assert call(provider) == 200
    assert fake.count("token") == 1


def test_a_paused_provider_serves_the_site_itself_no_token(provider: Provider, fake: FakeProvider) -> None:
    assert call(provider) == 200
    Provider.objects.update(paused=True)
    with pytest.raises(Disconnected) as caught:
        call(Provider.objects.get())
    assert caught.value.code == "paused"
