"""Rich authorization requests: what exactly may be done, as objects beside or instead of scopes. RFC 9396."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

PARAMETER = "authorization_details"
"""Of the authorization request, the pushed one, and the token response. RFC 9396 §2 and §7."""

MAX_DETAILS, MAX_TEXT = 20, 4000
"""Objects in one request, and characters of all of them as JSON: they stand in an address where requests are not pushed."""


def details_text(key: str, value: Any) -> str:
    """Read a list of authorization details; return it as it is sent, "" for none. Raise ``ValueError`` naming ``key``."""
    if value in ("", []):
        return ""
    if not is_details(value):
        raise ValueError(f"{key!r} must be a list of objects, each with a 'type'")
    if len(value) > MAX_DETAILS or len(text := json.dumps(value, separators=(",", ":"))) > MAX_TEXT:
        raise ValueError(f"{key!r}: at most {MAX_DETAILS} objects, and {MAX_TEXT} characters of JSON")
    return text


def is_details(value: Any) -> bool:
    """Tell whether a value is what RFC 9396 §2 calls authorization details: objects that name their type."""
    return isinstance(value, list) and all(isinstance(d, dict) and _is_type(d.get("type")) for d in value)


def types_of(details: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the types that occur, each once."""
    return tuple(dict.fromkeys(str(detail["type"]) for detail in details))


def of_types(details: Iterable[Mapping[str, Any]], types: Collection[str]) -> list[Mapping[str, Any]]:
    """Return the details of these types."""
    return [detail for detail in details if detail["type"] in types]


def _is_type(value: Any) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()
