"""What an ID token must say, claim by claim: group I of the security rows."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows.exceptions import TokenEndpointError
from django_oauth_flows.testing.openid import assemble, b64, half_hash
from tests.oidc.tokens import ACCESS, CODE, Verifier

if TYPE_CHECKING:
    from django_oauth_flows.testing import FakeProvider

ISSUERS: dict[str, Any] = {
    "wrong": lambda own: "https://attacker.example",
    "missing": lambda own: ...,
    "null": lambda own: None,
    "prefix": lambda own: own[:-1],
    "longer": lambda own: own + "1",
    "trailing slash": lambda own: own + "/",
    "upper case": lambda own: own.upper(),
    "list": lambda own: [own],
    "template": lambda own: own + "/{tenantid}/v2.0",
}


@pytest.fixture
def verifier(fake: FakeProvider) -> Verifier:
    """Return a client that knows the fake's keys."""
    return Verifier(fake)


def refused(verifier: Verifier, **changes: Any) -> str:
    """Return why changed claims are refused."""
    with pytest.raises(TokenEndpointError) as raised:
        verifier.check(**changes)
    assert raised.value.code == "id_token_invalid"
    return raised.value.message


def test_an_honest_token_is_believed(verifier: Verifier) -> None:
    assert verifier.check()["sub"] == "account-1"


@pytest.mark.security("I01")
@pytest.mark.parametrize("issuer", ISSUERS.values(), ids=ISSUERS)
def test_the_issuer_is_the_configured_one_and_nothing_like_it(issuer: Any, verifier: Verifier) -> None:
    assert "another issuer" in refused(verifier, iss=issuer(verifier.fake.url), tid="foreign")


@pytest.mark.security("I02")
@pytest.mark.parametrize(
    "audience", ["other", ..., None, 7, "fake", [], ["fake-client", "other"], ["fake-client"] * 2, [None]]
)
def test_the_audience_is_this_client_alone(audience: Any, verifier: Verifier) -> None:
    assert "another client" in refused(verifier, aud=audience)


@pytest.mark.security("I02", "I03")
def test_one_audience_may_stand_in_a_list_and_azp_may_repeat_it(verifier: Verifier) -> None:
    assert verifier.check(aud=["fake-client"], azp="fake-client")
    for party in ("other", None, ["fake-client"]):
        assert "another client" in refused(verifier, azp=party)


@pytest.mark.security("I03")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exp", ...), ("exp", -301), ("exp", -60), ("exp", "string"), ("exp", "float"), ("exp", True), ("exp", None), ("exp", 10**30),
        ("nbf", 3600), ("nbf", "string"), ("iat", ...), ("iat", 3600), ("iat", -7 * 86400), ("iat", "float"), ("iat", [1]),
    ],
)  # fmt: skip
def test_the_times_are_whole_numbers_and_now(name: str, value: Any, verifier: Verifier) -> None:
    now = int(verifier.now)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9:
        value = now + value
    refused(
        verifier,
        **{name: {"string": str(now + 60), "float": now + 0.5}.get(value, value) if isinstance(value, str) else value},
    )


@pytest.mark.security("I03")
def test_a_number_that_no_float_holds_is_refused(verifier: Verifier) -> None:
    body = json.dumps(verifier.claims(exp=0)).replace('"exp": 0', '"exp": 1e400').encode()
    key = verifier.fake.openid.key
    with pytest.raises(TokenEndpointError, match="cannot be read"):
        verifier.verify(assemble({"alg": "RS256", "kid": key.kid}, body, key.private, "RS256"))


@pytest.mark.security("I03")
def test_clocks_may_differ_by_what_the_dialect_says(verifier: Verifier) -> None:
    now = int(verifier.now)
    assert verifier.check(exp=now - 59, iat=now - 300, nbf=now + 59)
    lenient = verifier.with_dialect(clock_skew=300)
    assert lenient.check(exp=now - 299, iat=now + 299)
    assert "expired" in refused(lenient, exp=now - 300)
    strict = verifier.with_dialect(clock_skew=0)
    assert "expired" in refused(strict, exp=now)


@pytest.mark.security("I04")
@pytest.mark.parametrize("nonce", ["another", ..., None, "", ["the-nonce-of-this-login"], "the-nonce-of-this-login "])
def test_the_nonce_is_this_logins(nonce: Any, verifier: Verifier) -> None:
    assert "another login" in refused(verifier, nonce=nonce)


