"""URLs of the test site."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("accounts/login/", LoginView.as_view(template_name="admin/login.html")),
    path("accounts/logout/", LogoutView.as_view(next_page="/")),
    path("oauth/", include("django_oauth_flows.urls")),
    path("api/oauth/", include("django_oauth_flows.api.urls")),
]
