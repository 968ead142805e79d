"""A sweep over many due connections, against a loop that refreshes one after the other.

``python -m benchmarks.fleet``: the provider takes 50 ms; the sweep runs in two processes, for two cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.harness import ROOT, RUNS, Report, scratch_database, stub_provider

if TYPE_CHECKING:
    from django_oauth_flows.models import Connection

DUE, LOOPED, PROCESSES, WORKERS = 2000, 40, 2, 48

SWEEP = f"""
import django
django.setup()
from django_oauth_flows import flows
from django_oauth_flows.models import Provider
Provider.objects.first()
input()
print(sum(sweep.refreshed for sweep in flows.refresh_due(workers={WORKERS})))
"""


def make_connections(provider: object, count: int) -> list[Connection]:
    """Import tokens; nothing is asked of the provider."""
    from django.contrib.auth.models import User

    from django_oauth_flows import flows

    owner = User.objects.create(username="fleet")
    return [
        flows.import_connection(provider, owner, access_token="a", refresh_token="r", subject=str(n))  # type: ignore[arg-type]
        for n in range(count)
    ]


def let_expire() -> None:
    """Make every token due, as if its hour were over."""
    from datetime import timedelta

    from django_oauth_flows.fields import DatabaseNow
    from django_oauth_flows.models import Token

    past = DatabaseNow() - timedelta(minutes=1)
    Token.objects.update(expires_at=past, next_refresh_at=past, last_refreshed_at=None)


def looped(connections: list[Connection]) -> float:
    """Return refreshes per second, one after the other."""
    from django_oauth_flows import flows

    began = time.monotonic()
    for connection in connections[:LOOPED]:
        flows.refresh(connection)
    return LOOPED / (time.monotonic() - began)


def swept(database: str) -> float:
    """Return refreshes per second of two sweeps at once, their start-up aside."""
    environ = {**os.environ, "BENCHMARK_DATABASE": database}
    command = [sys.executable, "-c", SWEEP]
    pipe = subprocess.PIPE
    sweeps = [
        subprocess.Popen(command, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, text=True) for _ in range(PROCESSES)
    ]
    time.sleep(3)  # both are ready
    began = time.monotonic()
    for sweep in sweeps:
        assert sweep.stdin is not None
        sweep.stdin.write("\n")
        sweep.stdin.flush()
    refreshed = [int(sweep.communicate()[0]) for sweep in sweeps]
    seconds = time.monotonic() - began
    assert sum(refreshed) == DUE, refreshed
    return DUE / seconds


def main() -> int:
    """Measure and report."""
    report = Report()
    with stub_provider() as stub, scratch_database() as database:
        from django.db import connection as database_connection

        from django_oauth_flows.models import Provider

        stub.make_provider()
        Provider.objects.update(token_endpoint=f"{stub.url}/slow/token", max_concurrency=WORKERS)
        connections = make_connections(Provider.objects.get(), DUE)
        with database_connection.cursor() as cursor:
            cursor.execute("ANALYZE")  # a database that has been in use for a day knows its tables
        runs = []
        for _ in range(RUNS):
            let_expire()
            one = looped(connections)
            let_expire()
            runs.append((swept(database), one))
    report.at_least("sweep of 2,000 against a loop", [sweep / one for sweep, one in runs], 25)
    report.note("sweep", [sweep for sweep, _ in runs], " per second")
    report.note("loop", [one for _, one in runs], " per second")
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
