"""Addresses of the site: its own pages, and two lines for django-oauth-flows."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import views as auth
from django.urls import include, path

from example_project.host import views

urlpatterns = [
    path("", views.home, name="home"),
    path("notes/", views.notes, name="notes"),
    path("photos/", views.photos, name="photos"),
    path("photos/<int:pk>/", views.photo, name="photo"),
    path("classic/notes/", views.classic_notes, name="classic_notes"),
    path("classic/photos/", views.classic_photos, name="classic_photos"),
    path("classic/photos/<int:pk>/", views.classic_photo, name="classic_photo"),
    path("totals/", views.totals, name="totals"),
    path("accounts/login/", auth.LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", auth.LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("oauth/", include("django_oauth_flows.urls")),
    path("api/oauth/", include("django_oauth_flows.api.urls")),
]
