"""The page of a code that is entered on another device: it shows the code, and looks again by itself, without a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_oauth_flows import flows
from django_oauth_flows.departing import SeeOther, session_auth_hash
from django_oauth_flows.flows.binding import cookie_name
from django_oauth_flows.flows.values import Completion
from django_oauth_flows.views.callback import go_on
from django_oauth_flows.views.owning import connections_url
from django_oauth_flows.views.pages import page
from django_oauth_flows.views.qr_code import qr_code
from django_oauth_flows.views.shielding import members_only

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse


@members_only("GET", "POST")
def device(request: HttpRequest, request_id: UUID) -> HttpResponse:
    """Show the code until it has been entered, then go on as a callback does; a POST with ``action=cancel`` gives up."""
    who: dict[str, Any] = {
        "user": request.user,
        "session_auth_hash": session_auth_hash(request),
        "cookies": request.COOKIES,
    }
    if request.POST.get("action") == "cancel":
        flows.cancel_device_authorization(request_id, **who)
        response: HttpResponse = SeeOther(connections_url(request))
        response.delete_cookie(cookie_name(request_id), path=request.path, samesite="Lax")
        return response
    found = flows.poll_device_authorization(request_id, **who)
    if isinstance(found, Completion):
        return go_on(request, found)
    context = {"device": found, "qr_code": qr_code(found.verification_uri_complete)}
    response = page(request, "device.html", context)
    response["Refresh"] = f"{found.wait}; url={request.path}"
    return response
