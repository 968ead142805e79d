"""The flows as Django's own tasks, at once and by a worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.db import connection as database

from django_oauth_flows import tasks
from django_oauth_flows.models import Token
from django_oauth_flows.testing.factories import shift_expiry
from tests.plugins.canaries import find

if TYPE_CHECKING:
    from django_oauth_flows.models import Connection
    from django_oauth_flows.testing import FakeProvider

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(django.VERSION < (6, 0), reason="Django has tasks of its own since 6.0"),
]


@pytest.mark.security("S07")
def test_what_is_due_is_refreshed_by_a_task_that_runs_at_once(connection: Connection, fake: FakeProvider) -> None:
    shift_expiry(connection, timedelta(seconds=-1))
    swept = tasks.refresh_connections.enqueue(provider="fake", rate=50)
    assert swept.return_value["fake"]["refreshed"] == 1
    assert tasks.refresh_connections.enqueue().return_value == {}
    one = tasks.refresh_connection.enqueue(str(connection.pk))
    assert one.return_value["refreshed"]
    assert fake.count("token") == 2
    assert tasks.work_off_revocations.enqueue().return_value == 0
    assert tasks.prune_oauth_flows.enqueue().return_value["authorization_requests"] == 0
    assert find("results", repr((swept, one))) == []


def test_a_grant_that_is_over_fails_its_task_and_says_so_without_a_secret(
    connection: Connection, fake: FakeProvider
) -> None:
    fake.oauth2.grants[0].alive = False
    result = tasks.refresh_connection.enqueue(str(connection.pk))
    assert result.status == "FAILED"
    assert "no longer accepts this grant" in result.errors[0].traceback
    assert find("results", repr(result)) == []


ENQUEUE = """
import sys, django
django.setup()
from django_oauth_flows import tasks
for _ in range(2):
    tasks.refresh_connections.enqueue()
tasks.refresh_connection.enqueue(sys.argv[1])
"""

READ = """
import json, django
django.setup()
from django_tasks_db.models import DBTaskResult
rows = list(DBTaskResult.objects.order_by("enqueued_at").values())
print(json.dumps(rows, default=str))
DBTaskResult.objects.all().delete()
"""


def run(*command: str) -> str:
    """Run a Python process of a site with a worker; return what it says."""
    environ = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.queues.worker_settings",
        "TESTS_DATABASE": str(database.settings_dict["NAME"]),
    }
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, *command], cwd=root, env=environ, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.security("S07", "F17")
def test_a_worker_refreshes_what_is_due_once_however_often_it_is_asked(
    connection: Connection, fake: FakeProvider
) -> None:
    shift_expiry(connection, timedelta(seconds=-1))
    run("-m", "django", "migrate", "django_tasks_database", "--skip-checks", "--verbosity=0")
    run("-c", ENQUEUE, str(connection.pk))
    assert fake.count("token") == 0  # they wait
    run("-m", "django", "db_worker", "--batch", "--no-reload", "--interval=0.1")
    kept = run("-c", READ)
    rows: list[Any] = json.loads(kept)
    assert [row["status"] for row in rows] == ["SUCCESSFUL"] * 3
    swept, again, one = (row["return_value"] for row in rows)
    assert (swept["fake"]["refreshed"], again, one["refreshed"]) == (1, {}, True)
    assert fake.count("token") == 2
    assert Token.objects.get().generation == 3
    assert find("task table", kept) == []
