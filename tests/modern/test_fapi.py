"""Everything that FAPI 2.0 asks of a client at once, but sender-constrained tokens, which have tests of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ConnectionUnusable
from django_oauth_flows.testing.factories import answer, consent
from django_oauth_flows.testing.openid import new_key
from tests.modern.elsewhere import keys_from

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def test_everything_at_once_from_discovery_to_revocation(
    fake: FakeProvider, browser: Client, user: User, client: Client, settings: SettingsWrapper
) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "BASE_URL": "https://site.example"}

    def metadata(document: dict[str, Any]) -> None:
        document.update(
            registration_endpoint=fake.registrar.url,
            pushed_authorization_request_endpoint=f"{fake.url}/par",
            require_pushed_authorization_requests=True,
            authorization_response_iss_parameter_supported=True,
            token_endpoint_auth_methods_supported=["private_key_jwt"],
            token_endpoint_auth_signing_alg_values_supported=["PS256"],
            require_signed_request_object=True,
            request_object_signing_alg_values_supported=["PS256"],
            response_modes_supported=["jwt"],
            authorization_signing_alg_values_supported=["PS256"],
            id_token_signing_alg_values_supported=["PS256"],
            authorization_details_types_supported=["account_information"],
        )

    fake.openid.change_metadata = metadata
    fake.openid.keys = [new_key(1, "PS256")]
    fake.oauth2.requires_par = fake.oauth2.sends_iss = fake.oauth2.signing.requires_signed_requests = True
    provider = flows.register_provider(fake.url, slug="fake", internal=True, api_base_url=f"{fake.url}/api/")
    fake.oauth2.signing.jwks = keys_from(client)
    started = flows.start_authorization(
        provider,
        user=user,
        session_auth_hash=user.get_session_auth_hash(),
        authorization_details=[{"type": "account_information"}],
    )
    browser.cookies[started.cookie.name] = started.cookie.value.reveal()
    assert set(parse_qs(urlsplit(started.authorization_url).query)) == {"client_id", "request_uri"}
    back = consent(started.authorization_url)
    assert set(parse_qs(urlsplit(back).query)) == {"response"}
    assert answer(browser, back).status_code == 303
    connection = user.oauth_connections.get()
    assert connection.authorization_details == [{"type": "account_information"}]
    rotated = [flows.access_token(connection)]
    for _ in range(2):
        assert flows.session(connection).get("echo").status_code == 200
        assert flows.refresh(connection).refreshed
        rotated.append(flows.access_token(connection))
    assert len(set(rotated)) == 3
    assert len(fake.oauth2.grants[0].refresh) == 3
    assert flows.revoke(connection) == "revoked"
    with pytest.raises(ConnectionUnusable):
        flows.session(connection).get("echo")

    for request in [*fake.received("par"), *fake.received("token"), *fake.received("revoke")]:
        assertion = request.form["client_assertion"]
        assert jwt.get_unverified_header(assertion)["alg"] == "PS256"
        assert jwt.decode(assertion, options={"verify_signature": False})["aud"] == fake.url
        assert "client_secret" not in request.form
    for request in fake.received("api"):
        assert request.headers["authorization"].startswith("Bearer ")
        assert "token" not in request.url
    (request,) = fake.received("par")
    claims = jwt.decode(request.form["request"], options={"verify_signature": False})
    assert (claims["code_challenge_method"], claims["response_type"], claims["response_mode"]) == (
        "S256",
        "code",
        "jwt",
    )
    assert len(claims["nonce"]) <= 64
