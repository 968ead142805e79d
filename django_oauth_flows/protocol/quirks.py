"""What only code can say of one server: a :class:`Quirk` is a handful of functions, found by the name in its dialect.

Each is given values and changes what it was given, or returns something else in its place; none of them sends anything.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from django_oauth_flows.protocol.messages import ClientRegistration, Credentials


@dataclass(frozen=True, slots=True)
class Quirk:
    """The deviations of one server. What is None is as everywhere."""

    says: str = ""
    """What it changes, for the documentation."""
    servers: tuple[str, ...] = ()
    """The entries of the catalogue that need it."""
    authorization_request: Callable[[ClientRegistration], dict[str, str]] | None = None
    """Return additions to an authorization request, named as in the RFC; a nonce gives way to that of an ID token."""
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


def known() -> dict[str, Quirk]:
    """Return every quirk by its name."""
    return dict(_KNOWN)


def quirk_named(name: str) -> Quirk:
    """Return the quirk; raise ``ValueError`` if none has this name."""
    if name not in _KNOWN:
        raise ValueError(f"quirk {name!r} is not known")
    return _KNOWN[name]


CORRELATION_HEADER = "WM_QOS.CORRELATION_ID"


def _walmart_authorization_request(_registration: ClientRegistration) -> dict[str, str]:
    return {"nonce": secrets.token_hex(16)}


def _walmart_token_request(
    _registration: ClientRegistration, _parameters: dict[str, str], headers: dict[str, str]
) -> None:
    headers[CORRELATION_HEADER] = str(uuid4())


def _walmart_api_request(
    _registration: ClientRegistration, prepared: requests.PreparedRequest, _credentials: Credentials
) -> None:
    prepared.headers.setdefault(CORRELATION_HEADER, str(uuid4()))  # the caller's own finds its call in Walmart's logs


register(
    "walmart",
    Quirk(
        says="Authorization requests have a nonce, which no ID token repeats; token requests and API calls have a random id each.",
        servers=("walmart",),
        authorization_request=_walmart_authorization_request,
        token_request=_walmart_token_request,
        api_request=_walmart_api_request,
    ),
)
