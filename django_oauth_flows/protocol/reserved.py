"""Names that no configuration may set: parameters and headers that the protocol sets itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

RESERVED_PARAMETERS = frozenset(
    {
        "authorization_details", "client_id", "client_secret", "client_assertion", "client_assertion_type", "code", "code_challenge",
        "code_challenge_method", "code_verifier", "dpop_jkt", "grant_type", "iss", "nonce", "redirect_uri", "refresh_token",
        "request", "request_uri", "response_mode", "response_type", "scope", "state",
    }
)  # fmt: skip
"""Parameters that carry a promise of ours; no configuration may set or replace them. ``oauth_*`` is reserved as well."""

RESERVED_HEADERS = frozenset(
    {
        "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type", "cookie",
        "dpop", "expect", "forwarded", "host", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "set-cookie", "te", "trailer", "transfer-encoding", "upgrade", "via",
        "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-http-method-override",
    }
)  # fmt: skip
"""Headers that decide who is asked, how much is read, or who we are."""


def is_reserved(name: str) -> bool:
    """Tell whether a parameter is the protocol's own."""
    return name.lower() in RESERVED_PARAMETERS or name.lower().startswith("oauth_")


def check_reserved(names: Iterable[str]) -> None:
    """Raise ``ValueError`` if a name is a reserved protocol parameter."""
    for name in names:
        if is_reserved(name):
            raise ValueError(f"{name!r} is set by the protocol and cannot be configured")
