"""The page of connected accounts, and disconnecting one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from django.db.models import F, Q

from django_oauth_flows import flows
from django_oauth_flows.departing import SeeOther
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.health import health_of
from django_oauth_flows.forms import open_parameters
from django_oauth_flows.managers import allows, owner_key
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.views.connecting import manageable_connection
from django_oauth_flows.views.owning import connections_url, named_owner, owner_name
from django_oauth_flows.views.pages import page
from django_oauth_flows.views.shielding import members_only, to_connections

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import Model
    from django.http import HttpRequest, HttpResponse

SHOWN_AFTER_DISCONNECT = timedelta(days=7)
PAGE_SIZE = 100


@members_only("GET", "HEAD")
def connections(request: HttpRequest) -> HttpResponse:
    """List what is connected, as whom, since when and in which health, and what could be.

    ``?owner=app.model:pk``: whose; ``page``: which hundred of them.
    """
    owner = named_owner(request, request.GET.get("owner", ""))
    number = _page_number(request)
    rows, is_last = _connections(request, owner, page=number)
    live = [row for row in rows if row.status != Connection.Status.REVOKED]
    shared = flows.shares_grant(live)
    for row in live:
        _describe(request, row, is_shared=row.pk in shared)
    context = {
        "owner": owner,
        "owner_name": owner_name(owner),
        "connections": live,
        "disconnected": [row for row in rows if row.status == Connection.Status.REVOKED],
        "providers": _providers(request, owner),
        "previous_page": number - 1,
        "next_page": 0 if is_last else number + 1,
    }
    return page(request, "connections.html", context)


@members_only("POST", after_login=to_connections)
def disconnect(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Disconnect; doing it twice is doing it once. The page it leads to tells how it went at the provider."""
    connection = manageable_connection(request, pk)
    flows.revoke(connection, actor=request.user)
    return SeeOther(connections_url(request, connection))


def _describe(request: HttpRequest, row: Any, *, is_shared: bool) -> None:
    """Tell the template what it need not find out: the connection's health, and what this user may do with it."""
    row.health = health_of(row)
    row.is_shared = is_shared
    row.may_manage = allows(request.user, "manage", row)
    ways = row.provider.authorization_endpoint or row.provider.device_authorization_endpoint
    connectable = row.provider.enabled and bool(ways)
    row.may_reconnect = row.may_manage and connectable and row.health != "paused"


def _page_number(request: HttpRequest) -> int:
    """Return the page that the address names, the first if it names none that could be."""
    text = request.GET.get("page", "")
    return max(int(text), 1) if text.isascii() and text.isdecimal() and len(text) < 7 else 1  # noqa: PLR2004


def _connections(request: HttpRequest, owner: Model | None, *, page: int) -> tuple[list[Connection], bool]:
    """Return one page of what ``owner`` has, and whether it is the last.

    Of the user also what they consented to for others. The disconnected ones come first, for a week: whoever has just
    disconnected comes back to the first page.
    """
    owner_model, owner_id = owner_key(owner or cast("Model", request.user))
    whose = Q(owner_model=owner_model, owner_id=owner_id)
    if owner is None:
        whose |= Q(user=request.user)
    recent = ~Q(status=Connection.Status.REVOKED) | Q(revoked_at__gt=DatabaseNow() - SHOWN_AFTER_DISCONNECT)
    rows = Connection.objects.select_related("provider", "token", "user").prefetch_related("revocations")
    order = (F("revoked_at").desc(nulls_last=True), "provider__name", "created_at", "pk")
    rows = rows.filter(whose, recent).annotate(now=DatabaseNow()).order_by(*order)
    start = (page - 1) * PAGE_SIZE
    found = list(rows[start : start + PAGE_SIZE + 1])  # one more, to know whether there is a next page
    return [row for row in found[:PAGE_SIZE] if allows(request.user, "view", row)], len(found) <= PAGE_SIZE


def _providers(request: HttpRequest, owner: Model | None) -> list[Provider]:
    """Return where an account can be connected, each with ``needs_parameters``: whether its page has to ask first."""
    if owner is not None and not allows(request.user, "manage", owner):
        return []
    rows: list[Any] = list(Provider.objects.enabled().filter(paused=False))
    for row in rows:
        row.needs_parameters = bool(open_parameters(row))
    return [row for row in rows if allows(request.user, "use", row)]