@pytest.mark.security("I12")
@pytest.mark.parametrize("name", ["at_hash", "c_hash"])
@pytest.mark.parametrize("value", [half_hash("another"), "", None, half_hash(ACCESS, "sha512"), 7])
def test_a_hash_of_another_token_or_code_is_refused(name: str, value: Any, verifier: Verifier) -> None:
    assert "another token" in refused(verifier, **{name: value})


@pytest.mark.security("I12")
def test_hashes_may_be_left_out_and_follow_the_algorithm(verifier: Verifier) -> None:
    from django_oauth_flows.testing.openid import new_key

    assert verifier.check(at_hash=..., c_hash=half_hash(CODE))
    verifier.fake.openid.keys = [new_key(1, "ES384")]
    verifier.dialect = {"id_token_signed_response_alg": "ES384"}
    assert verifier.check(at_hash=half_hash(ACCESS, "sha384"))
    refused(verifier, at_hash=half_hash(ACCESS, "sha256"))


@pytest.mark.security("I16")
@pytest.mark.parametrize(
    "subject", [..., None, "", 0, 1.0, True, "x" * 256, ["a"], {}, "a\u0000b", "a\u202eb", "\ud800"]
)
def test_a_subject_is_a_text_that_can_be_kept(subject: Any, verifier: Verifier) -> None:
    assert "whom it is about" in refused(verifier, sub=subject)


def test_a_recent_login_that_was_demanded_must_have_been(verifier: Verifier) -> None:
    now = int(verifier.now)
    asking = verifier.with_dialect(authorization_parameters={"max_age": "600"})
    assert asking.check(auth_time=now - 600)
    for moment in (now - 700, ..., str(now)):
        refused(asking, auth_time=moment)
    assert verifier.check(auth_time=0)


MALFORMED: dict[str, Any] = {
    "no segments": "abc",
    "2 segments": "e30.e30",
    "4 segments": "e30.e30.e30.e30",
    "5 segments, encrypted": b64(json.dumps({"alg": "RSA1_5", "enc": "A128CBC-HS256"}).encode()) + ".a.b.c.d",
    "a million dots": "." * 1_000_000,
    "1 MB": "a" * 500_000 + "." + "b" * 500_000 + ".c",
    "bad base64": "!!!.e30.e30",
    "padded base64": "e30=.e30.e30",
    "bits that stand for nothing": "e31.e30.e30",
    "not ASCII": "é.e30.e30",
    "empty": "..",
    "deep header": b64(b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}") + ".e30.e30",
    "deeper than the stack": b64(b"[" * 45_000) + ".e30.e30",
    "header is a list": b64(b"[]") + ".e30.e30",
    "header is no UTF-8": b64(b'{"alg":"\xff"}') + ".e30.e30",
    "alg twice": b64(b'{"alg":"RS256","alg":"none"}') + ".e30.",
}


@pytest.mark.security("I13")
@pytest.mark.parametrize("token", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_token_is_refused_at_once_and_costs_little(token: str, verifier: Verifier) -> None:
    verifier.check()  # with everything loaded, and the keys there
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(TokenEndpointError) as raised:
        verifier.verify(token)
    spent, peak = time.perf_counter() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert raised.value.code == "id_token_invalid"
    assert spent < 0.05
    assert peak < 8 * 1024 * 1024
    assert verifier.fake.count("jwks") == 1


@pytest.mark.security("I13")
@pytest.mark.parametrize(
    "body", [b"[]", b"null", b"{", b'{"a":NaN}', b"{}}", b"\xff\xfe", b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"]
)
def test_claims_that_cannot_be_read_are_refused_though_they_are_signed(body: bytes, verifier: Verifier) -> None:
    key = verifier.fake.openid.key
    with pytest.raises(TokenEndpointError, match="cannot be read"):
        verifier.verify(assemble({"alg": "RS256", "kid": key.kid}, body, key.private, "RS256"))


@pytest.mark.security("I13", "I01")
def test_a_claim_that_occurs_twice_is_refused_though_it_is_signed(verifier: Verifier) -> None:
    key = verifier.fake.openid.key
    body = json.dumps(verifier.claims())[:-1] + ', "sub": "account-2"}'
    with pytest.raises(TokenEndpointError, match="cannot be read"):
        verifier.verify(assemble({"alg": "RS256", "kid": key.kid}, body.encode(), key.private, "RS256"))


def test_no_message_repeats_what_the_token_says(verifier: Verifier) -> None:
    for changes in ({"iss": "https://leak.example"}, {"aud": "leak"}, {"sub": ""}, {"nonce": "leak"}):
        assert "leak" not in refused(verifier, **changes)
