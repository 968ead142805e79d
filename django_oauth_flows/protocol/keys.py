"""Private keys: a provider's is parsed once, since parsing an RSA key costs fifty times what signing does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

NEW_RSA = 3072
"""Bits of a new RSA key."""

_DIGESTS: dict[str, type[hashes.SHA1 | hashes.SHA256 | hashes.SHA512]] = {
    "SHA1": hashes.SHA1,
    "SHA256": hashes.SHA256,
    "SHA512": hashes.SHA512,
}

_CURVES: dict[str, tuple[str, str, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]]] = {
    "secp256r1": ("P-256", "ES256", hashes.SHA256),
    "secp384r1": ("P-384", "ES384", hashes.SHA384),
    "secp521r1": ("P-521", "ES512", hashes.SHA512),
}
"""Curve → its name in a JWK, its algorithm, its digest. RFC 7518 §3.4."""


def sign_rsa(private_key: Secret, digest: str, message: str) -> str:
    """Return the base64 RSASSA-PKCS1-v1_5 signature of ``message``. RFC 5849 §3.4.3.

    Raises :class:`ConfigurationError` (``private_key_invalid``) if the PEM holds no RSA key.
    """
    key = _load(private_key)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise _unusable("The provider's private key is not an unencrypted RSA key in PEM.")
    signature = key.sign(message.encode(), padding.PKCS1v15(), _DIGESTS[digest]())
    return base64.b64encode(signature).decode()


def sign_jwt(
    private_key: Secret, claims: Mapping[str, Any], *, algorithm: str = "", kind: str = "JWT", key_id: str = ""
) -> str:
    """Return ``claims`` signed with the key, ``kind`` as ``typ``; ``key_id`` defaults to its thumbprint. RFC 7515 §3.1.

    ``algorithm`` defaults to that of the key's kind; an RSA key signs by RS256 or PS256. Raises :class:`ConfigurationError`
    (``private_key_invalid``) unless the PEM holds an RSA, EC or Ed25519 key that signs by it.
    """
    key = _load(private_key)
    members, usual = _members(key)
    chosen = algorithm or usual
    if chosen != usual and (usual, chosen) != ("RS256", "PS256"):
        raise _unusable(f"The provider's private key cannot sign by {chosen}.")
    signing_input = _signing_input({"alg": chosen, "typ": kind, "kid": key_id or thumbprint(members)}, claims)
    return f"{signing_input}.{_b64(_signature(key, signing_input.encode(), chosen))}"


def sign_jwt_with_secret(secret: Secret, claims: Mapping[str, Any]) -> str:
    """Return ``claims`` signed with HMAC-SHA256. RFC 7518 §3.2."""
    signing_input = _signing_input({"alg": "HS256", "typ": "JWT"}, claims)
    digest = hmac.digest(secret.reveal().encode(), signing_input.encode(), "sha256")
    return f"{signing_input}.{_b64(digest)}"


def new_ec_key() -> Secret:
    """Return a new key for ES256, as base64url of its DER: one word, as tokens are. RFC 7518 §3.4."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Secret(_b64(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())))


def sign_shown(ec_key: Secret, claims: Mapping[str, Any], *, kind: str) -> str:
    """Return ``claims`` signed with what :func:`new_ec_key` made, shown in the header; ``kind`` is the ``typ``. RFC 7515 §4.1.

    Raises :class:`ConfigurationError` (``private_key_invalid``) for what is no such key.
    """
    key = _ec_key(ec_key)
    members, algorithm = _members(key)
    signing_input = _signing_input({"typ": kind, "alg": algorithm, "jwk": members}, claims)
    return f"{signing_input}.{_b64(_signature(key, signing_input.encode(), algorithm))}"


def shown_thumbprint(ec_key: Secret) -> str:
    """Return the thumbprint of what :func:`new_ec_key` made; raise as :func:`sign_shown` does."""
    return thumbprint(_members(_ec_key(ec_key))[0])


