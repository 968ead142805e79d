"""Signed authorization responses (JARM): what is believed, and that nothing unsigned is where a signed one was agreed."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import jwt
import pytest
from django.core.exceptions import ValidationError

from django_oauth_flows import flows
from django_oauth_flows.models import AuthorizationRequest, Connection
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import answer, begin, consent, make_provider, walk
from django_oauth_flows.testing.openid import new_key
from tests.security.test_callback import CALLBACK, nothing_happened, refused
from tests.security.test_callback_forms import from_elsewhere, onward, posted_form

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

Change = dict[str, Any]


@pytest.fixture
def signed(db: None, fake: FakeProvider) -> Provider:
    """Return a provider whose answers are signed."""
    provider = make_provider(fake, response_mode="jwt", jwks_uri=f"{fake.url}/jwks")
    provider.clean()
    return provider


def token_in(url: str) -> str:
    """Return the signed answer in an address of ours; nothing is beside it."""
    query = parse_qs(urlsplit(url).query)
    assert set(query) == {"response"}
    return query["response"][0]


def claims_in(token: str) -> dict[str, Any]:
    """Return what an answer says, unverified."""
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


@pytest.mark.parametrize("mode", ["jwt", "query.jwt"])
def test_a_signed_answer_connects(mode: str, signed: Provider, fake: FakeProvider, browser: Client, user: User) -> None:
    signed.response_mode = mode
    signed.save()
    back = begin(browser, signed)
    assert dict(fake.received("authorize")[0].query)["response_mode"] == mode
    assert set(claims_in(token_in(back))) == {"iss", "aud", "exp", "state", "code"}
    assert answer(browser, back).status_code == 303
    assert flows.session(user.oauth_connections.get()).get("echo").status_code == 200
    again = answer(browser, back)  # a reload
    assert (again.status_code, fake.count("token")) == (303, 1)


def test_a_posted_signed_answer_waits_for_its_browser(
    signed: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    signed.response_mode = "form_post.jwt"
    signed.save()
    started: Any = browser.post("/oauth/connect/fake/")
    action, fields = posted_form(started["Location"])
    assert urlsplit(action).path == CALLBACK
    assert set(fields) == {"response"}
    back = onward(from_elsewhere(fields))
    assert browser.get(back).status_code == 303
    assert user.oauth_connections.get().is_active
    assert fake.count("token") == 1


@pytest.mark.security("B22")
@pytest.mark.parametrize("algorithm", ["PS256", "ES256", "EdDSA"])
def test_the_algorithm_is_the_one_agreed(
    algorithm: str, signed: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.openid.keys = [new_key(1, algorithm)]
    refused(walk(browser, signed), "signed_response_invalid")
    signed.dialect = {"authorization_signed_response_alg": algorithm}
    signed.save()
    assert walk(browser, signed).status_code == 303
    assert user.oauth_connections.exists()


def _drop(name: str, claims: Change) -> None:
    del claims[name]


HOSTILE: dict[str, Callable[[Change], None]] = {
    "another issuer": lambda claims: claims.update(iss=claims["iss"] + "/"),
    "no issuer": partial(_drop, "iss"),
    "another client": lambda claims: claims.update(aud="somebody-else"),
    "us and somebody else": lambda claims: claims.update(aud=[claims["aud"], "somebody-else"]),
    "nobody": partial(_drop, "aud"),
    "expired": lambda claims: claims.update(exp=int(time.time()) - 120),
    "endless": partial(_drop, "exp"),
    "a time in words": lambda claims: claims.update(exp="tomorrow"),
    "from the future": lambda claims: claims.update(iat=int(time.time()) + 600),
    "not yet": lambda claims: claims.update(nbf=int(time.time()) + 600),
}


@pytest.mark.security("B11")
@pytest.mark.parametrize("kind", HOSTILE)
def test_an_answer_that_is_not_for_us_now_is_refused(
    kind: str, signed: Provider, fake: FakeProvider, browser: Client
) -> None:
    fake.openid.change_answer = HOSTILE[kind]
    refused(walk(browser, signed), "signed_response_invalid")
    nothing_happened(fake)


@pytest.mark.security("B18")
@pytest.mark.parametrize("kind", ["another key", "no signature", "none", "changed", "secret"])
def test_an_answer_that_the_service_has_not_signed_is_refused(
    kind: str, signed: Provider, fake: FakeProvider, browser: Client
) -> None:
    def forge(token: str) -> str:
        head, body, signature = token.split(".")
        if kind == "no signature":
            return f"{head}.{body}."
        if kind == "none":
            return jwt.encode(claims_in(token), "", algorithm="none")
        if kind == "secret":
            return jwt.encode(claims_in(token), fake.oauth2.client_secret, algorithm="HS256")
        if kind == "changed":
            return f"{head}.{jwt.encode({**claims_in(token), 'code': 'x'}, 'x' * 32).split('.')[1]}.{signature}"
        return token

    fake.openid.change_signed_answer = forge
    if kind == "another key":
        fake.openid.keys, fake.openid.signing_key = [new_key(1)], new_key(2)
    refused(walk(browser, signed), "signed_response_invalid")
    nothing_happened(fake)


@pytest.mark.security("B22")
def test_an_unsigned_answer_is_refused_where_a_signed_one_was_agreed(
    signed: Provider, fake: FakeProvider, browser: Client
) -> None:
    claims = claims_in(token_in(begin(browser, signed)))
    plain = urlencode({"state": claims["state"], "code": claims["code"], "iss": fake.url})
    refused(browser.get(f"{CALLBACK}?{plain}"), "unexpected_response")
    claims = claims_in(token_in(begin(browser, signed)))
    refused(
        browser.get(f"{CALLBACK}?{urlencode({'state': claims['state'], 'error': 'access_denied'})}"),
        "unexpected_response",
    )
    nothing_happened(fake)


@pytest.mark.security("B18")
def test_a_signed_answer_is_refused_where_none_was_agreed(
    provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    back = dict(parse_qsl(urlsplit(begin(browser, provider)).query))
    made = fake.openid.answer(back)
    refused(browser.get(f"{CALLBACK}?{urlencode({'response': made})}"), "unexpected_response")
    nothing_happened(fake)


@pytest.mark.security("B01")
def test_the_state_beside_an_answer_does_not_lend_it_to_another_authorization(
    signed: Provider, fake: FakeProvider, browser: Client
) -> None:
    first, second = token_in(begin(browser, signed)), token_in(begin(browser, signed))
    mixed = urlencode({"state": claims_in(first)["state"], "response": second})
    refused(browser.get(f"{CALLBACK}?{mixed}"), "signed_response_invalid")
    nothing_happened(fake)
    two = urlencode([("response", second), ("response", second)])
    refused(browser.get(f"{CALLBACK}?{two}"), "duplicate_parameter")


@pytest.mark.security("B22")
@pytest.mark.parametrize("token", ["", "x", "a.b.c", "e30.e30.", "x" * 70_000, "eyJhbGciOiJub25lIn0.eyJzdGF0ZSI6MX0."])
def test_what_is_no_token_answers_nothing(token: str, signed: Provider, browser: Client) -> None:
    begin(browser, signed)
    refused(browser.get(f"{CALLBACK}?{urlencode({'response': token})}"), "state_missing")
    assert AuthorizationRequest.objects.get().taken_at is None


def test_a_refusal_is_signed_too_and_nothing_changes(
    signed: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.oauth2.denies = True
    refused(walk(browser, signed), "access_denied")
    assert not Connection.objects.exists()


def test_the_issuer_in_the_token_is_the_one_that_was_promised(
    signed: Provider, fake: FakeProvider, browser: Client
) -> None:
    signed.authorization_response_iss_parameter_supported = True
    signed.save()
    assert walk(browser, signed).status_code == 303


def test_without_the_keys_nobody_can_tell_and_nothing_is_sent(
    signed: Provider, fake: FakeProvider, browser: Client
) -> None:
    back = begin(browser, signed)
    fake.script("jwks", Answer(503))
    refused(answer(browser, back), "keys_unavailable")
    nothing_happened(fake)


@pytest.mark.parametrize("column", ["issuer", "jwks_uri"])
def test_a_row_needs_what_it_takes_to_verify(
    column: str, signed: Provider, browser: Client, fake: FakeProvider
) -> None:
    setattr(signed, column, "")
    with pytest.raises(ValidationError) as caught:
        signed.clean()
    assert list(caught.value.message_dict) == [column]
    signed.save()
    refused(answer(browser, consent(browser.post("/oauth/connect/fake/")["Location"])), "signed_response_invalid")
    nothing_happened(fake)
