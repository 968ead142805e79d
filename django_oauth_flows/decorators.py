"""Views that need a connection: users without one are sent to connect, and back."""

from __future__ import annotations

from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from asgiref.sync import sync_to_async
from django.contrib.auth.views import redirect_to_login
from django.shortcuts import redirect
from django.urls import reverse

from django_oauth_flows.forms import scopes_to_ask_for
from django_oauth_flows.models import Connection, Provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.db.models import Model
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase


def connection_required(provider_slug: str, *, scopes: Iterable[str] = ()) -> Callable[[Any], Any]:
    """Call the view only with a usable connection of the logged-in user, as ``request.oauth_connection``.

    Anonymous users are sent to log in; users without an active connection that has ``scopes`` to a page that asks them to
    connect, and from there back to this view. A request that changes something is not repeated: it comes back to the
    connections page. Works for ``async def`` views, too.
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
    mine = Connection.objects.for_owner(cast("Model", request.user)).active(provider_slug)
    present = list(mine.select_related("provider").order_by("-authorized_at"))
    for connection in present:
        if not connection.lacks(scopes):
            request.oauth_connection = connection  # type: ignore[attr-defined]
            return None
    provider = present[0].provider if present else Provider.objects.filter(slug=provider_slug).first()
    asked = scopes_to_ask_for(provider, scopes, present[0] if present else None) if provider is not None else ()
    back = request.get_full_path() if repeatable else ""
    query = urlencode([(name, value) for name, value in (("scopes", " ".join(asked)), ("next", back)) if value])
    return redirect(f"{reverse('oauth_flows:confirm_connect', args=[provider_slug])}{'?' if query else ''}{query}")
