"""schemathesis, all checks, against the whole API on a real server: no 5xx, and every answer is what the schema says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from django.core.cache import cache

from django_oauth_flows.api import openapi
from django_oauth_flows.models import Connection
from django_oauth_flows.testing.factories import make_connection, make_provider

if TYPE_CHECKING:
    from pathlib import Path

    from django.contrib.auth.models import User
    from pytest_django.live_server_helper import LiveServer

    from django_oauth_flows.testing import FakeProvider

EXAMPLES = min(int(os.environ.get("FUZZ_EXAMPLES", "8")), 200)
CONFIGURATION = """
[warnings]
enabled = false

[parameters]
"path.id" = "{connection}"
"path.slug" = "fake"
"path.path" = "echo"
"""


@pytest.mark.security("P10", "P04", "P02")
@pytest.mark.django_db(transaction=True)
def test_no_request_breaks_the_api_or_its_schema(
    *, live_server: LiveServer, user: User, fake: FakeProvider, tmp_path: Path
) -> None:
    cache.clear()
    everything = ["GET,POST,PUT,PATCH,DELETE /**"]
    provider = make_provider(fake, device_authorization_endpoint=f"{fake.url}/device", delegated_calls=everything)
    connection = make_connection(provider, user, fake)
    for number in range(3):
        make_connection(provider, user, fake, subject=f"other-{number}")
    (tmp_path / "schema.json").write_text(json.dumps(openapi.document()))
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION.format(connection=connection.pk))
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run", "schema.json"]
    options = ["--url", live_server.url, "--auth", f"{user.username}:correct horse", "--checks", "all"]
    options += [
        "--max-examples",
        str(EXAMPLES),
        "--seed",
        "7",
        "--no-shrink",
        "--continue-on-failure",
        "--request-timeout",
        "30",
    ]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
    assert Connection.objects.count() == 4
