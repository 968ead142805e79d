"""Put a token on an API request as the server wants it: a scheme's word, a header of its own, or the query. RFC 6750 §2."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlencode, urlsplit

from requests.utils import default_headers

from django_oauth_flows.exceptions import RequestBlocked
from django_oauth_flows.protocol.dpop import SCHEME
from django_oauth_flows.protocol.token_request import client_variables, free
from django_oauth_flows.protocol.tokens import is_token
from django_oauth_flows.protocol.urls import parameter_names, without_parameters

if TYPE_CHECKING:
    import requests

    from django_oauth_flows.protocol.dialect import Dialect
    from django_oauth_flows.protocol.messages import ClientRegistration, Credentials

WITHOUT = "none"
"""The scheme of a request whose token stands elsewhere already."""


def put_token(
    prepared: requests.PreparedRequest, registration: ClientRegistration, credentials: Credentials, *, scheme: str = ""
) -> None:
    """Put the token where this server's API takes it; ``scheme`` puts it behind that word instead, ``none`` nowhere.

    One that is bound to a key has one place, and needs a proof beside it (RFC 9449 §7.1), which is made last. Raises :class:`RequestBlocked` (``header_not_allowed``) for a token that would change the request's shape.
    """
    dialect, token = registration.dialect, credentials.access_token.reveal()
    if not is_token(token):
        raise RequestBlocked("The stored token cannot be sent in a header.", code="header_not_allowed")
    if credentials.dpop_key is not None:
        prepared.headers["Authorization"] = f"{SCHEME} {token}"
        return
    if scheme == WITHOUT:
        return
    if scheme or not (dialect.api_token_parameter or dialect.api_token_header):
        prepared.headers["Authorization"] = f"{scheme or dialect.api_auth_scheme or 'Bearer'} {token}"
    elif dialect.api_token_header:
        prepared.headers[dialect.api_token_header] = token
    else:
        url = without_parameters(str(prepared.url), {dialect.api_token_parameter})
        prepared.url = with_parameters(url, [(dialect.api_token_parameter, token)])


def put_constants(prepared: requests.PreparedRequest, registration: ClientRegistration) -> None:
    """Add what every API call of this server needs beside its token; what the caller has set stays."""
    dialect, values = registration.dialect, client_variables(registration)
    for name, text in free(dialect.api_headers, values):
        set_header(prepared, name, text)
    present = parameter_names(str(prepared.url))
    missing = [(name, text) for name, text in free(dialect.api_parameters, values) if name not in present]
    prepared.url = with_parameters(str(prepared.url), missing)


def set_header(prepared: requests.PreparedRequest, name: str, text: str) -> None:
    """Set a header, unless somebody has said something else than ``requests`` always does."""
    if prepared.headers.get(name) in (None, default_headers().get(name)):
        prepared.headers[name] = text


def with_parameters(url: str, parameters: list[tuple[str, str]]) -> str:
    """Return ``url`` with ``parameters`` at the end of its query; the others stay as they are spelled."""
    if not parameters:
        return url
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, urlencode(parameters))))
    return SplitResult(parts.scheme, parts.netloc, parts.path, query, parts.fragment).geturl()


def header_names(dialect: Dialect) -> tuple[str, ...]:
    """Return every header that a request of this server may be given."""
    return ("Authorization", *(name for name, _ in dialect.api_headers))


def needs_own_client(dialect: Dialect) -> bool:
    """Tell whether requests bear a secret that a foreign client would not take off when it follows a redirect elsewhere."""
    own_header = bool(dialect.api_token_header) and dialect.api_token_header.lower() != "authorization"
    return (
        own_header
        or bool(dialect.api_token_parameter)
        or any("{client_secret}" in text for _, text in dialect.api_headers)
    )
