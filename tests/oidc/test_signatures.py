"""Who has signed: algorithms, keys and headers."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from django_oauth_flows.exceptions import TokenEndpointError
from django_oauth_flows.protocol.algorithms import FAMILIES
from django_oauth_flows.testing.openid import SigningKey, assemble, b64, half_hash, nameless, new_key
from tests.oidc.tokens import ACCESS, Verifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_oauth_flows.testing import FakeProvider

SIGNED = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


@pytest.fixture
def verifier(fake: FakeProvider) -> Verifier:
    """Return a client that knows the fake's keys."""
    return Verifier(fake)


def refuses(verifier: Verifier, token: str) -> bool:
    """Tell whether a token is refused for what it is."""
    with pytest.raises(TokenEndpointError) as raised:
        verifier.verify(token)
    return raised.value.code == "id_token_invalid"


def using(verifier: Verifier, algorithm: str) -> Verifier:
    """Let the fake sign with this, and the client be registered for it."""
    key = new_key(1, algorithm) if algorithm[:2] in ("ES", "Ed") else SigningKey(new_key(1).private, algorithm)
    verifier.fake.openid.keys = [key]
    verifier.dialect = {"id_token_signed_response_alg": algorithm}
    return verifier


@pytest.mark.security("I05")
@pytest.mark.parametrize("algorithm", SIGNED)
def test_every_algorithm_verifies_and_no_flipped_bit_passes(algorithm: str, verifier: Verifier) -> None:
    client = using(verifier, algorithm)
    token = client.fake.openid.sign(client.claims(at_hash=half_hash(ACCESS, FAMILIES[algorithm].digest)))
    assert client.verify(token)["sub"] == "account-1"
    head, body, signature = token.split(".")
    other = "A" if signature[5] != "A" else "B"
    assert refuses(client, f"{head}.{body}.{signature[:5]}{other}{signature[6:]}")
    assert refuses(client, f"{head}.{body}.")
    forged = b64(json.dumps(client.claims(sub="account-2")).encode())
    assert refuses(client, f"{head}.{forged}.{signature}")


@pytest.mark.security("I05")
def test_a_shared_secret_verifies_if_it_is_long_enough_to_be_a_key(verifier: Verifier) -> None:
    client = verifier.with_dialect(id_token_signed_response_alg="HS256")
    client.fake.openid.shared_secret = client.fake.oauth2.client_secret
    token = client.fake.openid.sign(client.claims())
    assert client.verify(token)
    assert refuses(client, token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB"))
    client.fake.oauth2.client_secret = client.fake.openid.shared_secret = "short"
    assert refuses(client, _hs256({"alg": "HS256"}, client.claims(), b"short"))
    assert client.fake.requests == []


@pytest.mark.security("I05", "I07")
def test_a_key_of_another_curve_verifies_nothing_though_the_set_says_it_does(verifier: Verifier) -> None:
    client = using(verifier, "ES256")
    wrong = new_key(1, "ES384")
    client.fake.openid.published = {"keys": [{**wrong.public(), "alg": "ES256"}]}
    assert refuses(client, assemble({"alg": "ES256", "kid": wrong.kid}, client.claims(), wrong.private, "ES384"))


@pytest.mark.security("I05")
def test_an_elliptic_signature_in_der_is_refused(verifier: Verifier) -> None:
    client = using(verifier, "ES256")
    head, body, signature = client.fake.openid.sign(client.claims()).split(".")
    raw = _bytes(signature)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    assert refuses(client, f"{head}.{body}.{b64(der)}")


@pytest.mark.security("I06")
@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "", None, ..., ["RS256"], 0])
@pytest.mark.parametrize("signed", [True, False])
def test_an_unsigned_token_is_refused_whatever_it_calls_itself(
    algorithm: Any, signed: bool, verifier: Verifier
) -> None:
    key = verifier.fake.openid.key
    header = {"kid": key.kid, **({} if algorithm is ... else {"alg": algorithm})}
    token = assemble(header, verifier.claims(), key.private, "RS256")
    assert refuses(verifier, token if signed else token.rpartition(".")[0] + ".")


PUBLIC_AS_SECRET: dict[str, Callable[[Any, Any], bytes]] = {
    "pem": lambda key, jwk: key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "pkcs1": lambda key, jwk: key.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
    "der": lambda key, jwk: key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "jwk": lambda key, jwk: json.dumps(jwk).encode(),
    "bom": lambda key, jwk: b"\xef\xbb\xbf" + key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
}


@pytest.mark.security("I07")
@pytest.mark.parametrize("spelled", PUBLIC_AS_SECRET.values(), ids=PUBLIC_AS_SECRET)
def test_a_public_key_is_no_shared_secret(spelled: Callable[[Any, Any], bytes], verifier: Verifier) -> None:
    key = verifier.fake.openid.key
    secret = spelled(key.private.public_key(), key.public())
    token = _hs256({"alg": "HS256", "kid": key.kid}, verifier.claims(), secret)
    assert refuses(verifier, token)
    assert refuses(verifier.with_dialect(id_token_signed_response_alg="HS256"), token)


@pytest.mark.security("I07")
@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "RS256 ", "rs256"])
def test_one_algorithm_is_registered_and_its_relatives_are_not(algorithm: str, verifier: Verifier) -> None:
    key = verifier.fake.openid.key
    signs = algorithm if algorithm in SIGNED else "RS256"
    assert refuses(verifier, assemble({"alg": algorithm, "kid": key.kid}, verifier.claims(), key.private, signs))


