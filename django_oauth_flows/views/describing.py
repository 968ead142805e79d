"""What a card says of a connection: its health, what it may do, what comes next, and what disconnecting would end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ObjectDoesNotExist

from django_oauth_flows import flows
from django_oauth_flows.flows.health import health_of
from django_oauth_flows.managers import allows
from django_oauth_flows.views.outlook import outlook
from django_oauth_flows.views.permissions import permissions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.http import HttpRequest

    from django_oauth_flows.models import Connection, Provider


def describe(request: HttpRequest, rows: Iterable[Connection]) -> list[Any]:
    """Return the ``rows`` with what a template need not find out, in one query; each has provider, token and ``now``."""
    rows = list(rows)
    shared = flows.shares_grant(rows)
    for row in rows:
        _describe(request, row, is_shared=row.pk in shared)
    return rows


def _describe(request: HttpRequest, row: Any, *, is_shared: bool) -> None:
    provider, token = row.provider, _token_of(row)
    row.health = health_of(row)
    row.is_stopped = provider.paused  # by staff: nothing that its owner could resume
    row.permissions = permissions(provider, row.granted_scopes)
    row.not_granted = permissions(provider, row.missing_scopes)
    row.needed = permissions(provider, row.missing_required_scopes)
    has_outlook = token is not None and row.health not in ("broken", "ended") and not row.is_stopped
    row.outlook = outlook(row, token) if has_outlook and token is not None else None
    row.may_manage = allows(request.user, "manage", row)
    ways = provider.authorization_endpoint or provider.device_authorization_endpoint
    is_reachable = provider.enabled and bool(ways) and not provider.paused
    row.may_connect = row.may_manage and is_reachable and allows(request.user, "use", provider)
    row.may_reconnect = row.may_manage and is_reachable and not row.paused
    row.more = permissions(provider, _not_granted_yet(row)) if row.may_reconnect else []
    row.fate = fate_of(row, is_shared=is_shared)


def fate_of(connection: Connection, *, is_shared: bool) -> str:
    """Return what disconnecting would do at the service.

    ``shared``: nothing, since another connection stands on the same permission; ``unsupported``: nothing, the service has no
    place to tell it; ``token``, ``grant`` or ``unknown``: what it ends there, as ``Provider.revocation_effect`` says.
    """
    if is_shared:
        return "shared"
    return connection.provider.revocation_effect if connection.provider.revocation_endpoint else "unsupported"


def _not_granted_yet(connection: Connection) -> list[str]:
    """Return the scopes that the provider's row allows to ask for, and that this connection has not, asked for or not."""
    provider: Provider = connection.provider
    allowed = dict.fromkeys([*provider.scopes, *provider.allowed_scopes])
    return [scope for scope in allowed if scope not in connection.granted_scopes]


def _token_of(connection: Connection) -> Any:
    try:
        return connection.token
    except ObjectDoesNotExist:
        return None
