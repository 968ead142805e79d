"""Client assertions (RFC 7523), the keys that make them, and the address where services find the public halves."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from email.utils import formatdate as http_date
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.exceptions import ValidationError

from django_oauth_flows import flows
from django_oauth_flows.admin.provider_form import ProviderForm
from django_oauth_flows.exceptions import ConfigurationError, TokenEndpointError
from django_oauth_flows.protocol.client_auth import authenticate_client
from django_oauth_flows.protocol.dialect import Dialect
from django_oauth_flows.protocol.introspection import introspected
from django_oauth_flows.protocol.keys import public_jwk, sign_jwt, thumbprint
from django_oauth_flows.protocol.oauth2 import OAuth2Flow
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import make_provider, walk

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

KINDS = {
    "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def pem(key: Any) -> Secret:
    """Return a private key as staff paste it."""
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


@pytest.mark.rfc("7638", "3.1")
def test_the_thumbprint_of_the_rfc() -> None:
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknj"
        "hMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQv"
        "RL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    jwk = {"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert thumbprint(jwk) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.rfc("8037", "A.3")
def test_the_thumbprint_of_an_ed25519_key() -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint(jwk) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.rfc("7518", "3.1")
@pytest.mark.parametrize("algorithm", KINDS)
def test_every_kind_of_key_signs_what_another_implementation_verifies(algorithm: str) -> None:
    key = pem(KINDS[algorithm]())
    jwk, claims = public_jwk(key), {"a": 1}
    token = sign_jwt(key, claims)
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "typ": "JWT", "kid": jwk["kid"]}
    assert jwt.decode(token, jwt.PyJWK(jwk).key, algorithms=[algorithm]) == claims
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, jwt.PyJWK(public_jwk(pem(KINDS[algorithm]()))).key, algorithms=[algorithm])


@pytest.mark.parametrize("key", ["", "garbage", "dsa", "secp256k1"])
def test_a_key_that_cannot_sign_is_said_to_be_unusable(key: str) -> None:
    made = {"dsa": lambda: dsa.generate_private_key(2048), "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1())}
    entered = pem(made[key]()) if key in made else Secret(key)
    with pytest.raises(ConfigurationError) as caught:
        public_jwk(entered)
    assert caught.value.code == "private_key_invalid"


@pytest.mark.security("T01", "T17")
@pytest.mark.rfc("7523", "2.2")
@pytest.mark.parametrize("method", ["private_key_jwt", "client_secret_jwt"])
def test_an_assertion_is_for_the_issuer_alone_short_lived_and_made_anew(
    method: str, fake: FakeProvider, register: Any
) -> None:
    key = pem(KINDS["ES256"]())
    fake.oauth2.client_secret = fake.oauth2.client_secret + "x" * 32
    fake.oauth2.client_jwk = public_jwk(key) if method == "private_key_jwt" else None
    registration = register(fake, token_endpoint_auth_method=method, private_key=key)
    flow = OAuth2Flow(registration)
    flow.client_credentials(scopes=["read"])
    flow.revoke(Secret("x"), hint="access_token")
    flow.client_credentials(scopes=["read"])
    pushing = replace(registration.server, pushed_authorization_request_endpoint=f"{fake.url}/par")
    OAuth2Flow(replace(registration, server=pushing)).start(
        redirect_uri="https://site.example/callback", scopes=["read"], state=Secret("s" * 43)
    )
    sent = [*fake.received("token"), *fake.received("revoke"), *fake.received("par")]
    seen = set()
    for request in sent:
        assert "authorization" not in request.headers
        assert "client_secret" not in request.form
        assert request.form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        claims = jwt.decode(request.form["client_assertion"], options={"verify_signature": False})
        assert claims["aud"] == fake.url  # one string, not a list
        assert claims["iss"] == claims["sub"] == fake.oauth2.client_id
        assert claims["exp"] - claims["iat"] <= 60
        seen.add(claims["jti"])
    assert len(seen) == len(sent) == 4


@pytest.mark.parametrize(
    ("how", "error", "is_for_a_signature"),
    [
        ("client_assertion", "invalid_client", True),
        ("client_assertion", "invalid_grant", False),
        ("proof", "invalid_dpop_proof", True),
        ("proof", "invalid_client", False),
        ("grant_assertion", "invalid_grant", True),
        ("nothing", "invalid_client", False),
    ],
)
@pytest.mark.parametrize("fast_by", [3600, -3600, 60])
def test_a_signature_that_is_refused_where_it_is_another_time_is_put_down_to_the_clock(
    how: str, error: str, is_for_a_signature: bool, fast_by: int, fake: FakeProvider, register: Any
) -> None:
    key = pem(KINDS["ES256"]())
    method = "private_key_jwt" if how == "client_assertion" else "client_secret_basic"
    bound = how == "proof"
    flow = OAuth2Flow(
        register(fake, token_endpoint_auth_method=method, private_key=key, dpop_bound_access_tokens=bound)
    )
    fake.script("token", Answer(400, {"error": error}, {"Date": http_date(time.time() + fast_by)}))
    ask = flow.jwt_bearer if how == "grant_assertion" else flow.client_credentials
    with pytest.raises(TokenEndpointError) as caught:
        ask(scopes=["read"])
    assert caught.value.code == error
    assert (caught.value.suspect == "clock") == (is_for_a_signature and abs(fast_by) > 300)


@pytest.mark.security("T17")
def test_at_every_other_endpoint_it_is_for_the_same_issuer(fake: FakeProvider, register: Any) -> None:
    key = pem(KINDS["ES256"]())
    fake.oauth2.client_jwk = public_jwk(key)
    registration = register(fake, token_endpoint_auth_method="private_key_jwt", private_key=key)
    places = {
        "device_authorization_endpoint": f"{fake.url}/device",
        "introspection_endpoint": f"{fake.url}/introspect",
        "pushed_authorization_request_endpoint": f"{fake.url}/par",
    }
    flow = OAuth2Flow(replace(registration, server=replace(registration.server, **places)))
    flow.authorize_device(scopes=["read"])
    introspected(flow.registration, Secret("x"))
    flow.start(redirect_uri="https://site.example/", scopes=["read"], state=Secret("s"))
    sent = [request.form for name in ("device", "introspect", "par") for request in fake.received(name)]
    assert len(sent) == 3
    for form in sent:
        claims = jwt.decode(form["client_assertion"], options={"verify_signature": False})
        assert (claims["aud"], form["client_id"]) == (fake.url, fake.oauth2.client_id)


def test_an_assertion_is_from_whom_and_for_whom_the_dialect_says_and_may_stand_in_a_secrets_place(
    fake: FakeProvider, register: Any
) -> None:
    key = pem(KINDS["ES256"]())
    dialect = Dialect.from_json(
        {
            "client_assertion_parameter": "client_secret",
            "client_assertion_audience": "https://service.example",
            "client_assertion_issuer": "{team_id}",
            "assertion_key_id": "{key_id}",
        }
    ).filled({"team_id": "TEAM", "key_id": "KEY"})
    registration = register(fake, token_endpoint_auth_method="private_key_jwt", private_key=key, dialect=dialect)
    with pytest.raises(TokenEndpointError):  # the fake takes no assertion for a secret unless it plays such a server
        OAuth2Flow(registration).client_credentials(scopes=["read"])
    (sent,) = fake.received("token")
    assert not {"client_assertion", "client_assertion_type"} & set(sent.form)
    assertion = sent.form["client_secret"]
    claims = jwt.decode(assertion, jwt.PyJWK(public_jwk(key)).key, ["ES256"], audience="https://service.example")
    assert (claims["iss"], claims["sub"]) == ("TEAM", fake.oauth2.client_id)
    assert jwt.get_unverified_header(assertion)["kid"] == "KEY"


@pytest.mark.security("T17")
def test_a_foreign_token_endpoint_does_not_change_whom_an_assertion_is_for(fake: FakeProvider, register: Any) -> None:
    key = pem(KINDS["ES256"]())
    fake.oauth2.client_jwk = public_jwk(key)
    registration = register(fake, token_endpoint_auth_method="private_key_jwt", private_key=key)
    attacker = replace(registration.server, issuer="https://attacker.example")  # with the fake's token endpoint
    with pytest.raises(TokenEndpointError) as caught:
        OAuth2Flow(replace(registration, server=attacker)).client_credentials()
    assert caught.value.code == "invalid_client"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"private_key": None}, "private_key_missing"),
        ({"client_secret": None, "token_endpoint_auth_method": "client_secret_jwt"}, "client_secret_missing"),
        ({"server": None}, "provider_misconfigured"),
    ],
)
def test_what_is_missing_for_an_assertion_is_named(
    change: dict[str, Any], code: str, fake: FakeProvider, register: Any
) -> None:
    registration = register(fake, token_endpoint_auth_method="private_key_jwt", private_key=pem(KINDS["EdDSA"]()))
    if "server" in change:
        change = {"server": replace(registration.server, issuer="")}
    with pytest.raises(ConfigurationError) as caught:
        authenticate_client(replace(registration, **change))
    assert caught.value.code == code


@pytest.mark.django_db(transaction=True)
@pytest.mark.security("T17")
def test_a_connection_lives_by_a_key_that_the_service_has_fetched_from_us(
    fake: FakeProvider, browser: Client, user: User, client: Client
) -> None:
    provider = make_provider(fake, token_endpoint_auth_method="private_key_jwt")
    assert client.get("/oauth/jwks/fake/").status_code == 404
    key = pem(KINDS["RS256"]())
    provider.seal("private_key", key)
    provider.clean()
    provider.save()
    published = client.get("/oauth/jwks/fake/")
    assert published["Content-Type"] == "application/jwk-set+json"
    assert set(published["Cache-Control"].split(", ")) == {"public", "max-age=3600"}
    (jwk,) = json.loads(published.content)["keys"]
    assert set(jwk) == {"kty", "n", "e", "use", "alg", "kid"}  # nothing private
    assert jwk["kid"] == thumbprint(jwk)
    assert not published.cookies
    fake.oauth2.client_jwk = jwk
    assert walk(browser, provider).status_code == 303
    connection = user.oauth_connections.get()
    assert flows.session(connection).get("echo").status_code == 200
    assert flows.refresh(connection).refreshed
    assert flows.session(connection).get("echo").status_code == 200
    assert flows.revoke(connection) == "revoked"


@pytest.mark.django_db
def test_no_key_is_published_where_none_is_used(fake: FakeProvider, client: Client) -> None:
    provider = make_provider(fake)
    provider.seal("private_key", pem(KINDS["EdDSA"]()))
    provider.save()
    assert client.get("/oauth/jwks/fake/").status_code == client.get("/oauth/jwks/unknown/").status_code == 404
    assert client.post("/oauth/jwks/fake/").status_code == 405


@pytest.mark.django_db
def test_an_assertion_without_an_issuer_is_refused_on_save(fake: FakeProvider) -> None:
    provider = make_provider(fake, token_endpoint_auth_method="private_key_jwt", issuer="")
    with pytest.raises(ValidationError) as caught:
        provider.clean()
    assert list(caught.value.message_dict) == ["issuer"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("protocol", "kind", "is_usable"),
    [("oauth2", "ES256", True), ("oauth2", "RS256", True), ("oauth2", "", False), ("oauth1", "ES256", False)],
)
def test_the_admin_takes_the_keys_that_the_protocol_can_sign_with(protocol: str, kind: str, *, is_usable: bool) -> None:
    entered = pem(KINDS[kind]()).reveal() if kind else "-----BEGIN PRIVATE KEY-----"
    form = ProviderForm({"protocol": protocol, "new_private_key": entered})
    assert ("new_private_key" not in form.errors) is is_usable