@pytest.mark.security("I07")
@pytest.mark.parametrize(
    "change",
    [{"alg": "RS512"}, {"use": "enc"}, {"key_ops": ["encrypt"]}, {"key_ops": "verify"}, {"kty": "EC"}, {"kty": "oct", "k": "AAAA"}, {"n": "AQAB"}],
)  # fmt: skip
def test_a_key_that_is_for_something_else_verifies_nothing(change: dict[str, Any], verifier: Verifier) -> None:
    good = verifier.fake.openid.key
    spare = new_key(3).public()
    verifier.fake.openid.published = {"keys": [{**good.public(), **change}, spare]}
    assert refuses(verifier, verifier.fake.openid.sign(verifier.claims()))


@pytest.mark.security("I07")
def test_a_short_rsa_key_verifies_nothing(verifier: Verifier) -> None:
    short = SigningKey(rsa.generate_private_key(public_exponent=65537, key_size=1024))  # noqa: S505 - that is the point
    verifier.fake.openid.keys = [short]
    assert refuses(verifier, verifier.fake.openid.sign(verifier.claims()))


@pytest.mark.security("I08")
def test_a_token_without_kid_is_tried_with_the_keys_that_could_have_made_it(verifier: Verifier) -> None:
    signer = new_key(1)
    verifier.fake.openid.signing_key = nameless(signer)
    verifier.fake.openid.keys = [new_key(1, "ES256"), new_key(2), signer]
    assert verifier.check()
    verifier.fake.openid.signing_key = nameless(new_key(9))
    assert refuses(verifier, verifier.fake.openid.sign(verifier.claims()))


@pytest.mark.security("I08")
def test_keys_that_share_a_kid_are_all_tried(verifier: Verifier) -> None:
    signer = new_key(1)
    twin = SigningKey(new_key(2).private, "RS256", signer.kid)
    verifier.fake.openid.keys = [twin, signer]
    verifier.fake.openid.signing_key = signer
    assert verifier.check()


@pytest.mark.security("I08")
@pytest.mark.parametrize("kid", ["../../x", "unknown", "", "x" * 257, "x" * 100_000, ["key-1"], None, 1, {"a": 1}])
def test_an_odd_kid_finds_no_key(kid: Any, verifier: Verifier) -> None:
    verifier.fake.openid.keys = [new_key(1), new_key(2)]
    key = verifier.fake.openid.key
    assert refuses(verifier, assemble({"alg": "RS256", "kid": kid}, verifier.claims(), key.private, "RS256"))


@pytest.mark.security("I08")
def test_no_more_than_twenty_keys_are_looked_at(verifier: Verifier) -> None:
    signer = new_key(1)
    verifier.fake.openid.signing_key = signer
    others = [{**new_key(2).public(), "kid": f"other-{number}"} for number in range(30)]
    verifier.fake.openid.published = {"keys": [*others[:19], signer.public()]}
    assert verifier.check()
    verifier.fake.openid.published = {"keys": [*others[:20], signer.public()]}
    from django_oauth_flows.protocol import jwks

    jwks.CACHE._kept.clear()
    assert refuses(verifier, verifier.fake.openid.sign(verifier.claims()))


HEADERS: dict[str, dict[str, Any]] = {
    "crit": {"crit": ["exp"]},
    "empty crit": {"crit": []},
    "b64": {"b64": False, "crit": ["b64"]},
    "b64 alone": {"b64": True},
    "zip": {"zip": "DEF"},
    "nested": {"cty": "JWT"},
    "access token": {"typ": "at+jwt"},
    "logout token": {"typ": "logout+jwt"},
    "typ is a list": {"typ": ["JWT"]},
}


@pytest.mark.security("I11")
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_that_changes_what_the_token_is_is_refused(header: dict[str, Any], verifier: Verifier) -> None:
    key = verifier.fake.openid.key
    full = {"alg": "RS256", "kid": key.kid, **header}
    assert refuses(verifier, assemble(full, verifier.claims(), key.private, "RS256"))


@pytest.mark.security("I11")
def test_keys_and_addresses_that_a_token_brings_along_are_not_looked_at(verifier: Verifier) -> None:
    own, fake = new_key(5), verifier.fake
    brought = {"jwk": own.public(), "jku": f"{fake.url}/api/keys", "x5u": f"{fake.url}/api/chain", "x5c": ["AAAA"]}
    for kid in (own.kid, "key-1", ...):
        header = {"alg": "RS256", **brought, **({} if kid is ... else {"kid": kid})}
        assert refuses(verifier, assemble(header, verifier.claims(), own.private, "RS256"))
    honest = {"alg": "RS256", "kid": "key-1", **brought}
    assert verifier.verify(assemble(honest, verifier.claims(), fake.openid.key.private, "RS256"))
    assert {request.path for request in fake.requests} == {"/jwks"}


def _hs256(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    signing_input = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    return f"{signing_input}.{b64(hmac.digest(secret, signing_input.encode(), hashlib.sha256))}"


def _bytes(segment: str) -> bytes:
    import base64

    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


@pytest.mark.security("I13")
def test_one_signature_has_one_spelling(verifier: Verifier) -> None:
    token = verifier.fake.openid.sign(verifier.claims())
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]  # a bit that stands for nothing
    assert _bytes(other.rpartition(".")[2]) == _bytes(token.rpartition(".")[2])
    assert refuses(verifier, other)
    assert verifier.verify(token)


@pytest.mark.security("I07")
@pytest.mark.parametrize(("algorithm", "curve"), [("ES256", "P-384"), ("ES384", "P-256"), ("EdDSA", "X25519")])
def test_an_algorithm_admits_keys_of_its_own_curve(algorithm: str, curve: str) -> None:
    family = FAMILIES[algorithm]
    assert family.admits({"kty": family.kind, "crv": family.curve})
    assert not family.admits({"kty": family.kind, "crv": curve})
