"""Proofs of possession as values: the RFCs' own examples, challenges however they are spelled, and what is remembered."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest

from django_oauth_flows.protocol import dpop, keys
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing.dpop import ProofChecker, ProofRefused, thumbprint
from django_oauth_flows.testing.server import Received

TOKEN_PROOF = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFV"
    "ZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VT"
    "YzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP"
    "4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
)
"""RFC 9449 figure 2: a proof at a token endpoint."""
API_PROOF = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFV"
    "ZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9i"
    "S2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2"
    "MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemA"
    "gR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)
"""RFC 9449 figure 12: a proof at an API."""
API_TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
API_URL = "https://resource.example.org/protectedresource"
JKT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
"""RFC 9449 §6.1: the thumbprint of the key in both."""

RFC_7638_KEY = {
    "kty": "RSA",
    "n": (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64t"
        "Z_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbO"
        "pbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    ),
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}


def parts(proof: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims, unverified."""
    head, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in proof.split(".")[:2])
    return head, claims


def received(proof: str, method: str, url: str) -> Received:
    """Return a request as it arrives with a proof."""
    return Received(method, url, {"dpop": proof}, b"")


@pytest.mark.rfc("9449", "4")
def test_our_proofs_have_the_shape_of_the_examples() -> None:
    key = dpop.new_key()
    ours = dpop.proof(key, method="POST", url="https://server.example.com/token?a=1#b", now=1562262616)
    for proof, example, more in (
        (ours, TOKEN_PROOF, set()),
        (dpop.proof(key, method="GET", url=API_URL, now=1562262618, token=Secret(API_TOKEN)), API_PROOF, {"ath"}),
    ):
        (head, claims), (their_head, their_claims) = parts(proof), parts(example)
        assert head.keys() == their_head.keys()
        assert {**head, "jwk": 0} == {**their_head, "jwk": 0}
        assert head["jwk"].keys() == their_head["jwk"].keys()
        assert {**claims, "jti": 0} == {**their_claims, "jti": 0}
        assert claims.keys() == {"jti", "htm", "htu", "iat", *more}
        jwt.decode(proof, jwt.PyJWK(head["jwk"]).key, algorithms=["ES256"], options={"verify_iat": False})
        assert thumbprint(head["jwk"]) == dpop.thumbprint_of(key)
        assert key.reveal() not in proof
    with_nonce = dpop.proof(key, method="POST", url="https://server.example.com/token", now=1, nonce="eyJ7S_zG.eyJH0-Z")
    assert parts(with_nonce)[1]["nonce"] == "eyJ7S_zG.eyJH0-Z"


@pytest.mark.rfc("9449", "4.2")
def test_the_hash_of_the_token_is_that_of_the_example() -> None:
    assert dpop.hash_of(Secret(API_TOKEN)) == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"


@pytest.mark.rfc("7638", "3.1")
@pytest.mark.rfc("9449", "6.1")
def test_thumbprints_are_those_of_the_examples() -> None:
    assert keys.thumbprint(RFC_7638_KEY) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert keys.thumbprint(parts(TOKEN_PROOF)[0]["jwk"]) == JKT


@pytest.mark.rfc("9449", "4.3")
def test_the_fake_takes_the_examples_at_their_time_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_oauth_flows.testing.dpop.time.time", lambda: 1562262617.0)
    checker = ProofChecker()
    assert checker.check(received(TOKEN_PROOF, "POST", "https://server.example.com/token")) == JKT
    assert checker.check(received(API_PROOF, "GET", API_URL), token=API_TOKEN) == JKT
    for proof, method, url, token in (
        (TOKEN_PROOF, "POST", "https://server.example.com/token", ""),  # once more
        (TOKEN_PROOF, "GET", "https://server.example.com/token", ""),
        (TOKEN_PROOF, "POST", "https://server.example.com/revoke", ""),
        (TOKEN_PROOF, "POST", "https://server.example.com/token", API_TOKEN),
        (TOKEN_PROOF[:-8] + "AAAAAAAA", "POST", "https://server.example.com/token", ""),
        (API_PROOF, "GET", API_URL, "another"),
        ("", "GET", API_URL, API_TOKEN),
        ("a.b.c", "GET", API_URL, API_TOKEN),
    ):
        with pytest.raises(ProofRefused) as refused:
            checker.check(received(proof, method, url), token=token)
        assert refused.value.error == "invalid_dpop_proof"
    monkeypatch.setattr("django_oauth_flows.testing.dpop.time.time", lambda: 1562262616.0 + 61)
    with pytest.raises(ProofRefused, match="moment"):
        ProofChecker().check(received(TOKEN_PROOF, "POST", "https://server.example.com/token"))


