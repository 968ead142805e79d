"""The signature algorithms that ID tokens may have, and the keys that each of them takes. RFC 7518 §3, RFC 8037.

Plain data, so that a provider's row can be checked without any cryptography loaded. ``none`` is not among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

SHORTEST_RSA = 2048
"""Bits of an RSA key that may sign. RFC 7518 §3.3."""


@dataclass(frozen=True, slots=True)
class Family:
    """One algorithm: its hash function, and the kind of key it takes."""

    name: str
    kind: Literal["RSA", "EC", "OKP", "oct"]
    digest: str  # for at_hash and c_hash
    curve: str = ""
    least_bytes: int = 0  # of a shared key
    older_name: str = ""

    def admits(self, key: Mapping[str, Any]) -> bool:
        """Tell whether a JSON Web Key may have made a signature of this kind: its type, its curve and what it is for."""
        operations = key.get("key_ops", ["verify"])
        return (
            key.get("kty") == self.kind
            and (not self.curve or key.get("crv") == self.curve)
            and key.get("use", "sig") == "sig"
            and isinstance(operations, list)
            and "verify" in operations
        )

    def is_strong(self, key: Any) -> bool:
        """Tell whether the key itself is long enough to be believed."""
        return self.kind != "RSA" or key.key_size >= SHORTEST_RSA


FAMILIES = {
    family.name: family
    for family in (
        Family("RS256", "RSA", "sha256"),
        Family("RS384", "RSA", "sha384"),
        Family("RS512", "RSA", "sha512"),
        Family("PS256", "RSA", "sha256"),
        Family("PS384", "RSA", "sha384"),
        Family("PS512", "RSA", "sha512"),
        Family("ES256", "EC", "sha256", curve="P-256"),
        Family("ES384", "EC", "sha384", curve="P-384"),
        Family("ES512", "EC", "sha512", curve="P-521"),
        Family("EdDSA", "OKP", "sha512", curve="Ed25519", older_name="Ed25519"),
        Family("HS256", "oct", "sha256", least_bytes=32),
        Family("HS384", "oct", "sha384", least_bytes=48),
        Family("HS512", "oct", "sha512", least_bytes=64),
    )
}
"""By the name in a token's header. ``HS*`` is keyed with the client's secret."""

PREFERRED = ("RS256", "ES256", "PS256", "EdDSA", "RS384", "ES384", "PS384", "RS512", "ES512", "PS512")
"""Which one to choose of those that a server offers. Those keyed with a secret are for staff to choose."""
