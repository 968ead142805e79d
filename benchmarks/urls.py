"""The dances side by side."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("oauth/", include("django_oauth_flows.urls")),
    path("", include("benchmarks.baseline")),
    path("", include("benchmarks.floor")),
]
