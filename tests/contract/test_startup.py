"""Starting a site costs little, imports no protocol library, and touches neither network nor database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

HEAVY = ("requests", "requests_oauthlib", "oauthlib", "urllib3", "cryptography", "jwt", "rest_framework", "celery")
HEAVY = ("requests", "requests_oauthlib", "oauthlib", "urllib3", "cryptography", "jwt", "rest_framework", "httpx")
DJANGO_APPS = ["admin", "auth", "contenttypes", "sessions", "messages"]

SITE = """
import json, sys, time
from django.conf import settings
settings.configure(
    SECRET_KEY="startup-" + "k" * 50, USE_TZ=True, ALLOWED_HOSTS=["testserver"], ROOT_URLCONF="urls_of_this_site",
    INSTALLED_APPS={apps}, DATABASES={databases}, STATIC_URL="/static/", OAUTH_FLOWS={{"BASE_URL": "https://example.com"}},
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware", "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    TEMPLATES=[{{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {{"context_processors": [
        "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]}}}}],
)
import types
from django.urls import path, include
from django.contrib import admin
urls = types.ModuleType("urls_of_this_site")
def load_urls():
    urls.urlpatterns = [path("oauth/", include("django_oauth_flows.urls")), path("admin/", admin.site.urls)]
    sys.modules["urls_of_this_site"] = urls
"""

FENCE = """
import sys
attempts = []
def fence(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "sqlite3.connect"):
        attempts.append(f"{event} {args!r}")
        raise RuntimeError(f"not at start-up: {event} {args!r}")
sys.addaudithook(fence)
"""

NO_DATABASE = """
from django.db.backends.base.base import BaseDatabaseWrapper
def refuse(database):  # the sockets of a database's own library raise no audit event
    attempts.append(f"database {database.alias}")
    raise RuntimeError("not at start-up")
BaseDatabaseWrapper.connect = refuse
"""

COMPILED = tempfile.TemporaryDirectory(prefix="oauth_flows_startup")
SQLITE: dict[str, Any] = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DOWN: dict[str, Any] = {
    "default": {"ENGINE": "django.db.backends.postgresql", "NAME": "x", "HOST": "127.0.0.1", "PORT": "1"}
}


def site(script: str, *, app: bool = True, databases: dict[str, Any] = SQLITE) -> Any:
    """Run ``script`` in a new process on a site without Django REST framework; return the JSON it prints last."""
    apps = [f"django.contrib.{name}" for name in DJANGO_APPS] + ["django_oauth_flows"] * app
    program = SITE.format(apps=apps, databases=databases) + script
    # As an installed package would be: compiled once, whatever this process does with its own byte code.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": COMPILED.name}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_setup_and_every_surface_import_no_protocol_library() -> None:
    loaded = site(f"""
import django
django.setup()
load_urls()
from django.urls import reverse
reverse("oauth_flows:connections")
import django_oauth_flows.models, django_oauth_flows.views, django_oauth_flows.admin, django_oauth_flows.checks
from django_oauth_flows import flows
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
""")
    assert loaded == []


def test_setup_imports_few_modules_of_ours_and_hardly_any_of_others() -> None:
    # What it takes in milliseconds depends on the machine: ``python -m benchmarks.startup``.
    script = """
import django
django.setup()
print(json.dumps(sorted(sys.modules)))
"""
    added = set(site(script, app=True)) - set(site(script, app=False))
    ours = {name for name in added if name.startswith("django_oauth_flows")}
    assert len(ours) <= 62, sorted(ours)
    assert len(added - ours) <= 6, sorted(added - ours)


@pytest.mark.security("V07")
def test_import_and_setup_open_no_connection() -> None:
    attempts = site(
        FENCE
        + NO_DATABASE
        + """
import django
django.setup()
load_urls()
import importlib, pkgutil, django_oauth_flows
for module in pkgutil.walk_packages(django_oauth_flows.__path__, "django_oauth_flows."):
    if not module.name.startswith(("django_oauth_flows.api", "django_oauth_flows.testing")):
        importlib.import_module(module.name)
print(json.dumps(attempts))
""",
        databases=DOWN,
    )
    assert attempts == []


@pytest.mark.security("V07")
def test_check_passes_while_the_database_is_down() -> None:
    attempts = site(
        FENCE
        + NO_DATABASE
        + """
import django
django.setup()
load_urls()
from django.core.management import call_command
call_command("check")
print(json.dumps(attempts))
""",
        databases=DOWN,
    )
    assert attempts == []


@pytest.mark.security("V07")
def test_check_and_migrate_work_on_an_unmigrated_database_without_network() -> None:
    script = """
import django
django.setup()
load_urls()
from django.core.management import call_command
call_command("check", databases=["default"])
call_command("migrate", verbosity=0)
call_command("check", databases=["default"])
from django_oauth_flows.models import Provider
print(json.dumps([attempts, Provider.objects.count()]))
"""
    assert site(FENCE.replace(', "sqlite3.connect"', "") + script) == [[], 0]


def test_a_site_that_does_not_list_rest_framework_never_imports_it() -> None:
    script = """
import django
django.setup()
load_urls()
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("check")
from django.test import Client
from django.contrib.auth import get_user_model
client = Client()
client.force_login(get_user_model().objects.create_user("ada"))
status = client.get("/oauth/").status_code
print(json.dumps([status, [name for name in sys.modules if name.startswith("rest_framework")]]))
"""
    assert site(script) == [200, []]


WITHOUT_CELERY = """
import importlib.machinery
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] == "celery" else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Finder
"""


@pytest.mark.parametrize("has_celery", [True, False])
def test_the_tasks_load_with_and_without_celery(has_celery: bool) -> None:
    script = """
import django
django.setup()
before = "celery" in sys.modules
from django_oauth_flows import tasks
prune = getattr(tasks.prune_oauth_flows, "func", tasks.prune_oauth_flows)
print(json.dumps([before, "celery" in sys.modules, prune.__name__]))
"""
    assert site(("" if has_celery else WITHOUT_CELERY) + script) == [False, has_celery, "prune_oauth_flows"]
