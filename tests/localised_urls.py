"""A site whose pages live below a language prefix."""

from __future__ import annotations

from django.conf.urls.i18n import i18n_patterns
from django.urls import include, path

urlpatterns = i18n_patterns(path("oauth/", include("django_oauth_flows.urls")))
