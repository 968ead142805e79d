"""Take a signed token apart before any cryptography: sizes, shape and header, read in one way only. RFC 7515, RFC 8725.

Nothing here believes a token; it refuses what no honest server sends, so that what verifies signatures need not.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MAX_TOKEN = 64 * 1024
"""Characters of a signed token; a longer one is refused unread."""

_MAX_HEADER, _MAX_KID = 4096, 256
_SEGMENTS = 3
_UNDERSTOOD_BY_NONE = ("crit", "b64", "zip", "cty", "enc")
"""Header parameters that change what a token is; none of them is supported, so none may be there."""


class TokenRefused(ValueError):
    """Raise with a plain reason, which never repeats what the token says."""


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token in compact form, taken apart and not yet verified."""

    header: Mapping[str, Any]
    payload: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    signing_input: bytes = field(repr=False)

    @property
    def key_id(self) -> str | None:
        """Return which key the token names, None if it names none."""
        kid: str | None = self.header.get("kid")
        return kid


def take_apart(token: str, *, algorithm: str, types: Collection[str]) -> SignedToken:
    """Return the parts of a token that is signed with ``algorithm`` and nothing else.

    ``types`` are the media types its header may name, in lower case; one that names none passes. Key material and key
    addresses in the header (``jwk``, ``jku``, ``x5c``, ``x5u``) are never looked at. Raises :class:`TokenRefused`.
    """
    if len(token) > MAX_TOKEN or token.count(".") != _SEGMENTS - 1:
        raise TokenRefused("it is not a signed token in compact form")
    head, body, signature = token.split(".")
    header = read_json(_decoded(head), limit=_MAX_HEADER)
    if not isinstance(header.get("alg"), str) or header["alg"] != algorithm:
        raise TokenRefused("it is not signed with the algorithm configured")
    if any(name in header for name in _UNDERSTOOD_BY_NONE):
        raise TokenRefused("its header asks for what is not supported")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in types:
        raise TokenRefused("it is a token of another kind")
    kid = header.get("kid")
    if "kid" in header and (not isinstance(kid, str) or len(kid) > _MAX_KID):
        raise TokenRefused("its key id is malformed")
    return SignedToken(header, _decoded(body), _decoded(signature), f"{head}.{body}".encode())


def unverified_claims(token: str) -> dict[str, Any]:
    """Return what a token claims, whoever has signed it; raise :class:`TokenRefused` if it cannot be read."""
    if len(token) > MAX_TOKEN or token.count(".") != _SEGMENTS - 1:
        raise TokenRefused("it is not a signed token in compact form")
    return read_json(_decoded(token.split(".")[1]))


def read_json(raw: bytes, *, limit: int = MAX_TOKEN) -> dict[str, Any]:
    """Return a JSON object in which no member occurs twice; raise :class:`TokenRefused` for anything else."""
    if len(raw) > limit:
        raise TokenRefused("it is too large")
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError):
        raise TokenRefused("it cannot be read") from None
    if not isinstance(value, dict):
        raise TokenRefused("it cannot be read")
    return value


def _unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) != len(items):
        raise ValueError("a member occurs twice")
    return found


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("the number is too large")
    return value


def _decoded(segment: str) -> bytes:
    """Return the bytes of a base64url segment without padding; bits that stand for nothing are refused. RFC 7515 §2."""
    try:
        raw = base64.b64decode(segment.encode("ascii") + b"=" * (-len(segment) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeError, ValueError):
        raise TokenRefused("a part of it is not base64url") from None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != segment:
        raise TokenRefused("a part of it is not base64url")
    return raw
