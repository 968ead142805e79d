"""A TypeScript client made of the schema: it compiles, strictly, and a front end's journey runs against a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.conf import settings as site
from django.core.cache import cache
from django.core.management import call_command

from django_oauth_flows.models import Provider
from django_oauth_flows.testing.factories import make_connection

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client
    from pytest_django.live_server_helper import LiveServer

    from django_oauth_flows.testing import FakeProvider

SOURCES = Path(__file__).parent / "typescript"
MAKING = (
    ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
    ["npx", "--no-install", "openapi-typescript", "schema.json", "--output", "schema.ts"],
    ["npx", "--no-install", "tsc"],
)


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"{command}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.mark.needs("npm")
@pytest.mark.django_db(transaction=True)
def test_a_client_made_of_the_schema_compiles_and_runs_a_journey(
    *, live_server: LiveServer, user: User, browser: Client, provider: Provider, fake: FakeProvider, tmp_path: Path
) -> None:
    cache.clear()
    Provider.objects.update(delegated_calls=["GET /files/**"])
    for number in range(3):
        make_connection(provider, user, fake, subject=f"account-{number}")
    folder = tmp_path / "client"
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("node_modules", "build"))
    call_command("export_api_schema", file=folder / "schema.json")
    for command in MAKING:
        run(command, folder)

    browser.get("/accounts/login/")
    token = browser.cookies["csrftoken"].value
    cookie = f"{site.SESSION_COOKIE_NAME}={browser.cookies[site.SESSION_COOKIE_NAME].value}; csrftoken={token}"
    said = json.loads(run(["node", "build/journey.js", live_server.url, cookie, token], folder))
    assert said.pop("connectUrl").startswith("http://testserver/oauth/connect/fake/confirm/?ticket=")
    assert said == {
        "providers": ["Fake"],
        "connections": 3,
        "label": "Work \N{BRIEFCASE}",
        "called": "/api/files/a/b",
        "source": "provider",
        "problem": [403, "call_not_allowed"],
        "health": ["ok", 3],
        "ended": ["revoked", "revoked"],
        "events": [["revocation_finished", ""], ["revoked", "you"], ["imported", ""]],
    }
