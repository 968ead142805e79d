"""Production: everything that differs between deployments, and every secret, comes from the environment.

``check --deploy --fail-level WARNING`` is silent with these settings.
"""

from __future__ import annotations

import os

from example_project.host.settings.base import *  # noqa: F403 - the usual way to share settings

HOST = os.environ["SITE_HOST"]  # such as desk.example.com

DEBUG = False
SECRET_KEY = os.environ["SITE_SECRET_KEY"]
ALLOWED_HOSTS = [HOST]
CSRF_TRUSTED_ORIGINS = [f"https://{HOST}"]
DEFAULT_FROM_EMAIL = os.environ.get("SITE_FROM_EMAIL", f"Desk <noreply@{HOST}>")
STATIC_ROOT = os.environ.get("SITE_STATIC_ROOT", "/srv/desk/static")
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("SITE_DATABASE", "desk"),
        "HOST": os.environ.get("SITE_DATABASE_HOST", ""),
        "USER": os.environ.get("SITE_DATABASE_USER", ""),
        "PASSWORD": os.environ.get("SITE_DATABASE_PASSWORD", ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
}

SECURE_SSL_REDIRECT = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")  # the proxy in front must set it, and strip a client's
SECURE_HSTS_SECONDS = 365 * 24 * 3600
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_NAME = "__Host-session"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_NAME = "__Host-csrf"

OAUTH_FLOWS = {
    "ENVIRONMENT": "production",
    "BASE_URL": f"https://{HOST}",
    "ENCRYPTION_KEYS": os.environ["SITE_ENCRYPTION_KEYS"].split(),  # the first writes, all read
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
