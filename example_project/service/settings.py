"""Settings of the service; one directory, ``EXAMPLE_VAR``, holds its database and its photos."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from example_project.service.keys import new_key_pair

VAR = Path(os.environ.get("EXAMPLE_VAR") or Path(__file__).resolve().parent.parent / "var")

SECRET_KEY = secrets.token_urlsafe(50)  # sessions need not outlive the process: every start is a fresh start
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "example_project.service.urls"
USE_TZ = True
TIME_ZONE = "UTC"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "oauth2_provider",
    "example_project.service",
]
MIDDLEWARE = [
    "example_project.service.clock.dated",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).resolve().parent / "templates"],
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
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR / "service.sqlite3",
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=wal; PRAGMA synchronous=normal;",
        },
    }
}
AUTH_USER_MODEL = "service.Member"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
STATIC_URL = "/static/"
MEDIA_ROOT = VAR / "photos"

# Both sites of the example live on 127.0.0.1, and cookies do not know ports: each site needs names of its own.
SESSION_COOKIE_NAME = "notebook_session"
CSRF_COOKIE_NAME = "notebook_csrf"

OAUTH2_PROVIDER = {
    "OAUTH2_VALIDATOR_CLASS": "example_project.service.validator.Validator",
    "OIDC_ENABLED": True,
    "OIDC_RSA_PRIVATE_KEY": new_key_pair().private_pem,  # signs ID tokens; like the sessions, it lives as long as the process
    "SCOPES": {
        "openid": "Know which account this is",
        "profile": "See your name",
        "notes:read": "Read your notes",
        "notes:write": "Add and delete notes",
        "photos:read": "See your photos",
        "photos:write": "Add and delete photos",
        "statistics": "See how many notes and photos there are in total",
    },
    "DEFAULT_SCOPES": ["profile", "notes:read"],
    "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
    "REFRESH_TOKEN_EXPIRE_SECONDS": 30 * 24 * 3600,
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "PKCE_REQUIRED": True,
    # RFC 9700, the security best current practice, to the letter: S256 only, no token in a URL, "iss" in every
    # authorization response (RFC 9207), tokens stored as hashes.
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
    "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
    "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
}
OAUTH1_SIGNATURE_METHODS = (
    "HMAC-SHA1",
    "HMAC-SHA256",
    "HMAC-SHA512",
    "RSA-SHA1",
    "RSA-SHA256",
    "RSA-SHA512",
    "PLAINTEXT",  # accepted over TLS only
)
OAUTH1_TEMPORARY_LIFETIME = 600  # seconds
