"""Dynamic client registration: ask a server for a client of our own, and believe only what fits what was asked. RFC 7591."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from django_oauth_flows.exceptions import ProviderUnreachable, RequestBlocked, TokenEndpointError
from django_oauth_flows.protocol.parsing import raise_for_error, read_object
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.protocol.transport import send
from django_oauth_flows.protocol.urls import check_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.protocol.messages import TransportPolicy

_CLIENT_ID = re.compile(r"[\x20-\x7e]{1,500}")
_SECRET = re.compile(r"[\x20-\x7e]{1,4000}")
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]{1,4000}=*")  # RFC 6750 §2.1
_WITH_SECRET = frozenset({"client_secret_basic", "client_secret_post"})
_LAST_MOMENT = 2**38
"""Seconds since the epoch; beyond it, no database has a date."""


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """A client that a server has made for us, after every check."""

    client_id: str
    token_endpoint_auth_method: str
    scopes: tuple[str, ...]
    client_secret: Secret | None = None
    client_secret_expires_at: int = 0  # seconds since the epoch; 0: never
    registration_client_uri: str = ""
    registration_access_token: Secret | None = field(default=None, repr=False)


def register(
    endpoint: str,
    metadata: Mapping[str, Any],
    *,
    policy: TransportPolicy,
    now: float,
    initial_access_token: Secret | None = None,
) -> RegisteredClient:
    """Register a client with this ``metadata``; ``now``: seconds since the epoch. RFC 7591 §3.

    Raises :class:`TokenEndpointError`: ``registration_failed`` if the server refuses, ``registration_invalid`` if what it
    answers is not what was asked for; :class:`ProviderUnreachable`; :class:`RequestBlocked`.
    """
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if initial_access_token is not None:
        headers["Authorization"] = f"Bearer {initial_access_token.reveal()}"
    request = requests.Request("POST", endpoint, headers=headers, data=json.dumps(metadata)).prepare()
    try:
        response = send(request, policy=policy)
        raise_for_error(response)
        members = read_object(response)
    except (ProviderUnreachable, RequestBlocked):
        raise
    except TokenEndpointError as error:
        raise TokenEndpointError(
            "The service did not register this site as a client.",
            code="registration_failed",
            hint="Many services want an initial access token; else register the client by hand.",
            error=error.error,
            status=error.status,
            provider_text=error.provider_text,
        ) from None
    if response.status not in (HTTPStatus.CREATED, HTTPStatus.OK):
        raise _invalid("its status is not 201")
    return _read(members, metadata, endpoint=endpoint, now=now, internal=policy.internal)


def unregister(client: RegisteredClient, *, policy: TransportPolicy) -> None:
    """Give a client back that could not be stored; a server that cannot take it keeps it. RFC 7592 §2.3."""
    if client.registration_access_token is None or not client.registration_client_uri:
        return
    headers = {"Authorization": f"Bearer {client.registration_access_token.reveal()}"}
    send(requests.Request("DELETE", client.registration_client_uri, headers=headers).prepare(), policy=policy)


def _read(
    members: Mapping[str, Any], asked: Mapping[str, Any], *, endpoint: str, now: float, internal: bool
) -> RegisteredClient:
    client_id, method = members.get("client_id"), members.get("token_endpoint_auth_method")
    if not isinstance(client_id, str) or not _CLIENT_ID.fullmatch(client_id):
        raise _invalid("it names no usable client_id")
    method = asked["token_endpoint_auth_method"] if method is None else method
    _check_unchanged(members, asked, method)
    secret = _text(members, "client_secret", _SECRET)
    if method in _WITH_SECRET and secret is None:
        raise _invalid("it holds no client_secret, without which its client cannot prove itself")
    token = _text(members, "registration_access_token", _TOKEN)
    uri = members.get("registration_client_uri")
    if uri is not None:
        _check_uri(uri, endpoint, internal=internal)
    return RegisteredClient(
        client_id=client_id,
        token_endpoint_auth_method=str(method),
        scopes=_scopes(members, asked),
        client_secret=Secret(secret) if secret is not None and method in _WITH_SECRET else None,
        client_secret_expires_at=_expiry(members, now=now),
        registration_client_uri=uri or "",
        registration_access_token=Secret(token) if token is not None else None,
    )


def _check_unchanged(members: Mapping[str, Any], asked: Mapping[str, Any], method: Any) -> None:
    """Refuse a client with which a code would go elsewhere, or that proves itself by less than was asked for. §3.2.1."""
    wanted = asked["token_endpoint_auth_method"]
    if method != wanted and not {method, wanted} <= _WITH_SECRET:
        raise _invalid("its client authenticates in another way than was asked for")
    if members.get("redirect_uris", asked["redirect_uris"]) != asked["redirect_uris"]:
        raise _invalid("its redirect_uris are not ours")
    for name, needed in (("grant_types", "authorization_code"), ("response_types", "code")):
        listed = members.get(name, [needed])
        if not isinstance(listed, list) or needed not in listed:
            raise _invalid(f"its {name} lack {needed}")
    for name in ("id_token_signed_response_alg", "request_object_signing_alg", "jwks_uri"):
        if name in asked and members.get(name, asked[name]) != asked[name]:
            raise _invalid(f"its {name} is not what was asked for")


def _check_uri(uri: Any, endpoint: str, *, internal: bool) -> None:
    """Refuse a place for the registration's token that is not where it came from."""
    try:
        check_endpoint(str(uri), internal=internal)
    except ValueError:
        raise _invalid("its registration_client_uri may not be called") from None
    if not isinstance(uri, str) or urlsplit(uri)[:2] != urlsplit(endpoint)[:2] or len(uri) > 1000:  # noqa: PLR2004
        raise _invalid("its registration_client_uri is at another host")


def _scopes(members: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the scopes that the client may ask for; what it did not ask for is no gift."""
    wanted, said = str(asked.get("scope", "")).split(), members.get("scope")
    if said is None:
        return tuple(wanted)
    if not isinstance(said, str):
        raise _invalid("its scope is no text")
    return tuple(scope for scope in wanted if scope in said.split())


def _expiry(members: Mapping[str, Any], *, now: float) -> int:
    value = members.get("client_secret_expires_at", 0)
    if not isinstance(value, int) or isinstance(value, bool) or not (value == 0 or now < value < _LAST_MOMENT):
        raise _invalid("its client_secret_expires_at is over, or no moment")
    return value


def _text(members: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str | None:
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _invalid(f"its {name} is not usable")
    return value


def _invalid(problem: str) -> TokenEndpointError:
    return TokenEndpointError(
        f"The service's answer to the registration cannot be used: {problem}.",
        code="registration_invalid",
        hint="Nothing was stored. Register the client by hand, in the service's own console.",
    )
