"""Signed authorization requests (RFC 9101), verified by the fake provider with code that is not ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from django.core.exceptions import ValidationError

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.protocol.dialect import Dialect
from django_oauth_flows.protocol.keys import new_private_key, public_jwk
from django_oauth_flows.testing.factories import answer, consent, make_provider

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def signing(db: None, fake: FakeProvider) -> Callable[..., Provider]:
    """Return a maker of providers that take signed requests only."""

    def make(algorithm: str = "ES256", dialect: dict[str, Any] | None = None, **columns: Any) -> Provider:
        key = new_private_key(algorithm)
        fake.oauth2.client_jwk = public_jwk(key, algorithm)
        fake.oauth2.signing.requires_signed_requests = True
        provider = make_provider(fake, dialect={"request_object_signing_alg": algorithm, **(dialect or {})}, **columns)
        provider.seal("private_key", key)
        provider.clean()
        provider.save()
        return provider

    return make


def started(browser: Client) -> str:
    """Start; return where the browser is sent."""
    response: Any = browser.post("/oauth/connect/fake/")
    return str(response["Location"])


def inside(request: str) -> dict[str, Any]:
    """Return what a request object says."""
    found: dict[str, Any] = jwt.decode(request, options={"verify_signature": False})
    return found


@pytest.mark.security("A15")
@pytest.mark.rfc("9101", "5.1")
@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"])
def test_the_browser_carries_one_signed_object_and_nothing_else_counts(
    algorithm: str, signing: Callable[..., Provider], fake: FakeProvider, browser: Client, user: User
) -> None:
    signing(algorithm)
    url = started(browser)
    query = parse_qs(urlsplit(url).query)
    assert set(query) == {"client_id", "request"}
    (request,) = query["request"]
    header, claims = jwt.get_unverified_header(request), inside(request)
    assert (header["typ"], header["alg"]) == ("oauth-authz-req+jwt", algorithm)
    assert claims["aud"] == fake.url  # the issuer, and one text
    assert claims["iss"] == claims["client_id"] == fake.oauth2.client_id
    assert claims["response_type"] == "code"
    assert claims["code_challenge_method"] == "S256"
    assert claims["exp"] - claims["nbf"] <= 300
    assert claims["jti"] != inside(parse_qs(urlsplit(started(browser)).query)["request"][0])["jti"]
    assert answer(browser, consent(url)).status_code == 303
    assert flows.session(user.oauth_connections.get()).get("echo").status_code == 200


@pytest.mark.security("A15")
@pytest.mark.rfc("9126", "3")
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "private_key_jwt"])
def test_a_signed_object_is_pushed(
    method: str, signing: Callable[..., Provider], fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.oauth2.requires_par = True
    signing(pushed_authorization_request_endpoint=f"{fake.url}/par", token_endpoint_auth_method=method)
    url = started(browser)
    assert set(parse_qs(urlsplit(url).query)) == {"client_id", "request_uri"}
    form = fake.received("par")[0].form
    assert set(form) - {"client_secret", "client_assertion", "client_assertion_type"} == {"client_id", "request"}
    assert inside(form["request"])["state"]
    assert answer(browser, consent(url)).status_code == 303
    assert user.oauth_connections.get().is_active


@pytest.mark.security("A15")
def test_a_request_that_was_changed_or_is_unsigned_goes_nowhere(
    signing: Callable[..., Provider], fake: FakeProvider, browser: Client
) -> None:
    signing()
    url = started(browser)
    page, _, query = url.partition("?")
    request = parse_qs(query)["request"][0]
    head, body, _signature = request.split(".")
    other = jwt.encode({**inside(request), "scope": "everything"}, "x" * 32, algorithm="HS256").split(".")[1]
    for changed in (
        f"{head}.{other}.{_signature}",
        f"{head}.{body}.",
        jwt.encode(inside(request), "", algorithm="none"),
    ):
        with pytest.raises(AssertionError, match="answered with 400"):
            consent(f"{page}?{urlencode({'client_id': fake.oauth2.client_id, 'request': changed})}")
    with pytest.raises(AssertionError, match="answered with 400"):
        consent(
            f"{page}?{urlencode({name: value for name, value in inside(request).items() if isinstance(value, str)})}"
        )


@pytest.mark.rfc("9101", "4")
def test_what_is_json_or_a_number_is_so_inside(
    signing: Callable[..., Provider], fake: FakeProvider, browser: Client
) -> None:
    details = [{"type": "account_information"}]
    signing(
        dialect={
            "authorization_details": details,
            "resources": ["https://a.example/", "https://b.example/"],
            "authorization_parameters": {"max_age": "300", "prompt": "consent", "claims": json.dumps({"userinfo": {}})},
            "authorization_parameter_names": {"scope": "permissions"},
        },
        authorization_endpoint=f"{fake.url}/authorize?tenant=1",
    )
    query = parse_qs(urlsplit(started(browser)).query)
    assert set(query) == {"tenant", "client_id", "request"}
    claims = inside(query["request"][0])
    assert claims["authorization_details"] == details
    assert claims["resource"] == ["https://a.example/", "https://b.example/"]
    assert (claims["max_age"], claims["prompt"], claims["claims"]) == (300, "consent", {"userinfo": {}})
    assert (claims["permissions"], "tenant" in claims) == ("read", False)


@pytest.mark.parametrize(
    ("change", "code"),
    [("no key", "private_key_missing"), ("other kind", "private_key_invalid"), ("no issuer", "provider_misconfigured")],
)
def test_what_is_missing_for_a_signature_is_named(
    change: str, code: str, signing: Callable[..., Provider], user: User
) -> None:
    provider = signing("PS256")
    provider.private_key = None
    if change != "no key":
        provider.seal("private_key", new_private_key("ES256" if change == "other kind" else "PS256"))
    provider.issuer = "" if change == "no issuer" else provider.issuer
    with pytest.raises(ConfigurationError) as caught:
        flows.start_authorization(provider, user=user, session_auth_hash="", site_url="http://testserver")
    assert caught.value.code == code


def test_a_row_that_signs_needs_an_issuer(signing: Callable[..., Provider]) -> None:
    provider = signing()
    provider.issuer = ""
    with pytest.raises(ValidationError) as caught:
        provider.clean()
    assert list(caught.value.message_dict) == ["issuer"]


@pytest.mark.parametrize(
    "value",
    [
        {"request_object_signing_alg": "none"},
        {"request_object_signing_alg": "HS256"},
        {"request_object_signing_alg": "ES256", "authorization_parameters": {"request": "authorize"}},
    ],
)
def test_the_schema_refuses(value: Any) -> None:
    with pytest.raises(ValueError, match="request_object_signing_alg"):
        Dialect.from_json(value)
