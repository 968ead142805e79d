"""What only code can say of one server: a :class:`Quirk` is a handful of functions, found by the name in its dialect.

Each is given values and changes what it was given, or returns something else in its place; none of them sends anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from django_oauth_flows.protocol.messages import ClientRegistration, Credentials


@dataclass(frozen=True, slots=True)
class Quirk:
    """The deviations of one server. What is None is as everywhere."""

    token_request: Callable[[ClientRegistration, dict[str, str], dict[str, str]], None] | None = None
    """Change the parameters and headers of a token or refresh request; names and values are as they will be sent."""
    token_response: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """Return the members of a token response, given those of an answer that is no error."""
    api_request: Callable[[ClientRegistration, requests.PreparedRequest, Credentials], None] | None = None
    """Change an API or userinfo request that has its token already: sign it, for example."""


_KNOWN: dict[str, Quirk] = {}


def register(name: str, quirk: Quirk) -> Quirk:
    """Make ``quirk`` known by ``name``, an identifier, for the dialect key ``quirk``."""
    _KNOWN[name] = quirk
    return quirk


def quirk_named(name: str) -> Quirk:
    """Return the quirk; raise ``ValueError`` if none has this name."""
    if name not in _KNOWN:
        raise ValueError(f"quirk {name!r} is not known")
    return _KNOWN[name]
