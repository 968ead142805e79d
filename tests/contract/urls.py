"""The package's URL configurations as a site includes them."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("oauth/", include("django_oauth_flows.urls")),
    path("api/oauth/", include("django_oauth_flows.api.urls")),
]
