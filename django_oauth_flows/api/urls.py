"""The API; include it anywhere: ``path("api/oauth/", include("django_oauth_flows.api.urls"))``."""

from __future__ import annotations

from django.db.transaction import non_atomic_requests
from django.urls import path

from django_oauth_flows.api import devices, views

app_name = "oauth_flows_api"

# Not inside the request's transaction: disconnecting tells the outcome at the provider, which comes after the commit.
urlpatterns = [
    path("providers/", non_atomic_requests(views.ProviderList.as_view()), name="providers"),
    path("providers/<slug:slug>/start/", non_atomic_requests(views.Start.as_view()), name="start"),
    path("providers/<slug:slug>/device/", non_atomic_requests(devices.StartDevice.as_view()), name="start_device"),
    path("device/<uuid:pk>/", non_atomic_requests(devices.Device.as_view()), name="device"),
    path("connections/", non_atomic_requests(views.ConnectionList.as_view()), name="connections"),
    path("connections/<uuid:pk>/", non_atomic_requests(views.ConnectionDetail.as_view()), name="connection"),
]
