"""Many callers, one expired token: ``python -m tests.chaos.stampede`` prints what that costs on each database.

Every caller is a thread with a database connection of its own, in one of several processes. As workers in service, each
process has refreshed another token before, and each thread has served it; then all call ``flows.access_token()`` for the
expired one at once. The provider takes its time, rotates the refresh token,
and ends the grant if one is presented twice.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from tests.chaos import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

DATABASES = ("postgresql", "pgbouncer", "mariadb", "sqlite")
LATENCY = 0.1
"""Seconds that the provider takes to answer."""

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one stampede came to; times in milliseconds, from a caller's call to its token."""

    callers: int
    refreshes: int
    successes: int  # callers who got the token that is stored now
    alive: bool  # the grant at the provider, and the connection here
    p50: float
    p95: float
    slowest: float
    errors: list[str]


@contextmanager
def database(name: str) -> Iterator[dict[str, Any]]:
    """Yield the settings of a private, empty database."""
    with ExitStack() as stack:
        match name:
            case "postgresql":
                yield stack.enter_context(servers.PostgreSQL()).settings
            case "pgbouncer":
                behind = stack.enter_context(servers.PostgreSQL())
                yield stack.enter_context(servers.PgBouncer(behind, size=20)).settings
            case "mariadb":
                yield stack.enter_context(servers.MariaDB()).settings
            case "sqlite":
                file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "chaos.sqlite3"
                options = {"timeout": 20, "init_command": "PRAGMA journal_mode=wal;"}
                yield {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file), "OPTIONS": options}


def stampede(settings: dict[str, Any], *, callers: int, processes: int = 4) -> Figures:
    """Let so many callers loose on a database; the work is done by processes of their own."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": f"{__package__}.settings",
        "CHAOS_DATABASE": json.dumps(settings),
    }
    command = [sys.executable, "-m", __spec__.name, "--lead", str(callers), str(processes)]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True, timeout=300)
    return Figures(**json.loads(done.stdout))


def lead(callers: int, processes: int) -> Figures:
    """Make a provider and an expired connection, start the callers, and count."""
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command

    from django_oauth_flows.models import Connection, Token
    from django_oauth_flows.testing import Delay, FakeProvider
    from django_oauth_flows.testing.factories import make_connection, make_provider

    call_command("migrate", verbosity=0)
    with FakeProvider() as fake:
        provider, owner = make_provider(fake), User.objects.create_user("ada")
        others = [make_connection(provider, User.objects.create_user(f"bob{n}"), fake) for n in range(processes)]
        connection = make_connection(provider, owner, fake, expires_in=timedelta(seconds=-1))
        fake.script("token", *[Delay(seconds=LATENCY)] * (processes + callers))
        said = _unleashed(str(connection.pk), [str(other.pk) for other in others], callers=callers)
        token = Token.objects.select_related("connection").get(connection=connection)
        secret = token.open("access_token")
        stored = _digest(secret.reveal()) if secret is not None else ""
        times = sorted(seconds * 1000 for seconds, _ in said)
        centiles = quantiles(times, n=100, method="inclusive")
        return Figures(
            callers=len(said),
            refreshes=fake.count("token") - processes,
            successes=sum(result == stored for _, result in said),
            alive=fake.oauth2.grants[-1].alive and token.connection.status == Connection.Status.ACTIVE,
            p50=centiles[49],
            p95=centiles[94],
            slowest=times[-1],
            errors=sorted({result for _, result in said if result != stored}),
        )


def _unleashed(connection_id: str, other_ids: list[str], *, callers: int) -> list[tuple[float, str]]:
    """Start a process for each of the others, let all go at once when everybody is ready; return what each caller says."""
    command = [sys.executable, "-m", __spec__.name, "--call", connection_id]
    running = []
    for number, other_id in enumerate(other_ids):
        share = callers // len(other_ids) + (number < callers % len(other_ids))
        arguments = [*command, other_id, str(share)]
        running.append(subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    for process in running:
        process.stdout.readline()  # type: ignore[union-attr]
    for process in running:
        process.stdin.write(b"go\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
    return [pair for process in running for pair in json.loads(process.communicate()[0])]


def call(connection_id: str, other_id: str, callers: int) -> list[tuple[float, str]]:
    """Be one process: connect, say so, wait for the word, and call from ``callers`` threads at once."""
    import django

    django.setup()
    from django.db import connections

    from django_oauth_flows import flows
    from django_oauth_flows.models import Connection

    connection, other = (Connection.objects.get(pk=pk) for pk in (connection_id, other_id))
    flows.refresh(other)
    ready, go, said = threading.Barrier(callers + 1), threading.Event(), []

    def one() -> None:
        flows.access_token(other)
        ready.wait()
        go.wait()
        started = time.monotonic()
        try:
            result = _digest(flows.access_token(connection))
        except Exception as error:  # noqa: BLE001 - counted
            result = f"{type(error).__name__}: {error}"
        said.append((time.monotonic() - started, result))
        connections.close_all()

    threads = [threading.Thread(target=one) for _ in range(callers)]
    for thread in threads:
        thread.start()
    ready.wait()
    print("ready", flush=True)
    sys.stdin.readline()
    go.set()
    for thread in threads:
        thread.join()
    return said


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()[:16]


def main() -> int:
    """Run what the command line says; without arguments, the stampedes of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, nargs="+", default=[64, 500])
    parser.add_argument("--databases", nargs="+", default=list(DATABASES), choices=DATABASES)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--lead", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--call", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.call:
        print(json.dumps(call(*asked.call[:2], int(asked.call[2]))))
        return 0
    if asked.lead:
        print(json.dumps(asdict(lead(*asked.lead))))
        return 0
    print("| database | callers | processes | refreshes | successes | alive | p50 ms | p95 ms | slowest ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    failed = False
    for name in asked.databases:
        for callers in asked.callers:
            with database(name) as settings:
                found = stampede(settings, callers=callers, processes=asked.processes)
            counts = f"{found.refreshes} | {found.successes} | {'yes' if found.alive else 'NO'}"
            times = f"{found.p50:.0f} | {found.p95:.0f} | {found.slowest:.0f}"
            print(f"| {name} | {callers} | {asked.processes} | {counts} | {times} |", flush=True)
            for error in found.errors:
                print(f"  {error}", flush=True)
            failed = failed or (found.refreshes, found.successes, found.alive) != (1, callers, True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
