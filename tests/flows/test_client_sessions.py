"""The site's own tokens: client credentials."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

from django_oauth_flows import flows
from django_oauth_flows.crypto import generate_key
from django_oauth_flows.exceptions import AuthorizationError, ConfigurationError, Disconnected
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Delay
from django_oauth_flows.testing.factories import make_provider

if TYPE_CHECKING:
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def call(provider: Provider) -> int:
    with flows.client_session(provider) as http:
        return int(http.get("/echo").status_code)


@pytest.mark.security("T22")
@pytest.mark.parametrize("expired", [False, True], ids=["none yet", "expired"])
def test_fifty_threads_without_a_token_fetch_one(expired: bool, provider: Provider, fake: FakeProvider) -> None:
    if expired:
        assert call(provider) == 200
        Token.objects.update(expires_at=DatabaseNow(), next_refresh_at=DatabaseNow(), last_refreshed_at=None)
    fake.script("token", Delay(seconds=0.3))
    found: list[Any] = []
    barrier, before = threading.Barrier(50), fake.count("token")

    def one() -> None:
        barrier.wait()
        try:
            found.append(call(provider))
        except Exception as error:  # noqa: BLE001 - looked at below
            found.append(repr(error))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 50
    assert fake.count("token") == before + 1
    row = Connection.objects.get()
    assert (row.owner_model, row.owner_id, row.user) == ("", "", None)
    assert Token.objects.count() == 1


@pytest.mark.security("T22")
def test_other_scopes_are_another_token_and_their_order_is_not(provider: Provider, fake: FakeProvider) -> None:
    sets = (("read",), ("write",), ("read", "write"), ("write", "read"), ("read", "write", "read"), ("read",))
    for scopes in sets:
        with flows.client_session(provider, scopes=scopes) as http:
            assert http.get("/echo").status_code == 200
    asked = [request.form["scope"] for request in fake.received("token")]
    assert asked == ["read", "write", "read write"]
    used = [request.headers["authorization"] for request in fake.received("api")]
    assert len(set(used)) == 3
    assert (used[0], used[2], used[2]) == (used[5], used[3], used[4])


@pytest.mark.security("T22")
def test_another_provider_is_another_token(provider: Provider, fake: FakeProvider) -> None:
    assert call(provider) == 200
    assert call(make_provider(fake, slug="second")) == 200
    assert call(provider) == 200
    assert fake.count("token") == 2
    assert Connection.objects.count() == 2


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
