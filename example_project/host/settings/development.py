"""Development: SQLite and DEBUG. Files live in ``EXAMPLE_VAR``, by default ``example_project/var``."""

from __future__ import annotations

import os
from pathlib import Path

from example_project.host.settings.base import *  # noqa: F403 - the usual way to share settings

VAR = Path(os.environ.get("EXAMPLE_VAR") or Path(__file__).resolve().parents[2] / "var")
VAR.mkdir(parents=True, exist_ok=True)

DEBUG = True
INSTALLED_APPS += ["example_project.demo"]  # noqa: F405
SECRET_KEY = "for-development-only-" + "0" * 40
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR / "site.sqlite3",
        "OPTIONS": {"timeout": 20, "init_command": "PRAGMA journal_mode=wal;"},
    }
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher"]

# The service lives on 127.0.0.1 as well, and cookies do not know ports.
SESSION_COOKIE_NAME = "desk_session"
CSRF_COOKIE_NAME = "desk_csrf"

# Without BASE_URL the redirect URIs follow the request's host, which ALLOWED_HOSTS vouches for: any port will do.
OAUTH_FLOWS = {
    "ENVIRONMENT": "development",
    # Make your own: python -c "from django_oauth_flows.crypto import generate_key; print(generate_key())"
    "ENCRYPTION_KEYS": ["Zm9yLWRldmVsb3BtZW50LW9ubHktbm90LXNlY3JldCE"],
}
