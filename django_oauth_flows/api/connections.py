"""The endpoints about connections: parse, ask the owner policy, one ``flows`` call, render."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import Q
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response

from django_oauth_flows import flows
from django_oauth_flows.api.base import NewestFirst, View
from django_oauth_flows.api.finding import connections, named_owner, states, user_of, visible_connection
from django_oauth_flows.api.operations import operation
from django_oauth_flows.api.serializers import (
    ConnectionPage,
    ConnectionState,
    Disconnection,
    EventPage,
    EventState,
    LabelRequest,
    OwnedPageQuery,
    PageQuery,
)
from django_oauth_flows.managers import allows, owner_key
from django_oauth_flows.models import Connection, ConnectionEvent

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.base_user import AbstractBaseUser
    from rest_framework.request import Request


class ConnectionList(View):
    """``GET connections/``: the user's own, or another owner's."""

    @operation("list_connections", answers=ConnectionPage, query=OwnedPageQuery, refusals=(400, 404))
    def get(self, request: Request) -> Response:
        """List the live connections that the user owns or has consented to, or those of ``owner``, newest first."""
        user, owner = user_of(request), named_owner(request)
        owner_model, owner_id = owner_key(user if owner is None else owner)
        wanted = Q(owner_model=owner_model, owner_id=owner_id)
        if owner is None:
            wanted |= Q(user=user)
        live = connections().filter(wanted).exclude(status=Connection.Status.REVOKED)
        pages = NewestFirst()
        rows = pages.rows_of(live, request, self)
        return pages.get_paginated_response(states(row for row in rows if allows(user, "view", row)))


class ConnectionDetail(View):
    """``GET`` and ``PATCH connections/<id>/``: one connection, and what it is called."""

    @property
    def oauth_flows_throttle(self) -> str:  # type: ignore[override]
        """Count changing apart from looking."""
        return "oauth_flows_change" if self.request.method == "PATCH" else "oauth_flows_read"

    @operation("retrieve_connection", answers=ConnectionState, refusals=(404,))
    def get(self, request: Request, pk: UUID) -> Response:
        """Show one; it stays readable after it was disconnected."""
        return Response(states([visible_connection(request, pk)])[0])

    @operation("label_connection", answers=ConnectionState, body=LabelRequest, refusals=(400, 404, 415))
    def patch(self, request: Request, pk: UUID) -> Response:
        """Call it something else: the label is all that can be changed."""
        connection = _manageable(request, pk)
        asked = LabelRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        if (label := asked.validated_data.get("label")) is not None:
            flows.relabel(connection, label)
        return Response(states([connection])[0])


class Disconnect(View):
    """``POST connections/<id>/disconnect/``."""

    oauth_flows_throttle = "oauth_flows_disconnect"

    @operation("disconnect", answers=Disconnection, refusals=(404,))
    def post(self, request: Request, pk: UUID) -> Response:
        """Disconnect: at once here, then at the provider. Repeating it changes nothing."""
        connection = _manageable(request, pk)
        outcome = flows.revoke(connection, actor=user_of(request))
        return Response(Disconnection({"id": pk, "status": connection.status, "revocation": outcome}).data)


class Pause(View):
    """``POST connections/<id>/pause/``."""

    oauth_flows_throttle = "oauth_flows_change"

    @operation("pause_connection", answers=ConnectionState, refusals=(404, 409))
    def post(self, request: Request, pk: UUID) -> Response:
        """Let it rest, its tokens kept: nothing is called or refreshed until it is resumed. Repeating it changes nothing."""
        connection = _manageable(request, pk)
        flows.pause(connection, actor=user_of(request))
        return Response(states([connection])[0])


class Resume(View):
    """``POST connections/<id>/resume/``."""

    oauth_flows_throttle = "oauth_flows_change"

    @operation("resume_connection", answers=ConnectionState, refusals=(404, 409))
    def post(self, request: Request, pk: UUID) -> Response:
        """Let a paused one work again, at once. Repeating it changes nothing."""
        connection = _manageable(request, pk)
        flows.resume(connection, actor=user_of(request))
        return Response(states([connection])[0])


class EventList(View):
    """``GET connections/<id>/events/``: the history of one connection."""

    @operation("list_events", answers=EventPage, query=PageQuery, refusals=(400, 404))
    def get(self, request: Request, pk: UUID) -> Response:
        """List what has happened to a connection, newest first. Successful refreshes are not events."""
        connection = visible_connection(request, pk)
        pages = NewestFirst()
        rows = pages.rows_of(ConnectionEvent.objects.filter(connection=connection), request, self)
        for row in rows:
            row.by = _by(row, user_of(request))
        return pages.get_paginated_response(EventState(rows, many=True).data)


def _manageable(request: Request, pk: UUID) -> Connection:
    connection = visible_connection(request, pk)
    if not allows(request.user, "manage", connection):
        raise PermissionDenied
    return connection


def _by(event: ConnectionEvent, user: AbstractBaseUser) -> str:
    """Say who did it, without naming others; "" for the site itself."""
    if event.actor_id is None:
        return ""
    return "you" if event.actor_id == user.pk else "somebody"
