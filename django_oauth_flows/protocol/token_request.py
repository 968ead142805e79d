"""A request to a token or revocation endpoint in a server's own dialect: its method, its encoding, its names."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import requests

from django_oauth_flows.exceptions import RequestBlocked
from django_oauth_flows.protocol.authorization_request import parameters_in_dialect
from django_oauth_flows.protocol.client_auth import WITH_SECRET, authenticate_client
from django_oauth_flows.protocol.placeholders import expand
from django_oauth_flows.protocol.reserved import is_reserved

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django_oauth_flows.protocol.dialect import Dialect
    from django_oauth_flows.protocol.dialect_values import Pairs
    from django_oauth_flows.protocol.messages import ClientRegistration, Params

FORM = "application/x-www-form-urlencoded"
FREE_AT_TOKEN_ENDPOINT = frozenset({"state", "response_type", "client_assertion_type", "request"})
"""Reserved where the browser carries them, of no consequence here."""


def free(
    parameters: Pairs, values: Mapping[str, str], *, unreserved: frozenset[str] = frozenset()
) -> list[tuple[str, str]]:
    """Return configured parameters with their variables replaced, without those that carry a promise of the protocol.

    One whose variable has no value is not sent.
    """
    found = []
    for name, text in parameters:
        if is_reserved(name) and name not in unreserved:
            continue
        try:
            found.append((name, expand(text, values)))
        except ValueError:
            continue
    return found


def client_variables(registration: ClientRegistration) -> dict[str, str]:
    """Return the variables that every request to this server has."""
    values = {**registration.kept, "client_id": registration.client_id}
    if registration.client_secret:
        values["client_secret"] = registration.client_secret.reveal()
    return values


def bears_secret(registration: ClientRegistration, *, authenticates: bool = True) -> bool:
    """Tell whether what is sent to a token endpoint depends on the client's secret: as its proof, or in the dialect's own way.

    ``authenticates``: whether a request of this kind has a proof of the client at all.
    """
    dialect = registration.dialect
    texts = (*dialect.token_parameters, *dialect.refresh_parameters, *dialect.token_request_headers)
    proves = authenticates and registration.token_endpoint_auth_method in WITH_SECRET
    return proves or any("{client_secret}" in text for _, text in texts)


def token_request(
    registration: ClientRegistration,
    endpoint: str,
    parameters: Params,
    *,
    method: str = "",
    authenticates: bool = True,
    said: Mapping[str, str] = MappingProxyType({}),
) -> requests.PreparedRequest:
    """Return a request with ``parameters``, named as in the RFC, and the client's authentication, in the dialect.

    ``said``: variables that the callback has just given, which headers may hold.
    """
    dialect = registration.dialect
    headers, credentials = authenticate_client(registration) if authenticates else ({}, {})
    pairs = _in_dialect([*parameters, *credentials.items()], dialect)
    headers = {"Accept": "application/json", **headers, **_headers(registration, said)}
    if registration.quirk and registration.quirk.token_request:
        resources = [pair for pair in pairs if pair[0] == "resource"]  # may occur more than once
        changed = dict(pair for pair in pairs if pair[0] != "resource")
        registration.quirk.token_request(registration, changed, headers)
        pairs = [*changed.items(), *resources]
    return encoded(
        endpoint, pairs, headers, method=method or dialect.token_request_method, form=dialect.token_request_format
    )


def pushed_request(registration: ClientRegistration, endpoint: str, parameters: Params) -> requests.PreparedRequest:
    """Return an authorization request that is pushed: always a posted form, in the dialect of authorization requests. RFC 9126 §2.1."""
    headers, credentials = authenticate_client(registration)
    # Whoever authenticates in the body names the client there.
    others = [(name, value) for name, value in parameters if name not in credentials]
    pairs = parameters_in_dialect(others, registration.dialect)
    pairs += _in_dialect(list(credentials.items()), registration.dialect)
    headers = {"Accept": "application/json", **headers, **_headers(registration)}
    return encoded(endpoint, pairs, headers, method="POST")


def encoded(
    endpoint: str, pairs: Sequence[tuple[str, str]], headers: Mapping[str, str], *, method: str, form: str = "form"
) -> requests.PreparedRequest:
    """Return the request with its parameters in the query (of any but a POST, always) or the body, as a form or as JSON.

    Raise :class:`RequestBlocked` (``header_not_allowed``) for a header that may not be sent; the message does not quote it.
    """
    with suppress(requests.exceptions.InvalidHeader):  # whose message quotes it
        return _encoded(endpoint, pairs, headers, method=method, form=form)
    raise RequestBlocked("A header contains characters that may not be sent.", code="header_not_allowed")


def _encoded(
    endpoint: str, pairs: Sequence[tuple[str, str]], headers: Mapping[str, str], *, method: str, form: str
) -> requests.PreparedRequest:
    if method != "POST" or form == "query":
        separator = "&" if urlsplit(endpoint).query else "?"
        url = f"{endpoint}{separator}{urlencode(pairs)}" if pairs else endpoint
        return requests.Request(method, url, headers=dict(headers)).prepare()
    if form == "json":
        return _posted(endpoint, {**headers, "Content-Type": "application/json"}, json.dumps(_grouped(pairs)))
    return _posted(endpoint, {**headers, "Content-Type": FORM}, urlencode(pairs))


def _posted(endpoint: str, headers: Mapping[str, str], body: str) -> requests.PreparedRequest:
    """Return what ``requests.Request(…).prepare()`` returns, without parsing the same address for every token."""
    request = requests.PreparedRequest()
    request.prepare_method("POST")
    request.url = _spelled(endpoint)
    request.prepare_headers(headers)
    request.prepare_body(body, None)
    return request


@lru_cache(maxsize=256)
def _spelled(endpoint: str) -> str:
    """Return the address as it is sent: its host in ASCII, its path quoted."""
    request = requests.PreparedRequest()
    request.prepare_url(endpoint, None)
    return str(request.url)


def _headers(registration: ClientRegistration, said: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    return dict(free(registration.dialect.token_request_headers, {**client_variables(registration), **said}))


def _in_dialect(pairs: Sequence[tuple[str, str]], dialect: Dialect) -> list[tuple[str, str]]:
    names, grants = dict(dialect.token_parameter_names), dict(dialect.grant_type_values)
    spoken = []
    for name, value in pairs:
        text = grants.get(value, value) if name == "grant_type" else value
        if (other := names.get(name, name)) and not (name == "grant_type" and not text):
            spoken.append((other, text))
    return spoken


def _grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return the members of a JSON object; a parameter that occurs twice becomes a list."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name not in members:
            members[name] = value
        elif isinstance(members[name], list):
            members[name].append(value)
        else:
            members[name] = [members[name], value]
    return members
