"""How one server deviates from the RFCs, as typed, checked data: the schema of ``Provider.dialect``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

RESERVED_PARAMETERS = frozenset(
    {
        "client_id", "client_secret", "client_assertion", "client_assertion_type", "code", "code_challenge",
        "code_challenge_method", "code_verifier", "grant_type", "iss", "nonce", "redirect_uri", "refresh_token",
        "request", "request_uri", "response_mode", "response_type", "scope", "state",
    }
)  # fmt: skip
"""Parameters that carry a promise of ours; no configuration may set or replace them. ``oauth_*`` is reserved as well."""

_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21\x22\x24-\x7e]+")

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Dialect:
    """Rare deviations; the defaults are the RFC's behaviour."""

    authorization_parameters: Pairs = ()  # constant additions to the authorization request
    token_parameters: Pairs = ()  # … to the token request
    refresh_parameters: Pairs = ()  # … to the refresh request
    resources: tuple[str, ...] = ()  # RFC 8707: what the tokens are for, in authorization and token requests
    token_response_format: Literal["json", "form"] = "json"  # "form" also accepts JSON
    token_type_aliases: tuple[str, ...] = ()  # token_type values that mean Bearer
    invalid_grant_errors: tuple[str, ...] = ()  # error codes that mean invalid_grant
    raw_basic_auth: bool = False  # client_secret_basic without RFC 6749 §2.3.1's form-encoding
    api_auth_scheme: str = "Bearer"  # the word before the token in the Authorization header
    kept_token_fields: tuple[str, ...] = ()  # other members of the token response to store
    kept_callback_parameters: tuple[str, ...] = ()  # other callback parameters to store

    @classmethod
    def from_json(cls, value: Any) -> Dialect:
        """Build from the stored JSON object; raise ``ValueError`` if it is none, or naming the first key that is unknown or wrong."""
        if not isinstance(value, dict):
            raise ValueError("must be an object")  # noqa: TRY004 - every reader raises ValueError
        if unknown := sorted(set(value) - set(_READERS)):
            raise ValueError(f"unknown key {unknown[0]!r}; known keys: {', '.join(sorted(_READERS))}")
        checked: dict[str, Any] = {key: _READERS[key](key, item) for key, item in value.items()}
        return cls(**checked)


def is_reserved(name: str) -> bool:
    """Tell whether a parameter is the protocol's own."""
    return name.lower() in RESERVED_PARAMETERS or name.lower().startswith("oauth_")


def check_reserved(names: Iterable[str]) -> None:
    """Raise ``ValueError`` if a name is a reserved protocol parameter."""
    for name in names:
        if is_reserved(name):
            raise ValueError(f"{name!r} is set by the protocol and cannot be configured")


def _pairs(key: str, value: Any) -> Pairs:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ValueError(f"{key!r} must be an object of strings")
    check_reserved(value)
    return tuple(value.items())


def _strings(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ValueError(f"{key!r} must be a list of strings")
    return tuple(value)


def _resources(key: str, value: Any) -> tuple[str, ...]:
    """Read absolute URIs without a fragment. RFC 8707 §2."""
    uris = _strings(key, value)
    if not all(_RESOURCE.fullmatch(uri) for uri in uris):
        raise ValueError(f"{key!r} must hold absolute URIs without a fragment")
    return uris


def _boolean(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{key!r} must be true or false")  # noqa: TRY004 - every reader raises ValueError
    return value


def _format(key: str, value: Any) -> str:
    if value not in ("json", "form"):
        raise ValueError(f"{key!r} must be 'json' or 'form'")
    return str(value)


def _scheme(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.replace("-", "").isalnum():
        raise ValueError(f"{key!r} must be one word of letters, digits and hyphens")
    return value


_READERS = {
    "authorization_parameters": _pairs,
    "token_parameters": _pairs,
    "refresh_parameters": _pairs,
    "resources": _resources,
    "token_response_format": _format,
    "token_type_aliases": _strings,
    "invalid_grant_errors": _strings,
    "raw_basic_auth": _boolean,
    "api_auth_scheme": _scheme,
    "kept_token_fields": _strings,
    "kept_callback_parameters": _strings,
}
