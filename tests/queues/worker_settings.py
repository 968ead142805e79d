"""A site whose tasks wait in the database for ``manage.py db_worker``, on the tests' own database."""

from __future__ import annotations

import os

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES
from tests.settings import INSTALLED_APPS as USUAL_APPS

INSTALLED_APPS = [*USUAL_APPS, "django_tasks_db"]
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
DATABASES["default"]["NAME"] = os.environ["TESTS_DATABASE"]
OAUTH_FLOWS = {"BASE_URL": "https://site.example"}
