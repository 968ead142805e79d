"""Scopes: what an authorization asks for, and which connections lack what their provider has come to require."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_oauth_flows.exceptions import ScopeNotAllowed
from django_oauth_flows.models import Connection

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_oauth_flows.managers import ConnectionQuerySet
    from django_oauth_flows.models import Provider


def scopes_to_ask(provider: Provider, scopes: Iterable[str] | None, extends: Connection | None) -> tuple[str, ...]:
    """Return what to ask for: ``scopes``, else the provider's, beside what it requires and what ``extends`` has already.

    Asking for less than a connection has would take the rest away: the new grant replaces the old one. Without
    ``scopes``, what it had asked for and was denied is asked for once more. Raises :class:`ScopeNotAllowed`.
    """
    known = provider.known_scopes
    if scopes is None:
        before = extends.requested_scopes if extends is not None else ()
        wanted = [*provider.scopes, *(scope for scope in before if scope in known)]
    else:
        named = tuple(scopes)
        if any(scope not in known for scope in named):
            raise ScopeNotAllowed(f"A scope that {provider} does not list was asked for.")
        wanted = [*(_kept(extends, known) if extends is not None else ()), *named]
    return tuple(dict.fromkeys([*wanted, *provider.required_scopes]))


def _kept(connection: Connection, known: frozenset[str]) -> list[str]:
    """Return what the connection has been granted and may be asked for again.

    A server that names a scope which is not on the list spells scopes in its own way (``email`` for us, a URL for it): what
    was asked for is kept then, since nobody can tell which of it was granted.
    """
    granted = [scope for scope in connection.granted_scopes if scope in known]
    if len(granted) == len(connection.granted_scopes):
        return granted
    return [*granted, *(scope for scope in connection.requested_scopes if scope in known)]


def lacking_required_scopes(provider: Provider | None = None) -> ConnectionQuerySet:
    """Return the connections whose grant lacks a scope that their provider requires, of one provider if it is named.

    Staff add a scope to ``Provider.required_scopes`` when the site needs more than it did; these are the owners to ask.
    """
    rows = Connection.objects.all() if provider is None else Connection.objects.filter(provider=provider)
    return rows.lacking_required_scopes()
