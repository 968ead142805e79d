"""The endpoints about providers, and starting: parse, ask the owner policy, one ``flows`` call, render."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.urls import reverse
from rest_framework.response import Response

from django_oauth_flows import flows
from django_oauth_flows.api.base import NewestFirst, View
from django_oauth_flows.api.finding import open_providers, usable_provider, user_of
from django_oauth_flows.api.operations import operation
from django_oauth_flows.api.serializers import ConnectUrl, PageQuery, ProviderDetail, ProviderPage, StartRequest
from django_oauth_flows.exceptions import ScopeNotAllowed
from django_oauth_flows.managers import allows
from django_oauth_flows.tickets import connect_ticket

if TYPE_CHECKING:
    from rest_framework.request import Request

    from django_oauth_flows.models import Provider


class BySlug(NewestFirst):
    """Pages of providers."""

    ordering = ("slug",)

    def is_position(self, text: str) -> bool:
        """Tell whether this can be a slug."""
        try:
            validate_slug(text)
        except ValidationError:
            return False
        return True


class ProviderList(View):
    """``GET providers/``: where accounts can be connected."""

    @operation("list_providers", answers=ProviderPage, query=PageQuery, refusals=(400, 404))
    def get(self, request: Request) -> Response:
        """List the enabled providers that the user may use."""
        pages = BySlug()
        rows = pages.rows_of(open_providers(), request, self)
        usable = [provider for provider in rows if allows(request.user, "use", provider)]
        return pages.get_paginated_response(ProviderDetail(usable, many=True).data)


class ProviderOne(View):
    """``GET providers/<slug>/``: one of them."""

    @operation("retrieve_provider", answers=ProviderDetail, refusals=(404,))
    def get(self, request: Request, slug: str) -> Response:
        """Show one provider."""
        return Response(ProviderDetail(usable_provider(request, slug)).data)


class Start(View):
    """``POST providers/<slug>/start/``: where to send the user's browser."""

    oauth_flows_throttle = "oauth_flows_start"

    @operation("start_connection", answers=ConnectUrl, body=StartRequest, refusals=(400, 404, 409, 415))
    def post(self, request: Request, slug: str) -> Response:
        """Return a page of ours, which asks the same user, logged in, to confirm: never the provider's URL itself.

        Whoever opens the provider's URL could finish the flow of somebody else's client; a page that wants the login and
        a click of the same user cannot be passed on. An account that is connected already is reconnected.
        """
        provider = usable_provider(request, slug)
        asked = StartRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        scopes = asked.validated_data.get("scopes") or None
        if not provider.known_scopes.issuperset(scopes or ()):
            raise ScopeNotAllowed(f"A scope that {provider} does not list was asked for.")
        next_url = flows.safe_next_url(asked.validated_data.get("next", ""))
        ticket = connect_ticket(user_of(request), provider, scopes, next_url)
        return Response({"connect_url": _connect_url(request, provider, ticket)})


def _connect_url(request: Request, provider: Provider, ticket: str) -> str:
    """Return an absolute URL on the same origin as the redirect URI: the browser's binding cookie belongs there."""
    # A Host header may only name the site if Django has checked it against real names.
    trusted = "*" not in settings.ALLOWED_HOSTS
    site_url = f"{request.scheme}://{request.get_host()}" if trusted else ""
    origin = urlsplit(flows.redirect_uri(provider, site_url=site_url))
    path = reverse("oauth_flows:confirm_connect", args=[provider.slug])
    return f"{origin.scheme}://{origin.netloc}{path}?{urlencode({'ticket': ticket})}"
