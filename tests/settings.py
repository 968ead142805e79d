"""Settings of the test suite; ``DATABASE`` picks the database: sqlite (default), postgresql, mariadb."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

SECRET_KEY = "tests-only-" + "k" * 50
DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
ROOT_URLCONF = "tests.urls"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_oauth_flows",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
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
LOGIN_URL = "/accounts/login/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
OAUTH_FLOWS: dict[str, Any] = {"BASE_URL": "http://testserver"}


# Several runs at once in one checkout need databases of their own.
TEST_SUFFIX = os.environ.get("TEST_SUFFIX", "")


def _database() -> dict[str, Any]:
    match os.environ.get("DATABASE", "sqlite"):
        case "postgresql":
            return {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": f"oauth_flows{TEST_SUFFIX}",
                "HOST": os.environ.get("PGHOST", "127.0.0.1"),
                "PORT": os.environ.get("PGPORT", "5432"),
                "USER": os.environ.get("PGUSER", "postgres"),
                "PASSWORD": os.environ.get("PGPASSWORD", ""),
            }
        case "mariadb":
            return {
                "ENGINE": "django.db.backends.mysql",
                "NAME": f"oauth_flows{TEST_SUFFIX}",
                "HOST": os.environ.get("MYSQL_HOST", "127.0.0.1"),
                "PORT": os.environ.get("MYSQL_PORT", "3306"),
                "USER": os.environ.get("MYSQL_USER", "root"),
                "PASSWORD": os.environ.get("MYSQL_PWD", ""),
                "OPTIONS": {"charset": "utf8mb4", "init_command": "SET time_zone = '-05:00'"},
                "TEST": {"CHARSET": "utf8mb4"},
            }
        case _:
            # A file, not memory: leases and second connections need what production has.
            file = Path(__file__).parent / f".test{TEST_SUFFIX}-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}.sqlite3"
            return {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": file,
                "TEST": {"NAME": file},
                "OPTIONS": {"timeout": 20, "init_command": "PRAGMA journal_mode=wal;"},
            }


DATABASES = {"default": _database()}
