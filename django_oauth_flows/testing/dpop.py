"""What the fake provider makes of proofs of possession: each is checked as RFC 9449 §4.3 says, by other code than ours."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from typing import TYPE_CHECKING, Any

from django_oauth_flows.testing.faults import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.testing.server import Received

WINDOW = 60
"""Seconds by which the moment of a proof may differ from ours."""

_KEY_MEMBERS = {"kty", "crv", "x", "y"}


class ProofRefused(Exception):
    """Raise with the error's code and the headers that go with it."""

    def __init__(self, error: str, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error, reason)
        self.error, self.reason, self.headers = error, reason, dict(headers or {})


class ProofChecker:
    """One server's view of proofs; switches say whether it wants nonces, which are for one key each."""

    def __init__(self) -> None:
        self.demands_nonces = False
        self.rotates_nonces = False  # each nonce is good for one request; the answer names the next
        self.scheme = "DPoP"  # as it is spelled in challenges
        self._nonces: dict[str, str] = {}  # by the key's thumbprint
        self._used: set[str] = set()

    def forget_nonces(self) -> None:
        """Take no nonce that was given out before."""
        self._nonces.clear()

    def check(self, request: Received, *, token: str = "") -> str:
        """Return the thumbprint of the key that a request is proven with; raise :class:`ProofRefused`.

        ``token``: the access token that the proof has to be about.
        """
        jwk, claims = _verified(request.headers.get("dpop", ""))
        if claims.get("htm") != request.method or claims.get("htu") != request.url.partition("?")[0]:
            raise _invalid("it is for another request")
        if not isinstance(claims.get("iat"), int) or abs(time.time() - claims["iat"]) > WINDOW:
            raise _invalid("it is not of this moment")
        if not isinstance(claims.get("jti"), str) or claims["jti"] in self._used:
            raise _invalid("it has been used")
        if claims.get("ath") != (hash_of(token) if token else None):
            raise _invalid("it is about another token")
        key = thumbprint(jwk)
        if self.demands_nonces and ("nonce" not in claims or claims["nonce"] != self._nonces.get(key)):
            raise ProofRefused("use_dpop_nonce", "the nonce is missing or old", self._next_nonce(key))
        self._used.add(claims["jti"])
        return key

    def check_bound(self, request: Received, scheme: str, token: str, *, key: str) -> None:
        """Raise :class:`ProofRefused` unless a token is presented as one that is bound to ``key``, by who has it."""
        if scheme.lower() != "dpop" or self.check(request, token=token) != key:
            raise ProofRefused("invalid_token", "the token is bound to another key")

    def headers(self, key: str) -> dict[str, str]:
        """Return what a good answer says of nonces to a key."""
        return self._next_nonce(key) if self.demands_nonces and self.rotates_nonces else {}

    def challenge(self, refused: ProofRefused) -> Answer:
        """Answer an API call as RFC 9449 §7.1 and §9 say."""
        challenge = f'{self.scheme} error="{refused.error}", error_description="{refused.reason}", algs="ES256"'
        return Answer(401, {"error": refused.error}, {"WWW-Authenticate": challenge, **refused.headers})

    def _next_nonce(self, key: str) -> dict[str, str]:
        self._nonces[key] = secrets.token_urlsafe(12)
        return {"DPoP-Nonce": self._nonces[key]}


def hash_of(token: str) -> str:
    """Return ``ath`` of a token."""
    return _b64(hashlib.sha256(token.encode()).digest())


def thumbprint(jwk: Mapping[str, str]) -> str:
    """Return the thumbprint of an EC key. RFC 7638 §3."""
    required = {name: jwk[name] for name in sorted(_KEY_MEMBERS)}
    return _b64(hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest())


def _verified(proof: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the key in a proof and what it claims, if that key has signed it."""
    import jwt

    try:
        header = jwt.get_unverified_header(proof)
        jwk = header["jwk"]
        if header.get("typ") != "dpop+jwt" or header.get("alg") != "ES256" or set(jwk) != _KEY_MEMBERS:
            raise _invalid("its header is wrong")
        claims = jwt.decode(proof, jwt.PyJWK(jwk).key, algorithms=["ES256"], options={"verify_iat": False})
    except (jwt.PyJWTError, KeyError, TypeError):
        raise _invalid("it is not signed by the key that it shows") from None
    return jwk, claims


def _invalid(reason: str) -> ProofRefused:
    return ProofRefused("invalid_dpop_proof", reason)


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
