"""How the fake provider reads what the client signs: assertions and request objects, verified by other code than ours."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

KIND = "oauth-authz-req+jwt"
MAX_LIFETIME = 3600
"""Seconds between ``nbf`` and ``exp`` of a request object. FAPI 2.0 Message Signing §5.3.1."""


class ClientSigning:
    """What the client has registered to sign with: one key, a set that is read anew each time, or its secret."""

    def __init__(self) -> None:
        self.jwk: dict[str, str] | None = None
        self.jwks: Callable[[], list[dict[str, str]]] | None = None  # as from the client's address, by key id
        self.algorithms: tuple[str, ...] = ()  # instead of those that the key names
        self.requires_signed_requests = False

    def claims(self, token: str, *, audience: str, issuer: str, secret: str, require: list[str]) -> dict[str, Any]:
        """Return what the client has signed for ``audience`` alone; raise ``jwt.InvalidTokenError``."""
        import jwt

        key, algorithms = self._key(token, secret)
        options: Any = {"require": require, "strict_aud": True}
        found: dict[str, Any] = jwt.decode(
            token, key, algorithms=algorithms, audience=audience, issuer=issuer, options=options
        )
        return found

    def opened(self, asked: dict[str, str], *, client_id: str, issuer: str, beside: frozenset[str]) -> dict[str, str]:
        """Return the parameters of an authorization request, which may be a signed object; {} for one that is refused.

        ``beside``: what may stand outside the object. RFC 9101 §6, RFC 9126 §3.
        """
        import jwt

        if "request" not in asked or "." not in asked["request"]:
            return {} if self.requires_signed_requests else asked
        try:
            claims = self.claims(
                asked["request"],
                audience=issuer,
                issuer=client_id,
                secret="",
                require=["iss", "aud", "exp", "nbf", "jti"],
            )
        except jwt.InvalidTokenError:
            return {}
        outside = set(asked) - beside - {"client_id", "request"}
        is_request = jwt.get_unverified_header(asked["request"]).get("typ") == KIND
        is_short = claims["exp"] - claims["nbf"] <= MAX_LIFETIME
        nested = {"request", "request_uri"} & set(claims)
        fits = claims.get("client_id") == client_id == asked.get("client_id", client_id)
        if outside or nested or not (is_request and is_short and fits):
            return {}
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in claims.items()}

    def _key(self, token: str, secret: str) -> tuple[Any, list[str]]:
        import jwt

        jwk = self.jwk
        if self.jwks is not None:
            named = jwt.get_unverified_header(token).get("kid")
            jwk = next((key for key in self.jwks() if key["kid"] == named), None)
            if jwk is None:
                raise jwt.InvalidKeyError
        if jwk is None:
            return secret, ["HS256"]
        algorithms = list(self.algorithms or [jwk["alg"]])
        return jwt.PyJWK(jwk, algorithms[0]).key, algorithms
