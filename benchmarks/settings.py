"""A plain site, as most are: sessions in the database, CSRF, authentication. ``DATABASE=sqlite`` runs without PostgreSQL."""

from __future__ import annotations

import os
from typing import Any

SECRET_KEY = "benchmarks-" + "k" * 50
DEBUG = False
USE_TZ = True
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
ROOT_URLCONF = "benchmarks.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django_oauth_flows",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES: list[dict[str, Any]] = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
LOGIN_URL = "/login/"
OAUTH_FLOWS = {"BASE_URL": "http://testserver", "ENCRYPTION_KEYS": ["A" * 43]}
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("BENCHMARK_DATABASE", "oauth_flows_benchmark"),
        "HOST": os.environ.get("PGHOST", "127.0.0.1"),
        "PORT": os.environ.get("PGPORT", "5432"),
        "USER": os.environ.get("PGUSER", "postgres"),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
        "CONN_MAX_AGE": None,
    }
}
if os.environ.get("DATABASE") == "sqlite":
    name = os.environ.get("BENCHMARK_DATABASE", "benchmark.sqlite3")
    DATABASES["default"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "TEST": {"NAME": name}}

# What the hand-written dance of baseline.py needs.
CLIENT_ID, CLIENT_SECRET = "client", "client-secret"
BASELINE_CALLBACK = "http://testserver/baseline/callback/"
PROVIDER_URL = os.environ.get("BENCHMARK_PROVIDER", "")
CA_BUNDLE = os.environ.get("BENCHMARK_CA_BUNDLE", "")
