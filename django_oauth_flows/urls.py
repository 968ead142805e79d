"""The pages; include them anywhere: ``path("oauth/", include("django_oauth_flows.urls"))``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.transaction import non_atomic_requests
from django.urls import path, register_converter
from django.urls.converters import UUIDConverter, get_converters
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

app_name = "oauth_flows"


def late(name: str) -> Callable[..., HttpResponse]:
    """Return a view that is imported when it is first asked for: a site's first request should not wait for ours."""

    def view(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        found: Callable[..., HttpResponse] = import_string(f"django_oauth_flows.views.{name}")
        return found(request, **kwargs)

    view.__name__ = view.__qualname__ = name.rpartition(".")[2]
    # As the view itself is; Django looks at what stands in the URL configuration.
    return non_atomic_requests(view)


class IdConverter(UUIDConverter):
    """Ids as Django's ``uuid``. The pattern only finds where one ends: it is compiled in a fraction of the time, which every
    site's first request waits for."""

    regex = "[^/]+"

    def to_python(self, value: str) -> UUID:
        """Return the id; raise ``ValueError`` for any other spelling of it, so that a page has one address."""
        found = UUID(value)
        if str(found) != value:
            raise ValueError("not as this app writes an id")
        return found


if "oauth_flows_id" not in get_converters():  # else this module is being loaded once more
    register_converter(IdConverter, "oauth_flows_id")

urlpatterns = [
    path("", late("connections.connections"), name="connections"),
    path("connect/<slug:slug>/", late("connecting.connect"), name="connect"),
    path("connect/<slug:slug>/confirm/", late("connecting.confirm_connect"), name="confirm_connect"),
    # A service may post its answer, without our token: what binds it to the browser is checked in the view.
    path("callback/<slug:slug>/", csrf_exempt(late("callback.callback")), name="callback"),
    path("device/<oauth_flows_id:request_id>/", late("device.device"), name="device"),
    path("jwks/<slug:slug>/", late("jwks.jwks"), name="jwks"),
    path("connections/<oauth_flows_id:pk>/reconnect/", late("connecting.reconnect"), name="reconnect"),
    path("connections/<oauth_flows_id:pk>/pause/", late("managing.pause"), name="pause"),
    path("connections/<oauth_flows_id:pk>/resume/", late("managing.resume"), name="resume"),
    path("connections/<oauth_flows_id:pk>/relabel/", late("managing.relabel"), name="relabel"),
    path("connections/<oauth_flows_id:pk>/disconnect/", late("managing.disconnect"), name="disconnect"),
    path("connections/<oauth_flows_id:pk>/activity/", late("activity.activity"), name="activity"),
    path("connected/", late("popup.connected"), name="connected"),
    path("parked/<oauth_flows_id:request_id>/", late("parking.parked"), name="parked"),
]

for page in urlpatterns:
    page.pattern.regex  # noqa: B018 - compiled here, while the site starts, and not while its first request waits