def public_jwk(private_key: Secret, *algorithms: str) -> dict[str, str]:
    """Return the public half as a JWK with ``use``, ``alg`` and ``kid``, the thumbprint. RFC 7517 §4.

    ``algorithms`` are those that it signs by, "" or none for that of its kind; a key that has several names none.

    Raises :class:`ConfigurationError` (``private_key_invalid``) unless the PEM holds an RSA, EC or Ed25519 key.
    """
    members, usual = _members(_load(private_key))
    used = {algorithm or usual for algorithm in algorithms} or {usual}
    named = {"alg": used.pop()} if len(used) == 1 else {}
    return {**members, "use": "sig", **named, "kid": thumbprint(members)}


def new_private_key(algorithm: str) -> Secret:
    """Return a new private key that signs by ``algorithm``, in PEM: RSA of 3072 bits, an EC key, or Ed25519."""
    key: SigningKey
    if algorithm in ("RS256", "PS256"):
        key = rsa.generate_private_key(public_exponent=65537, key_size=NEW_RSA)
    elif algorithm == "EdDSA":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        curves: dict[str, ec.EllipticCurve] = {
            "ES256": ec.SECP256R1(),
            "ES384": ec.SECP384R1(),
            "ES512": ec.SECP521R1(),
        }
        key = ec.generate_private_key(curves[algorithm])
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the members that make the key, so that everybody names it alike. RFC 7638 §3."""
    required = {"RSA": ("e", "kty", "n"), "EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x")}[jwk["kty"]]
    canonical = json.dumps({name: jwk[name] for name in required}, separators=(",", ":"), sort_keys=True)
    return _b64(hashlib.sha256(canonical.encode()).digest())


def _members(key: SigningKey) -> tuple[dict[str, str], str]:
    """Return the public members of a JWK, and the algorithm that the key signs by."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        n, e = (
            _b64(_bytes(numbers.n, (key.key_size + 7) // 8)),
            _b64(_bytes(numbers.e, (numbers.e.bit_length() + 7) // 8)),
        )
        return {"kty": "RSA", "n": n, "e": e}, "RS256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": _b64(key.public_key().public_bytes_raw())}, "EdDSA"
    name, algorithm, _ = _CURVES[key.curve.name]
    point, size = key.public_key().public_numbers(), (key.curve.key_size + 7) // 8
    return {"kty": "EC", "crv": name, "x": _b64(_bytes(point.x, size)), "y": _b64(_bytes(point.y, size))}, algorithm


def _signature(key: SigningKey, message: bytes, algorithm: str) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey) and algorithm == "PS256":  # RFC 7518 §3.5: as long a salt as the digest
        return key.sign(message, padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size), hashes.SHA256())
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(_CURVES[key.curve.name][2]())))
    size = (key.curve.key_size + 7) // 8
    return _bytes(r, size) + _bytes(s, size)  # RFC 7518 §3.4: both numbers at full length, not DER


def _signing_input(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    return ".".join(_b64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))


def _bytes(number: int, size: int) -> bytes:
    return number.to_bytes(size, "big")


def _b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _ec_key(secret: Secret) -> ec.EllipticCurvePrivateKey:
    """Parse a key that is one of very many and soon parsed: it is not kept."""
    try:
        raw = base64.b64decode(secret.reveal() + "==", altchars=b"-_")
        key = load_der_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _unusable("The key that the token is bound to cannot be read.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _unusable("The key that the token is bound to is of another kind.")
    return key


@lru_cache(maxsize=64)
def _load(private_key: Secret) -> SigningKey:
    try:
        key = load_pem_private_key(private_key.reveal().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _unusable("The provider's private key is not an unencrypted key in PEM.") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, rsa.RSAPrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return key
    raise _unusable("The provider's private key is of a kind that is not used here.")


def _unusable(message: str) -> ConfigurationError:
    return ConfigurationError(message, code="private_key_invalid", hint="Paste the whole PEM, from BEGIN to END.")
