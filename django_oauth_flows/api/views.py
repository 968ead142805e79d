"""The endpoints: parse, ask the owner policy, one ``flows`` call, render."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.db.models import BooleanField, ExpressionWrapper, F, Q
from django.http import Http404
from django.urls import reverse
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response

from django_oauth_flows import flows
from django_oauth_flows.api.base import NewestFirst, View
from django_oauth_flows.api.serializers import ConnectionState, ProviderDetail, StartRequest
from django_oauth_flows.exceptions import ScopeNotAllowed
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.health import health_of
from django_oauth_flows.managers import allows, owner_key
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.tickets import connect_ticket

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from django.contrib.auth.base_user import AbstractBaseUser
    from django.db.models import QuerySet
    from rest_framework.request import Request


class BySlug(NewestFirst):
    """Pages of providers."""

    ordering = ("slug",)


class ProviderList(View):
    """``GET providers/``: where accounts can be connected."""

    def get(self, request: Request) -> Response:
        """List the enabled providers that the user may use."""
        pages = BySlug()
        rows = pages.paginate_queryset(open_providers(), request, view=self) or []
        usable = [provider for provider in rows if allows(request.user, "use", provider)]
        return pages.get_paginated_response(ProviderDetail(usable, many=True).data)


class Start(View):
    """``POST providers/<slug>/start/``: where to send the user's browser."""

    oauth_flows_throttle = "oauth_flows_start"

    def post(self, request: Request, slug: str) -> Response:
        """Return a page of ours, which asks the same user, logged in, to confirm: never the provider's URL itself.

        Whoever opens the provider's URL could finish the flow of somebody else's client; a page that wants the login and
        a click of the same user cannot be passed on.
        """
        provider = open_providers().filter(slug=slug).first()
        if provider is None or not allows(request.user, "use", provider):
            raise Http404
        asked = StartRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        scopes = asked.validated_data.get("scopes") or None
        if not provider.known_scopes.issuperset(scopes or ()):
            raise ScopeNotAllowed(f"A scope that {provider} does not list was asked for.")
        next_url = flows.safe_next_url(asked.validated_data.get("next", ""))
        ticket = connect_ticket(user_of(request), provider, scopes, next_url)
        return Response({"connect_url": _connect_url(request, provider, ticket)})


class ConnectionList(View):
    """``GET connections/``: the user's own."""

    def get(self, request: Request) -> Response:
        """List the live connections that the user owns or has consented to, newest first."""
        owner_model, owner_id = owner_key(user_of(request))
        mine = Q(owner_model=owner_model, owner_id=owner_id) | Q(user=user_of(request))
        live = readable_connections().filter(mine).exclude(status=Connection.Status.REVOKED)
        pages = NewestFirst()
        rows = pages.paginate_queryset(live, request, view=self) or []
        visible = [connection for connection in rows if allows(request.user, "view", connection)]
        return pages.get_paginated_response(states(visible))


class ConnectionDetail(View):
    """``GET`` and ``DELETE connections/<id>/``: one connection, and disconnecting it."""

    @property
    def oauth_flows_throttle(self) -> str:  # type: ignore[override]
        """Count disconnecting apart from looking."""
        return "oauth_flows_disconnect" if self.request.method == "DELETE" else "oauth_flows_read"

    def get(self, request: Request, pk: UUID) -> Response:
        """Show one; it stays readable after it was disconnected."""
        return Response(states([_visible(request, pk)])[0])

    def delete(self, request: Request, pk: UUID) -> Response:
        """Disconnect: at once here, then at the provider. Repeating it changes nothing."""
        connection = _visible(request, pk)
        if not allows(request.user, "manage", connection):
            raise PermissionDenied
        outcome = flows.revoke(connection, actor=user_of(request))
        return Response({"id": str(connection.pk), "status": connection.status, "revocation": outcome})


def user_of(request: Request) -> AbstractBaseUser:
    """Return the user, whom the endpoint's permission has found to be logged in."""
    return cast("AbstractBaseUser", request.user)


def open_providers() -> QuerySet[Provider]:
    return Provider.objects.enabled().filter(paused=False)


def readable_connections() -> QuerySet[Connection]:
    renewable = ExpressionWrapper(Q(token__refresh_token__isnull=False), output_field=BooleanField())
    rows = Connection.objects.select_related("provider", "token")
    return rows.annotate(renewable=renewable, expires_at=F("token__expires_at"), now=DatabaseNow())


def _visible(request: Request, pk: UUID) -> Connection:
    """Return a connection that the user may see; anybody else's does not exist."""
    connection = readable_connections().filter(pk=pk).first()
    if connection is None or not allows(request.user, "view", connection):
        raise Http404
    return connection


def states(connections: Iterable[Connection]) -> list[dict[str, Any]]:
    rows = list(connections)
    sharing = flows.shares_grant(row for row in rows if row.status != Connection.Status.REVOKED)
    for row in rows:
        row.shares_grant = row.pk in sharing  # type: ignore[attr-defined]
        row.health = health_of(row)  # type: ignore[attr-defined]
    return list(ConnectionState(rows, many=True).data)


def _connect_url(request: Request, provider: Provider, ticket: str) -> str:
    """Return an absolute URL on the same origin as the redirect URI: the browser's binding cookie belongs there."""
    # A Host header may only name the site if Django has checked it against real names.
    trusted = "*" not in settings.ALLOWED_HOSTS
    site_url = f"{request.scheme}://{request.get_host()}" if trusted else ""
    origin = urlsplit(flows.redirect_uri(provider, site_url=site_url))
    path = reverse("oauth_flows:confirm_connect", args=[provider.slug])
    return f"{origin.scheme}://{origin.netloc}{path}?{urlencode({'ticket': ticket})}"
