"""Views that need a connection: users without one are sent to connect, and back."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth.views import redirect_to_login
from django.shortcuts import redirect
from django.urls import reverse

from django_oauth_flows.exceptions import AuthorizationError, Disconnected
from django_oauth_flows.forms import next_usable, scopes_to_ask_for
from django_oauth_flows.managers import allows
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.views.pages import refusal
from django_oauth_flows.views.restarting import confirmation_url
from django_oauth_flows.views.shielding import harden

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.db.models import Model
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from django_oauth_flows.exceptions import OAuthFlowsError


def connection_required(provider_slug: str, *, scopes: Iterable[str] = ()) -> Callable[[Any], Any]:
    """Call the view only with a usable connection of the logged-in user, as ``request.oauth_connection``.

    Anonymous users are sent to log in; users without a connection that has ``scopes`` and can serve a token to a page
    that asks them to connect, and from there back to this view. The provider's required scopes are among ``scopes``. A
    request that changes something is not repeated: it comes back to the connections page. Where the provider is disabled or
    paused, or the user has paused their only connection, an error page says so. Works for ``async def`` views, too.
    """
    wanted = tuple(scopes)

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        if iscoroutinefunction(view):

            @wraps(view)
            async def async_wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
                detour = await sync_to_async(find_connection)(request, provider_slug, wanted)
                return detour or await view(request, *args, **kwargs)

            return async_wrapper

        @wraps(view)
        def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return find_connection(request, provider_slug, wanted) or view(request, *args, **kwargs)

        return wrapper

    return decorate


class ConnectionRequiredMixin:
    """The same for class-based views: set ``connection_provider``, and ``connection_scopes`` if some are needed."""

    connection_provider: str
    connection_scopes: tuple[str, ...] = ()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Find the connection first."""
        require = connection_required(self.connection_provider, scopes=self.connection_scopes)
        handle = super().dispatch  # type: ignore[misc]
        if not getattr(self, "view_is_async", False):
            return require(handle)(request, *args, **kwargs)

        async def handle_async(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            return await handle(request, *args, **kwargs)  # type: ignore[no-any-return]

        return require(handle_async)(request, *args, **kwargs)


def find_connection(request: HttpRequest, provider_slug: str, scopes: tuple[str, ...]) -> HttpResponseBase | None:
    """Set ``request.oauth_connection`` and return None, or return where to send the user instead."""
    repeatable = request.method in ("GET", "HEAD")
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path() if repeatable else reverse("oauth_flows:connections"))
    mine = Connection.objects.for_owner(cast("Model", request.user)).active(provider_slug).with_ended()
    present = list(mine.select_related("provider").order_by("-authorized_at"))
    provider = present[0].provider if present else Provider.objects.filter(slug=provider_slug).first()
    wanted = scopes if provider is None else (*scopes, *provider.required_scopes)
    connection = next_usable(present, wanted)
    if connection is not None and not connection.provider.paused:
        request.oauth_connection = connection  # type: ignore[attr-defined]
        return None
    # To whom the policy keeps a provider from, it does not exist: they are sent to a 404, as if nobody had heard of it.
    if provider is not None and _is_closed(provider) and allows(request.user, "use", provider):
        return _closed(request, provider, connection)
    if provider is not None and not present and _rests(request, provider):
        error = Disconnected("You have paused this account.", code="connection_paused")
        return harden(refusal(request, error, about={"slug": provider.slug}))
    asked = scopes_to_ask_for(provider, wanted, present[0] if present else None) if provider is not None else ()
    back = request.get_full_path() if repeatable else ""
    return redirect(confirmation_url(provider_slug, {"scopes": " ".join(asked), "next": back}))


def _is_closed(provider: Provider) -> bool:
    return provider.paused or not provider.enabled


def _rests(request: HttpRequest, provider: Provider) -> bool:
    """Tell whether the user has paused what would serve: to connect it once more would not resume it."""
    mine = Connection.objects.for_owner(cast("Model", request.user))
    return mine.filter(provider=provider, status=Connection.Status.ACTIVE, paused=True).exists()


def _closed(request: HttpRequest, provider: Provider, connection: Connection | None) -> HttpResponseBase:
    """Say why there is no way on: connecting is not possible now, or what is connected rests."""
    error: OAuthFlowsError = AuthorizationError("The service accepts no new connections.", code="provider_disabled")
    if connection is not None:
        error = Disconnected("This service is paused.", code="paused")
    return harden(refusal(request, error, about={"slug": provider.slug}))
