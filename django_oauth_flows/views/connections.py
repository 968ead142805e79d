"""The page of connected accounts: what is connected, and what could be."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from django.db.models import F, Q

from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.managers import allows, owner_key
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.models.provider_rules import open_parameters
from django_oauth_flows.views.describing import describe
from django_oauth_flows.views.owning import named_owner, owner_name
from django_oauth_flows.views.pages import page
from django_oauth_flows.views.shielding import members_only

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet
    from django.http import HttpRequest, HttpResponse

SHOWN_AFTER_DISCONNECT = timedelta(days=7)
PAGE_SIZE = 100

MANY = 8
"""From so many services on, the page offers to search them."""


@members_only("GET", "HEAD")
def connections(request: HttpRequest) -> HttpResponse:
    """List what is connected, as whom, since when and in which health, and what could be.

    ``?owner=app.model:pk``: whose; ``page``: which hundred of them; ``q``: words in the names of services to connect.
    """
    owner = named_owner(request, request.GET.get("owner", ""))
    number = _page_number(request)
    rows, is_last = _connections(request, owner, page=number)
    context = {
        "owner": owner,
        "owner_name": owner_name(owner),
        "connections": describe(request, [row for row in rows if row.status != Connection.Status.REVOKED]),
        "disconnected": [row for row in rows if row.status == Connection.Status.REVOKED],
        "previous_page": number - 1,
        "next_page": 0 if is_last else number + 1,
        **gallery(request, owner),
    }
    return page(request, "connections.html", context)


def cards(request: HttpRequest, *, provider_slug: str = "") -> list[Any]:
    """Return what the user has, at one provider if named, for a page of the site's own: a hundred at most."""
    mine = Connection.objects.for_owner(cast("Model", request.user)).exclude(status=Connection.Status.REVOKED)
    rows = _described(mine if not provider_slug else mine.filter(provider__slug=provider_slug))
    return describe(request, rows.order_by("provider__name", "created_at", "pk")[:PAGE_SIZE])


def gallery(request: HttpRequest, owner: Model | None) -> dict[str, Any]:
    """Return where an account can be connected: those that ``?q=`` finds, and whether there are enough to search them."""
    query = " ".join(request.GET.get("q", "").split())[:100]
    offered = _providers(request, owner)
    found = [row for row in offered if all(word in row.name.casefold() for word in query.casefold().split())]
    return {
        "providers": found,
        "query": query,
        "is_searchable": bool(offered) and (len(offered) >= MANY or bool(query)),
    }


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
    order = (F("revoked_at").desc(nulls_last=True), "provider__name", "created_at", "pk")
    rows = _described(Connection.objects.filter(whose, recent)).prefetch_related("revocations").order_by(*order)
    start = (page - 1) * PAGE_SIZE
    found = list(rows[start : start + PAGE_SIZE + 1])  # one more, to know whether there is a next page
    return [row for row in found[:PAGE_SIZE] if allows(request.user, "view", row)], len(found) <= PAGE_SIZE


def _described(rows: QuerySet[Connection]) -> QuerySet[Connection]:
    return rows.select_related("provider", "token", "user").annotate(now=DatabaseNow())


def _providers(request: HttpRequest, owner: Model | None) -> list[Any]:
    """Return where an account can be connected, each with ``needs_parameters``: whether its page has to ask first."""
    if owner is not None and not allows(request.user, "manage", owner):
        return []
    rows: list[Any] = list(Provider.objects.enabled().filter(paused=False))
    for row in rows:
        row.needs_parameters = bool(open_parameters(row))
    return [row for row in rows if allows(request.user, "use", row)]
