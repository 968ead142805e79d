"""A site with both admins: ours, and the one of django-allauth's social accounts."""

from __future__ import annotations

from benchmarks.settings import *  # noqa: F403
from benchmarks.settings import INSTALLED_APPS as PLAIN_APPS
from benchmarks.settings import MIDDLEWARE as PLAIN_MIDDLEWARE

INSTALLED_APPS = [
    "django.contrib.admin",
    *PLAIN_APPS,
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.github",
]
MIDDLEWARE = [*PLAIN_MIDDLEWARE, "allauth.account.middleware.AccountMiddleware"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "/static/"
ROOT_URLCONF = "benchmarks.admin_urls"
