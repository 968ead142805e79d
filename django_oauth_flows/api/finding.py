"""Who asks, and what they may see: what is somebody else's does not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.db.models import BooleanField, ExpressionWrapper, F, Q
from django.http import Http404
from rest_framework.exceptions import NotAuthenticated

from django_oauth_flows import flows
from django_oauth_flows.api.base import checked_query
from django_oauth_flows.api.serializers import ConnectionState, OwnerQuery
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.health import health_of
from django_oauth_flows.managers import allows, find_owner
from django_oauth_flows.models import Connection, Provider

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from django.contrib.auth.base_user import AbstractBaseUser
    from django.db.models import Model, QuerySet
    from rest_framework.request import Request


def user_of(request: Request) -> AbstractBaseUser:
    """Return the user; raise ``NotAuthenticated`` if the site's own permissions let nobody in."""
    user: Any = request.user  # None where the site has set UNAUTHENTICATED_USER so
    if user is None or not user.is_authenticated:
        raise NotAuthenticated
    return cast("AbstractBaseUser", user)


def named_owner(request: Request) -> Model | None:
    """Return the owner whom the query names, None for the user; one that the user may not view does not exist."""
    name = checked_query(request, OwnerQuery).get("owner", "")
    if not name:
        return None
    owner = find_owner(name)
    if owner is None or not allows(request.user, "view", owner):
        raise Http404
    return owner


def open_providers() -> QuerySet[Provider]:
    """Return the providers at which accounts can be connected now."""
    return Provider.objects.enabled().filter(paused=False)


def usable_provider(request: Request, slug: str) -> Provider:
    """Return a provider that the user may use; unknown, disabled and forbidden ones look the same."""
    provider = open_providers().filter(slug=slug).first()
    if provider is None or not allows(request.user, "use", provider):
        raise Http404
    return provider


def connections() -> QuerySet[Connection]:
    """Return all connections with what is told of each, in one query."""
    renewable = ExpressionWrapper(Q(token__refresh_token__isnull=False), output_field=BooleanField())
    shares_grant = flows.stands_on_shared_grant()
    rows = Connection.objects.select_related("provider", "token").annotate(now=DatabaseNow())
    return rows.annotate(renewable=renewable, expires_at=F("token__expires_at"), shares_grant=shares_grant)


def visible_connection(request: Request, pk: UUID) -> Connection:
    """Return a connection that the user may see; anybody else's does not exist."""
    connection = connections().filter(pk=pk).first()
    if connection is None or not allows(user_of(request), "view", connection):
        raise Http404
    return connection


def states(rows: Iterable[Connection]) -> list[dict[str, Any]]:
    """Return what is told of each."""
    told = list(rows)
    for row in told:
        row.health = health_of(row)  # type: ignore[attr-defined]
    return list(ConnectionState(told, many=True).data)
