"""Behind pgbouncer in transaction mode: every transaction may meet another session, and none keeps anything of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection, connections, transaction
from django.test import Client
from django.urls import path

from django_oauth_flows import flows
from django_oauth_flows.exceptions import CannotPersist
from django_oauth_flows.models import Connection, Token
from django_oauth_flows.testing.factories import shift_expiry
from tests.chaos import servers

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from tests.chaos.conftest import Site

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.security("F21"),
    pytest.mark.needs("postgresql", "pgbouncer"),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="its server is its own: one run is enough"),
]

AGAIN = [
    "test_twenty_callers_send_one_refresh_and_all_get_the_new_token",
    "test_a_refreshed_token_survives_the_callers_rollback",
    "test_what_could_not_be_kept_is_not_asked_for",
    "test_a_token_that_is_still_valid_is_served_instead",
    "test_a_row_made_in_the_callers_transaction_is_refreshed_within_it",
    "test_a_hosts_test_case_just_works",
    "test_a_lost_answer_is_asked_for_once_more_and_then_reported",
    "test_a_lease_whose_holder_died_is_taken_over_when_it_ends",
    "test_twenty_threads_in_each_of_four_processes_send_one_refresh",
    "test_nobody_waits_for_a_lock_of_ours_while_the_provider_is_asked",
    "test_a_connection_that_the_server_has_ended_is_opened_anew",
    "test_a_late_answer_cannot_undo_a_disconnect_and_is_revoked",
]
"""Tests of F01 to F05, F12 and F19 that the suite runs on a plain server."""


def test_the_tests_of_refreshing_pass_again() -> None:
    with servers.PostgreSQL() as behind, servers.PgBouncer(behind, size=24) as pool:
        place = {"DATABASE": "postgresql", "PGHOST": "127.0.0.1", "PGPORT": str(pool.port), "PGUSER": "postgres"}
        chosen = ["tests/concurrency/test_refresh.py", "tests/concurrency/test_processes.py", "-k", " or ".join(AGAIN)]
        # The pool keeps sessions open, so that the database could not be dropped; it goes with the server.
        command = [
            sys.executable,
            "-m",
            "pytest",
            *chosen,
            "-q",
            "--reuse-db",
            "-p",
            "no:randomly",
            "-p",
            "no:cacheprovider",
        ]
        environment = {**os.environ, **place, "PGPASSWORD": "", "PYTEST_ADDOPTS": ""}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-4000:]
        assert "skipped" not in done.stdout


@pytest.mark.security("F05")
def test_a_refreshed_token_survives_the_callers_rollback(pooled: Site) -> None:
    kept: list[str] = []

    def work() -> None:
        with transaction.atomic(using=pooled.alias):
            kept.append(flows.access_token(pooled.connection))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert pooled.stores(kept[0])
    assert [flows.access_token(pooled.connection)] == kept
    assert pooled.fake.count("token") == 1


def call_and_fail(request: HttpRequest, pk: str) -> HttpResponse:
    """Do what a host's view does: call the API, write, and meet an error."""
    with flows.session(Connection.objects.get(pk=pk)) as http:
        assert http.get("/echo").ok
    Connection.objects.filter(pk=pk).update(label="written by the view")
    raise ZeroDivisionError


urlpatterns = [path("call/<uuid:pk>/", call_and_fail)]


@pytest.mark.security("F05")
@pytest.mark.urls(__name__)
def test_a_view_that_fails_under_atomic_requests_loses_its_own_writes_only(pooled: Site) -> None:
    connections.settings[pooled.alias]["ATOMIC_REQUESTS"] = True
    label = pooled.connection.label
    response = Client(raise_request_exception=False).get(f"/call/{pooled.connection.pk}/")
    assert response.status_code == 500
    assert pooled.fake.count("token") == 1
    assert (pooled.token.generation, pooled.token.connection.label) == (2, label)
    assert flows.access_token(pooled.connection)
    assert pooled.fake.count("token") == 1


@pytest.mark.security("F05")
def test_what_could_not_be_kept_is_not_asked_for(pooled: Site) -> None:
    with transaction.atomic(using=pooled.alias):
        Token.objects.update(failure_count=7)  # the caller holds the row
        with pytest.raises(CannotPersist):
            flows.access_token(pooled.connection)
    assert pooled.fake.count("token") == 0
    assert flows.access_token(pooled.connection)


def test_no_session_keeps_anything_of_ours(pooled: Site) -> None:
    before = sessions(pooled)
    for within in (False, True, True):
        shift_expiry(pooled.connection, timedelta(seconds=-1))
        if within:
            with transaction.atomic(using=pooled.alias):
                flows.access_token(pooled.connection)
        else:
            flows.access_token(pooled.connection)
    shift_expiry(pooled.connection, timedelta(seconds=-1))
    flows.refresh_due()
    pooled.fake.oauth2.grants[0].alive = False
    shift_expiry(pooled.connection, timedelta(seconds=-1))
    with pytest.raises(Exception, match="no longer accepts"):
        flows.access_token(pooled.connection)
    flows.revoke(pooled.connection)
    assert sessions(pooled) == before


def sessions(site: Site) -> set[tuple[Any, ...]]:
    """Look into every session of the pool at once: what it has set for good, locked, prepared, or left open."""
    import psycopg

    place = f"host=127.0.0.1 port={site.server.port} user=postgres dbname=chaos"
    held = [psycopg.connect(place, prepare_threshold=None) for _ in range(site.server.size - 1)]
    try:
        return {_state(session) for session in held}  # each is in a transaction, and so has a session to itself
    finally:
        for session in held:
            session.close()


def _state(session: Any) -> tuple[Any, ...]:
    settings = "SELECT current_setting('lock_timeout'), current_setting('statement_timeout'), current_setting('role')"
    left = (
        "SELECT (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'),"
        " (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors WHERE is_holdable),"
        " (SELECT count(*) FROM pg_listening_channels())"
    )
    return (*session.execute(settings).fetchone(), *session.execute(left).fetchone())
