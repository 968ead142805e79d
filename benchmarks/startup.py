"""What installing the app costs a site before it is used: set-up, imports, and the first request.

``python -m benchmarks.startup``. Every figure comes from a process of its own, with and without the app in turn. The first
request is for the one page that bare Django has: the admin's login.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.harness import ROOT, RUNS, Report

HEAVY = ("requests", "requests_oauthlib", "oauthlib", "urllib3", "cryptography", "jwt", "rest_framework")

SITE = """
import gc, io, json, sys, time
gc.disable()  # whether a full collection falls into the added part or just behind it is chance
with_app = {with_app}
from django.conf import settings
settings.configure(
    SECRET_KEY="startup-" + "k" * 50, ALLOWED_HOSTS=["testserver"], ROOT_URLCONF="site_urls", USE_TZ=True,
    INSTALLED_APPS=["django.contrib." + name for name in ("admin", "auth", "contenttypes", "sessions", "messages")]
    + ["django_oauth_flows"] * with_app,
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}},
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware", "django.contrib.messages.middleware.MessageMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    TEMPLATES=[{{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True, "OPTIONS": {{"context_processors": [
        "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages"]}}}}],
    STATIC_URL="/static/", OAUTH_FLOWS={{"BASE_URL": "https://site.example"}},
)
import types
from django.urls import include, path
import django
clock = time.process_time
began = clock()
django.setup()
setup = clock() - began
heavy = [name for name in {heavy!r} if name in sys.modules]
urls = types.ModuleType("site_urls")
sys.modules["site_urls"] = urls
from django.core.handlers.wsgi import WSGIHandler
environ = {{
    "REQUEST_METHOD": "GET", "PATH_INFO": "/admin/login/", "SERVER_NAME": "testserver", "SERVER_PORT": "80",
    "wsgi.input": io.BytesIO(), "wsgi.url_scheme": "http",
}}
began = clock()
from django.contrib import admin
urls.urlpatterns = [path("admin/", admin.site.urls)]
if with_app:
    urls.urlpatterns.append(path("oauth/", include("django_oauth_flows.urls")))
answer = WSGIHandler()(environ, lambda *_: None)
assert b"id_username" in answer.content
first = clock() - began
print(json.dumps({{"setup": setup, "first": first, "heavy": heavy}}))
"""


def start(cache: str, *, with_app: bool) -> dict[str, Any]:
    """Start a site and answer one request; return CPU seconds, and which heavy modules were imported."""
    # Compiled bytecode, as an installed package has it, whatever this machine's environment says.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", SITE.format(with_app=with_app, heavy=HEAVY)]
    environ["PYTHONPYCACHEPREFIX"] = cache
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> int:
    """Measure and report."""
    report = Report()
    with tempfile.TemporaryDirectory() as cache:
        start(cache, with_app=True)
        pairs = [(start(cache, with_app=True), start(cache, with_app=False)) for _ in range(RUNS)]
    report.at_most("heavy modules imported by django.setup()", [len(ours["heavy"]) for ours, _ in pairs], 0, "")
    report.at_most(
        "added to django.setup()", [(ours["setup"] - bare["setup"]) * 1e3 for ours, bare in pairs], 30, " ms"
    )
    report.at_most("first request", [ours["first"] / bare["first"] for ours, bare in pairs], 1.2)
    report.note("first request without the app", [bare["first"] * 1e3 for _, bare in pairs], " ms")
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