@pytest.mark.security("T19")
@pytest.mark.rfc("9449", "9")
@pytest.mark.parametrize(
    ("challenge", "asks"),
    [
        ('DPoP error="use_dpop_nonce", error_description="Resource server requires nonce in DPoP proof"', True),
        ('dPOP error="use_dpop_nonce"', True),
        ("dpop error=use_dpop_nonce", True),
        ('DPoP algs="ES256 PS256", ERROR = "use_dpop_nonce"', True),
        ('Bearer realm="x", DPoP error="use_dpop_nonce", algs="ES256"', True),
        ('DPoP error="invalid_token"', False),
        ('DPoP error="use_dpop_nonces"', False),
        ('Bearer error="use_dpop_nonce"', False),
        ('XDPoP error="use_dpop_nonce"', False),
        ("", False),
    ],
)
def test_a_challenge_is_understood_however_it_is_spelled(challenge: str, *, asks: bool) -> None:
    headers = {"www-authenticate": challenge, "dpop-nonce": "nonce"}
    assert dpop.asks_for_nonce(headers) is asks


@pytest.mark.security("T19")
@pytest.mark.parametrize("nonce", [None, "", "two words", 'quo"te', "back\\slash", "a, b", "é", "n" * 1001, "\x00"])
def test_a_challenge_without_a_nonce_that_can_be_one_asks_for_nothing(nonce: str | None) -> None:
    headers = {"www-authenticate": 'DPoP error="use_dpop_nonce"', **({} if nonce is None else {"dpop-nonce": nonce})}
    assert not dpop.asks_for_nonce(headers)
    assert dpop.blames_proof(headers)
    key = dpop.new_key()
    dpop.learn(headers, "https://a.example/x", key, at_api=True)
    assert dpop._nonces.of("https://a.example/x", key, at_api=True) == ""


@pytest.mark.security("T19")
def test_a_nonce_is_for_one_server_and_one_key_and_few_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dpop, "MAX_NONCES", 3)
    mine, theirs = dpop.new_key(), dpop.new_key()
    cache = dpop.NonceCache()
    cache.keep("first", "https://a.example/token", mine, at_api=False)
    cache.keep("newer", "https://A.example/other?x", mine, at_api=False)
    assert cache.of("https://a.example/", mine, at_api=False) == "newer"
    for url, key, at_api in (
        ("https://a.example/", theirs, False),
        ("https://a.example/", mine, True),
        ("http://a.example/", mine, False),
        ("https://a.example:8443/", mine, False),
        ("https://b.example/", mine, False),
    ):
        assert cache.of(url, key, at_api=at_api) == ""
        cache.keep("other", url, key, at_api=at_api)
    assert cache.of("https://a.example/", mine, at_api=False) == ""  # the first to be forgotten
    assert cache.of("https://b.example/", mine, at_api=False) == "other"
    assert len(cache._kept) == 3


@pytest.mark.parametrize("damaged", ["", "canary_key", "AAAA", "MC4CAQAwBQYDK2VwBCIEIA"])
def test_what_is_no_key_is_refused_without_being_shown(damaged: str) -> None:
    with pytest.raises(keys.ConfigurationError) as caught:
        dpop.proof(Secret(damaged), method="GET", url="https://a.example/", now=0)
    assert caught.value.code == "private_key_invalid"
    assert "canary" not in str(caught.value)
