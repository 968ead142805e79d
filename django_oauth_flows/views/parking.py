"""The page of a grant that waits for the user's yes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_oauth_flows import flows
from django_oauth_flows.departing import SeeOther, session_auth_hash
from django_oauth_flows.flows.binding import cookie_name
from django_oauth_flows.views.owning import connections_url
from django_oauth_flows.views.pages import page
from django_oauth_flows.views.popup import onward
from django_oauth_flows.views.shielding import members_only

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse


@members_only("GET", "HEAD", "POST")
def parked(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Show which account the service answered for; a POST with ``action=adopt`` keeps it, ``action=drop`` gives it back."""
    who: dict[str, Any] = {
        "user": request.user,
        "session_auth_hash": session_auth_hash(request),
        "cookies": request.COOKIES,
    }
    action = request.POST.get("action")
    if action == "adopt":
        address = onward(request, flows.adopt_parked(request_id, **who))
    elif action == "drop":
        flows.drop_parked(request_id, **who)
        address = connections_url(request)
    else:
        return page(request, "parked.html", {"parked": flows.parked(request_id, **who)})
    response = SeeOther(address)
    response.delete_cookie(cookie_name(request_id), path=request.path, samesite="Lax")
    return response
