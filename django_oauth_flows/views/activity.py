"""What has happened with one connection, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django.http import Http404

from django_oauth_flows.managers import allows
from django_oauth_flows.models import Connection, ConnectionEvent, Revocation
from django_oauth_flows.views.owning import connections_url
from django_oauth_flows.views.pages import page
from django_oauth_flows.views.shielding import members_only
from django_oauth_flows.views.wording import EVENTS, REVOCATIONS

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse
    from django.utils.functional import _StrOrPromise as StrOrPromise

PAGE_SIZE = 50
_LARGEST = 2**63 - 1

Kind = ConnectionEvent.Kind


class Happening(NamedTuple):
    """One event in plain words. ``by``: ``you``, ``staff``, a name, or "" if nobody did it."""

    when: datetime
    what: StrOrPromise
    why: StrOrPromise
    by: str


@members_only("GET", "HEAD")
def activity(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Tell what has happened; ``?before=``: what is older than the last event of the page before."""
    connection = Connection.objects.select_related("provider").filter(pk=pk).first()
    if connection is None or not allows(request.user, "view", connection):
        raise Http404("There is no such connection.")
    rows = ConnectionEvent.objects.filter(connection=connection).select_related("actor").order_by("-id")
    if before := _before(request):
        rows = rows.filter(pk__lt=before)
    found = list(rows[: PAGE_SIZE + 1])  # one more, to know whether there are older ones
    context = {
        "connection": connection,
        "happenings": [_told(request, event) for event in found[:PAGE_SIZE]],
        "is_first_page": not before,
        "older": found[PAGE_SIZE - 1].pk if len(found) > PAGE_SIZE else 0,
        "connections_url": connections_url(request, connection),
    }
    return page(request, "activity.html", context)


def _before(request: HttpRequest) -> int:
    """Return the id that the address names, 0 if it names none that could be."""
    text = request.GET.get("before", "")
    is_number = text.isascii() and text.isdecimal() and len(text) < 20  # noqa: PLR2004
    return min(int(text), _LARGEST) if is_number else 0


def _told(request: HttpRequest, event: Any) -> Happening:
    what = EVENTS.get(event.kind, event.get_kind_display())
    return Happening(event.created_at, what, _why(event), _by(request, event))


def _why(event: ConnectionEvent) -> StrOrPromise:
    if event.kind == Kind.NEEDS_REAUTHORIZATION:
        return dict(Connection.Reason.choices).get(event.outcome, "")
    if event.kind in (Kind.REVOKED, Kind.REVOCATION_FINISHED) and event.outcome:
        return REVOCATIONS.get(event.outcome, REVOCATIONS[Revocation.Outcome.FAILED])
    return ""


def _by(request: HttpRequest, event: Any) -> str:
    """Return who did it. Staff are not named to users."""
    if event.actor is None:
        return ""
    if event.actor == request.user:
        return "you"
    return "staff" if getattr(event.actor, "is_staff", False) else str(event.actor)
