"""Connect and reconnect: only ever by a POST of the logged-in user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.http import Http404
from django.urls import reverse

from django_oauth_flows import flows
from django_oauth_flows.departing import SeeOther, forms_are_restricted, session_auth_hash, set_cookie, site_url
from django_oauth_flows.forms import parameter_fields, read_parameters
from django_oauth_flows.managers import allows
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.tickets import read_connect_ticket
from django_oauth_flows.views.owning import named_owner, owner_name
from django_oauth_flows.views.pages import page
from django_oauth_flows.views.permissions import permissions
from django_oauth_flows.views.popup import landing_of
from django_oauth_flows.views.restarting import confirmation_url
from django_oauth_flows.views.shielding import members_only, to_connections

if TYPE_CHECKING:
    from uuid import UUID

    from django.contrib.auth.base_user import AbstractBaseUser
    from django.db.models import Model
    from django.http import HttpRequest, HttpResponse

    from django_oauth_flows.flows.values import StartedAuthorization


def to_confirmation(request: HttpRequest, *, slug: str) -> str:
    """Return the page that asks for the POST which this request was, or should be."""
    return confirmation_url(slug, request.POST)


@members_only("GET", "HEAD")
def confirm_connect(request: HttpRequest, slug: str) -> HttpResponse:
    """Ask before connecting: what will be connected, for whom; the form on it POSTs to ``connect``."""
    provider = visible_provider(request, slug)
    scopes, next_url = request.GET.get("scopes", "").split(), request.GET.get("next", "")
    if ticket := request.GET.get("ticket"):
        asked = read_connect_ticket(ticket, cast("AbstractBaseUser", request.user))
        if asked.provider_slug != slug:
            raise Http404
        scopes, next_url = list(asked.scopes or ()), asked.next_url
    owner = named_owner(request, request.GET.get("owner", ""))
    context = {
        "provider": provider,
        "present": _present(provider, owner or cast("Model", request.user)),
        "scopes": scopes,
        "permissions": permissions(provider, _asked_for(provider, scopes)),
        "next": flows.safe_next_url(next_url),
        "owner": owner,
        "owner_name": owner_name(owner),
        "parameters": parameter_fields(provider, request.GET),
    }
    return page(request, "confirm_connect.html", context)


@members_only("POST", after_login=to_confirmation)
def connect(request: HttpRequest, slug: str) -> HttpResponse:
    """Start connecting an account, for the logged-in user or an owner that they manage."""
    provider = visible_provider(request, slug)
    owner = named_owner(request, request.POST.get("owner", ""))
    parameters = read_parameters(provider, request.POST)
    if parameters is None:
        return SeeOther(confirmation_url(slug, request.POST))
    scopes = request.POST.get("scopes", "").split() or None
    return _begin(request, provider, scopes=scopes, owner=owner, parameters=parameters)


@members_only("POST", after_login=to_connections)
def reconnect(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Start renewing an existing connection; what is ticked as ``scopes`` is asked for beside what it has."""
    connection = manageable_connection(request, pk)
    scopes = " ".join(request.POST.getlist("scopes")).split() or None
    return _begin(request, connection.provider, reconnect=connection, scopes=scopes)


def visible_provider(request: HttpRequest, slug: str) -> Provider:
    """Return the enabled provider; one that is unknown, disabled or somebody else's is the same 404."""
    provider = Provider.objects.offered(slug)
    if provider is None or not allows(request.user, "use", provider):
        raise Http404("There is no such provider.")
    return provider


def manageable_connection(request: HttpRequest, pk: UUID) -> Connection:
    """Return a connection that the user may manage; anybody else's does not exist."""
    connection = Connection.objects.select_related("provider").filter(pk=pk).first()
    if connection is None or not allows(request.user, "manage", connection):
        raise Http404("There is no such connection.")
    return connection


def _asked_for(provider: Provider, scopes: list[str]) -> list[str]:
    return list(dict.fromkeys([*(scopes or provider.scopes), *provider.required_scopes]))


def _present(provider: Provider, owner: Model) -> Connection | None:
    present = Connection.objects.for_owner(owner).active(provider.slug)
    return present.order_by("-authorized_at").first()


def _begin(request: HttpRequest, provider: Provider, **what: Any) -> HttpResponse:
    """Start in the way that the form names; a provider without a page for browsers has one way only."""
    what |= {
        "user": request.user,
        "session_auth_hash": session_auth_hash(request),
        "next_url": landing_of(request),
    }
    if request.POST.get("way") == "device" or not provider.authorization_endpoint:
        waiting = flows.start_device_authorization(provider, **what)
        response = SeeOther(reverse("oauth_flows:device", args=[waiting.pending.request_id]))
        set_cookie(request, response, waiting.cookie)
        return response
    return _to_provider(request, provider, flows.start_authorization(provider, site_url=site_url(request), **what))


def _to_provider(request: HttpRequest, provider: Provider, started: StartedAuthorization) -> HttpResponse:
    response: HttpResponse = SeeOther(started.authorization_url)
    if forms_are_restricted():
        context = {"provider": provider, "authorization_url": started.authorization_url}
        response = page(request, "leaving.html", context)
        response["Refresh"] = f"0; url={started.authorization_url}"
    set_cookie(request, response, started.cookie)
    return response
