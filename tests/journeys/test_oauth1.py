"""An account connected over OAuth 1.0a: the seven steps, a signed call, disconnect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from django_oauth_flows import flows
from django_oauth_flows.models import Connection, Revocation
from django_oauth_flows.testing.factories import walk

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("method", ["HMAC-SHA1", "HMAC-SHA256", "HMAC-SHA512"])
@pytest.mark.parametrize("placement", ["header", "query", "body"])
def test_a_user_connects_calls_and_disconnects(
    method: str, placement: str, browser: Client, oauth1_provider: Provider, user: User, fake: FakeProvider
) -> None:
    oauth1_provider.signature_method, oauth1_provider.signature_placement = method, placement
    oauth1_provider.save()
    response = walk(browser, oauth1_provider)
    assert response.status_code == 303

    connection = user.oauth_connections.get()
    assert connection.subject == "account-1"
    assert connection.grant_type == Connection.GrantType.TEMPORARY_CREDENTIALS
    with flows.session(connection) as http:
        assert http.get("/echo", params={"q": "a b&c=ü"}).status_code == 200
        assert http.post("/echo", data={"title": "ü + %", "empty": ""}).status_code == 200
        assert http.post("/echo", json={"title": "ü"}).status_code == 200
        assert http.put("/echo", data=iter([b"abc", b"def"])).json()["size"] == 6

    assert flows.revoke(connection) == Revocation.Outcome.REVOKED
    assert fake.oauth1.token_credentials == {}
