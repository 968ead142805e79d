"""What the owner's buttons do: pause, resume, name, disconnect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django_oauth_flows import flows
from django_oauth_flows.departing import SeeOther
from django_oauth_flows.flows.labelling import MAX_LABEL, ONE_LINE
from django_oauth_flows.views.connecting import manageable_connection
from django_oauth_flows.views.owning import connections_url
from django_oauth_flows.views.shielding import members_only, to_connections

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse

    from django_oauth_flows.models import Connection


@members_only("POST", after_login=to_connections)
def pause(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Let a connection rest until it is resumed."""
    connection = manageable_connection(request, pk)
    flows.pause(connection, actor=request.user)
    return _back(request, connection)


@members_only("POST", after_login=to_connections)
def resume(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Let a paused connection work again."""
    connection = manageable_connection(request, pk)
    flows.resume(connection, actor=request.user)
    return _back(request, connection)


@members_only("POST", after_login=to_connections)
def relabel(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Give a connection the name that the field ``label`` holds, as far as it is a name."""
    connection = manageable_connection(request, pk)
    entered = " ".join(request.POST.get("label", "").split())
    flows.relabel(connection, "".join(character for character in entered if re.match(ONE_LINE, character))[:MAX_LABEL])
    return _back(request, connection)


@members_only("POST", after_login=to_connections)
def disconnect(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Disconnect; doing it twice is doing it once. The page it leads to tells how it went at the provider."""
    connection = manageable_connection(request, pk)
    flows.revoke(connection, actor=request.user)
    return SeeOther(connections_url(request, connection))


def _back(request: HttpRequest, connection: Connection) -> HttpResponse:
    """Return to the card: the browser, and with it the keyboard and the screen reader, goes on from where it was."""
    return SeeOther(f"{connections_url(request, connection)}#connection-{connection.pk}")
