"""Service accounts: the site's own tokens by assertions that it signs, for itself or for an account it may act for. RFC 7523."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.exceptions import ValidationError
from django.db import connections

from django_oauth_flows import flows
from django_oauth_flows.crypto import generate_key
from django_oauth_flows.exceptions import (
    AuthorizationError,
    ConfigurationError,
    ScopeNotAllowed,
    TokenUnavailable,
)
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.protocol.keys import public_jwk
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Answer, Delay
from django_oauth_flows.testing.factories import make_provider

if TYPE_CHECKING:
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
KEY = Secret(
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)


@pytest.fixture
def service(db: None, fake: FakeProvider) -> Provider:
    """Return a provider that knows the site by its key alone."""
    fake.oauth2.client_jwk = public_jwk(KEY)
    provider = make_provider(fake, token_endpoint_auth_method="none")
    provider.seal("private_key", KEY)
    provider.save()
    return provider


def call(provider: Provider, **what: Any) -> int:
    with flows.service_session(provider, **what) as http:
        return int(http.get("/echo").status_code)


def sent(fake: FakeProvider) -> list[dict[str, Any]]:
    """Return the claims of every assertion that was presented."""
    forms = [request.form for request in fake.received("token")]
    return [jwt.decode(form["assertion"], options={"verify_signature": False}) for form in forms]


@pytest.mark.rfc("7523", "2.1")
@pytest.mark.rfc("7523", "3")
@pytest.mark.security("T17", "T22")
def test_a_token_comes_for_an_assertion_of_the_site_and_is_kept(service: Provider, fake: FakeProvider) -> None:
    assert call(service) == call(service) == 200
    (request,) = fake.received("token")
    assert set(request.form) == {"grant_type", "assertion", "scope"}
    assert request.form["grant_type"] == GRANT
    assert "authorization" not in request.headers
    (claims,) = sent(fake)
    assert claims["iss"] == claims["sub"] == fake.oauth2.client_id
    assert (claims["aud"], claims["scope"]) == (fake.url, "read")
    assert claims["exp"] - claims["iat"] == 60
    row = Connection.objects.get()
    assert (row.grant_type, row.owner_model, row.owner_id, row.user, row.acts_for) == ("jwt_bearer", "", "", None, "")


@pytest.mark.security("T22")
def test_each_account_and_each_set_of_scopes_has_a_token_of_its_own(service: Provider, fake: FakeProvider) -> None:
    asked = ({"subject": "ada@corp.example"}, {"subject": "bob@corp.example"}, {"scopes": ["write"]}, {})
    for what in (*asked, *asked):
        assert call(service, **what) == 200
    assert fake.count("token") == 4
    assert [claims["sub"] for claims in sent(fake)][:2] == ["ada@corp.example", "bob@corp.example"]
    assert Connection.objects.filter(acts_for="ada@corp.example").get().label == "ada@corp.example read"
    used = {request.headers["authorization"] for request in fake.received("api")}
    assert len(used) == 4


@pytest.mark.security("T22")
def test_fifty_threads_fetch_one_token_and_the_next_assertion_is_another(service: Provider, fake: FakeProvider) -> None:
    assert call(service, subject="ada@corp.example") == 200
    Token.objects.update(expires_at=DatabaseNow(), next_refresh_at=DatabaseNow(), last_refreshed_at=None)
    fake.script("token", Delay(seconds=0.3))
    found: list[Any] = []
    barrier = threading.Barrier(50)

    def one() -> None:
        barrier.wait()
        try:
            found.append(call(service, subject="ada@corp.example"))
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
    first, second = sent(fake)
    assert first["jti"] != second["jti"]
    assert second["sub"] == "ada@corp.example"


def test_what_a_service_wants_in_its_assertions_is_data(service: Provider, fake: FakeProvider) -> None:
    fake.oauth2.assertion_audience = f"{fake.url}/token"
    service.dialect = {
        "assertion_audience": f"{fake.url}/token",
        "assertion_claims": {"box_sub_type": "enterprise", "scope": ""},
        "assertion_key_id": "key-7",
    }
    service.clean()
    service.save()
    assert call(service, subject="12") == 200
    (claims,) = sent(fake)
    assert (claims["aud"], claims["box_sub_type"], claims["sub"]) == (f"{fake.url}/token", "enterprise", "12")
    assert "scope" not in claims
    assert jwt.get_unverified_header(fake.received("token")[0].form["assertion"])["kid"] == "key-7"


@pytest.mark.security("T17")
def test_an_assertion_for_another_server_is_refused_by_this_one(service: Provider, fake: FakeProvider) -> None:
    Provider.objects.update(issuer="https://other.example")
    with pytest.raises(TokenUnavailable):
        call(service)
    assert sent(fake)[0]["aud"] == "https://other.example"


@pytest.mark.security("T17")
def test_a_refused_assertion_ends_nothing_and_is_tried_again_later(service: Provider, fake: FakeProvider) -> None:
    with flows.service_session(service) as held:
        assert held.get("/echo").status_code == 200
        Token.objects.update(expires_at=DatabaseNow(), next_refresh_at=DatabaseNow(), last_refreshed_at=None)
        fake.script("token", Answer(400, {"error": "invalid_grant"}))
        for _ in range(3):
            with pytest.raises(TokenUnavailable):
                held.get("/echo")
        assert fake.count("token") == 2, "one that is refused, and then a pause"
        Token.objects.update(not_before=None)
        assert held.get("/echo").status_code == 200
    assert Connection.objects.get().status == "active"


def test_the_key_of_a_service_account_is_published(service: Provider, client: Client) -> None:
    (key,) = client.get("/oauth/jwks/fake/").json()["keys"]
    assert key["n"] == public_jwk(KEY)["n"]
    Provider.objects.update(token_endpoint_auth_method="client_secret_basic")
    assert client.get("/oauth/jwks/fake/").status_code == 404
    Provider.objects.update(token_endpoint_auth_method="none")
    assert call(service) == 200
    Provider.objects.update(token_endpoint_auth_method="client_secret_basic")
    assert len(client.get("/oauth/jwks/fake/").json()["keys"]) == 1


def test_a_key_that_the_service_knows_by_its_own_id_is_not_rotated_here(service: Provider) -> None:
    Provider.objects.update(dialect={"assertion_key_id": "k1"})
    with pytest.raises(ConfigurationError, match="ids of its own"):
        flows.rotate_private_key(service)
    assert Provider.objects.get().next_private_key is None


def test_a_service_account_has_no_owner_to_be_asked_for_more(service: Provider) -> None:
    assert call(service) == 200
    Provider.objects.update(required_scopes=("write",))
    assert not flows.lacking_required_scopes()


@pytest.mark.parametrize("claim", ["iss", "aud", "exp", "iat", "nbf", "jti"])
@pytest.mark.security("T17")
def test_no_dialect_says_who_signs_for_whom_and_for_how_long(claim: str, service: Provider) -> None:
    service.dialect = {"assertion_claims": {claim: "x"}}
    with pytest.raises(ValidationError, match="not yours to set"):
        service.clean()


def test_what_is_missing_is_named(service: Provider, fake: FakeProvider) -> None:
    for columns, code in (({"issuer": ""}, "provider_misconfigured"), ({"private_key": None}, "private_key_missing")):
        Provider.objects.update(**columns)
        with pytest.raises(ConfigurationError) as caught:
            call(Provider.objects.get())
        assert caught.value.code == code
        Connection.objects.all().delete()
        Provider.objects.update(issuer=fake.url)
    assert fake.count("token") == 0


def test_what_nobody_can_be_called_and_what_nobody_may_ask_for_is_refused(service: Provider) -> None:
    for name in ("x" * 256, "a\nb"):
        with pytest.raises(AuthorizationError) as caught:
            flows.service_session(service, subject=name)
        assert caught.value.code == "subject_invalid"
    with pytest.raises(ScopeNotAllowed):
        flows.service_session(service, scopes=["admin"])
    assert not Connection.objects.exists()


def test_a_lost_key_of_ours_needs_nobody_but_the_staff(service: Provider, fake: FakeProvider, settings: Any) -> None:
    assert call(service) == 200
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "ENCRYPTION_KEYS": [generate_key()]}
    service.seal("private_key", KEY)
    service.client_secret = None
    service.save()
    assert call(service) == 200
    assert fake.count("token") == 2
    assert Connection.objects.get().status == "active"


def test_a_client_with_a_secret_sends_it_along(service: Provider, fake: FakeProvider) -> None:
    service.token_endpoint_auth_method = "client_secret_basic"
    service.seal("client_secret", Secret(fake.oauth2.client_secret))
    service.save()
    assert call(service) == 200
    assert fake.received("token")[0].headers["authorization"].startswith("Basic ")


@pytest.mark.security("F07")
def test_a_sweep_renews_them_as_it_does_others(service: Provider, fake: FakeProvider) -> None:
    assert call(service, subject="ada@corp.example") == 200
    Token.objects.update(next_refresh_at=DatabaseNow())
    (sweep,) = flows.refresh_due()
    assert sweep.refreshed == 1
    assert [claims["sub"] for claims in sent(fake)] == ["ada@corp.example"] * 2
