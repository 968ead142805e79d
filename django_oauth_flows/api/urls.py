"""The API; include it anywhere: ``path("api/oauth/", include("django_oauth_flows.api.urls"))``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from django.db.transaction import non_atomic_requests
from django.urls import path, re_path

from django_oauth_flows.api import calls, connections, devices, health, views
from django_oauth_flows.api.base import Nothing

if TYPE_CHECKING:
    from django.urls import URLPattern

    from django_oauth_flows.api.base import View

app_name = "oauth_flows_api"


def _endpoint(address: str, view: type[View], name: str | None = None) -> URLPattern:
    """Keep it out of the request's transaction: disconnecting tells the outcome at the provider, after the commit."""
    return path(f"v1/{address}", non_atomic_requests(view.as_view()), name=name)


urlpatterns = [
    _endpoint("providers/", views.ProviderList, "providers"),
    _endpoint("providers/<slug:slug>/", views.ProviderOne, "provider"),
    _endpoint("providers/<slug:slug>/start/", views.Start, "start"),
    _endpoint("providers/<slug:slug>/device/", devices.StartDevice, "start_device"),
    _endpoint("device/<uuid:pk>/", devices.Device, "device"),
    _endpoint("connections/", connections.ConnectionList, "connections"),
    _endpoint("connections/<uuid:pk>/", connections.ConnectionDetail, "connection"),
    _endpoint("connections/<uuid:pk>/disconnect/", connections.Disconnect, "disconnect"),
    _endpoint("connections/<uuid:pk>/pause/", connections.Pause, "pause"),
    _endpoint("connections/<uuid:pk>/resume/", connections.Resume, "resume"),
    _endpoint("connections/<uuid:pk>/events/", connections.EventList, "events"),
    _endpoint("connections/<uuid:pk>/call/<path:path>", calls.Call, "call"),
    _endpoint("health/", health.HealthView, "health"),
]

if find_spec("drf_spectacular") is not None:
    from django_oauth_flows.api.schema import SchemaView

    urlpatterns.append(_endpoint("schema/", SchemaView, "schema"))

urlpatterns.append(re_path(r"^v1/[\s\S]*\Z", non_atomic_requests(Nothing.as_view())))
