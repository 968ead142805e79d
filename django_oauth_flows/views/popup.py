"""Popup mode: the dance in a window of its own, which tells the page that opened it and closes.

The page of :func:`connected` is only a place to come back to, like any other. What its script says goes to windows of exactly
this origin, and holds ids only; where nobody listens (the page that opened it has moved on), it is a page with a way on.
RFC 9700 §4.17.
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.urls import reverse

from django_oauth_flows import flows
from django_oauth_flows.managers import allows
from django_oauth_flows.models import Connection
from django_oauth_flows.views.owning import connections_url
from django_oauth_flows.views.pages import page
from django_oauth_flows.views.shielding import members_only

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from django_oauth_flows.flows.values import Completion

_WINDOW = re.compile("[0-9a-f]{32}")
"""The id that a page gives to the window that it opens, to know it again among others."""

_IS_LANDING = re.compile(rf"/connected/\?popup={_WINDOW.pattern}&")  # in whatever language its address is written


def landing_of(request: HttpRequest) -> str:
    """Return where a connect form wants to come back to: ``next``, by way of the popup's page if it opened one."""
    next_url = request.POST.get("next", "")
    window = request.POST.get("popup", "")
    if not _WINDOW.fullmatch(window):
        return next_url
    query = {"popup": window, "next": flows.safe_next_url(next_url)}
    return f"{reverse('oauth_flows:connected')}?{urlencode(query)}"


def onward(request: HttpRequest, completion: Completion) -> str:
    """Return where the browser goes once an account is connected; the popup's page learns which connection it is."""
    address = flows.safe_next_url(completion.next_url) or connections_url(request, completion.connection)
    if completion.connection is None or not _IS_LANDING.search(address):
        return address
    return f"{address}&{urlencode({'connection': str(completion.connection.pk)})}"


@members_only("GET", "HEAD")
def connected(request: HttpRequest) -> HttpResponse:
    """Tell the page that opened this window, by a script, which connection was made; the page has a way on without one."""
    window = request.GET.get("popup", "")
    connection = _visible(request)
    context = {
        "connection": connection,
        "window": window if _WINDOW.fullmatch(window) else "",
        "next": flows.safe_next_url(request.GET.get("next", "")) or connections_url(request, connection),
    }
    return page(request, "connected.html", context)


def _visible(request: HttpRequest) -> Connection | None:
    """Return the connection that the address names if the user may see it: anybody can make such an address."""
    try:
        pk = uuid.UUID(request.GET.get("connection", ""))
    except ValueError:
        return None
    row = Connection.objects.select_related("provider").filter(pk=pk).first()
    return row if row is not None and allows(request.user, "view", row) else None
