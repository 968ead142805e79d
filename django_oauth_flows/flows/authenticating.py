"""Authenticate an HTTP client of the caller's own: for ``requests`` and for ``httpx``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.flows.calling import StoredTokenSource, check_scopes
from django_oauth_flows.protocol.auth_requests import RequestsAuth

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_oauth_flows.models import Connection
    from django_oauth_flows.protocol.auth_httpx import HttpxAuth


def requests_auth(connection: Connection, *, purpose: str = "", scopes: Iterable[str] = ()) -> RequestsAuth:
    """Return what authenticates the requests of a ``requests.Session`` of your own with ``connection``'s token.

    The token is asked for per request and put on those to the provider's listed hosts only; any other raises
    :class:`RequestBlocked`. After a 401 it is replaced once, and the request repeated where it can be. OAuth 1.0a is signed
    in the header. ``purpose`` and ``scopes`` are those of :func:`session`. What your client does with its requests (TLS,
    proxies, timeouts, redirects) is up to you.
    """
    check_scopes(connection, scopes)
    return RequestsAuth(StoredTokenSource(connection.pk, purpose=purpose))


def httpx_auth(connection: Connection, *, purpose: str = "", scopes: Iterable[str] = ()) -> HttpxAuth:
    """Return the same for ``httpx.Client`` and ``httpx.AsyncClient``, which does not block the event loop.

    Raises :class:`ConfigurationError` (``extra_missing``) if httpx is not installed.
    """
    check_scopes(connection, scopes)
    try:
        from django_oauth_flows.protocol.auth_httpx import HttpxAuth
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        raise ConfigurationError(
            "httpx is not installed.", code="extra_missing", hint="Run: pip install 'django-oauth-flows[httpx]'."
        ) from None
    return HttpxAuth(StoredTokenSource(connection.pk, purpose=purpose))
