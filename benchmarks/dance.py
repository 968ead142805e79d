"""Start plus callback of a first connect: ours against the leanest hand-written dance (``baseline.py``).

``python -m benchmarks.dance``: the CPU time of the two requests in one process, then whole dances per second under
gunicorn with two workers. Every dance brings an account that was never seen before. Beside them, without a bound, what
the hand-written dance would come to if it stored what the package stores (``floor.py``).
"""

from __future__ import annotations

import http.client
import io
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import ROOT, RUNS, Report, scratch_database, stub_provider

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS, DANCES, WARM = 120, 60, 20
SECONDS, CLIENTS = 4.0, 4
CSRF = "c" * 32
DANCE_PATHS = {
    "ours": ("/oauth/connect/stub/", "/oauth/callback/stub/"),
    "baseline": ("/baseline/start/", "/baseline/callback/"),
    "floor": ("/floor/start/", "/floor/callback/"),
}
RECORDED_USER = 987_654_321
"""A number that is found in a statement only where it stands for the user."""


@dataclass
class Visitor:
    """A logged-in browser."""

    cookies: dict[str, str]

    def dance(self, name: str, send: Any) -> None:
        """Start, skip the provider's page, and come back."""
        start, callback = DANCE_PATHS[name]
        status, headers = send("POST", start, self.cookies, b"csrfmiddlewaretoken=" + CSRF.encode())
        values = dict(headers)
        state = re.search(r"[?&]state=([^&]+)", values.get("Location", ""))
        assert status in (302, 303), (name, status)
        assert state is not None, values
        own = dict(re.match(r"([^=]+)=([^;]*)", v).groups() for k, v in headers if k == "Set-Cookie")  # type: ignore[union-attr]
        status, headers = send("GET", f"{callback}?code=abc&state={state[1]}", {**self.cookies, **own}, b"")
        assert status in (302, 303), (name, status, headers)


def make_visitors() -> tuple[Visitor, list[Visitor]]:
    """Create users and log them in; the first one's dance is recorded."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore

    def visitor(user: User) -> Visitor:
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        return Visitor({"sessionid": str(session.session_key), "csrftoken": CSRF})

    recorded = visitor(User.objects.create(pk=RECORDED_USER, username="recorded"))
    return recorded, [visitor(User.objects.create(username=f"user-{number}")) for number in range(USERS)]


def in_process() -> Any:
    """Return a sender that calls the site's WSGI application."""
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()

    def send(method: str, target: str, cookies: dict[str, str], body: bytes) -> tuple[int, list[tuple[str, str]]]:
        path, _, query = target.partition("?")
        answered: list[Any] = []
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": "application/x-www-form-urlencoded",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_COOKIE": "; ".join(f"{name}={value}" for name, value in cookies.items()),
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": "http",
        }
        response = application(environ, lambda status, headers, *_: answered.append((int(status[:3]), headers)))
        response.close()
        (answer,) = answered
        return answer

    return send


def over_http(port: int) -> Any:
    """Return a sender that talks to a server, one connection per request as gunicorn's sync workers want it."""

    def send(method: str, target: str, cookies: dict[str, str], body: bytes) -> tuple[int, list[tuple[str, str]]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        headers = {"Host": "testserver", "Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
        connection.request(method, target, body or None, headers)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status, response.getheaders()

    return send


def cpu_per_dance(name: str, visitors: Iterator[Visitor], send: Any) -> float:
    """Return CPU seconds of one dance."""
    began = time.process_time()
    for _ in range(DANCES):
        next(visitors).dance(name, send)
    return (time.process_time() - began) / DANCES


def dances_per_second(name: str, visitors: list[Visitor], port: int) -> float:
    """Return how many dances the server completes with a few clients at once."""
    done: list[int] = []
    until = time.monotonic() + SECONDS

    def client(number: int) -> None:
        mine, send, count = cycle(visitors[number::CLIENTS]), over_http(port), 0
        while time.monotonic() < until:
            next(mine).dance(name, send)
            count += 1
        done.append(count)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == CLIENTS, "a client failed"
    return sum(done) / (time.monotonic() - began)


@contextmanager
def gunicorn(database: str) -> Iterator[int]:
    """Serve the site with two workers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--workers",
        "2",
        "--bind",
        f"127.0.0.1:{port}",
        "--log-level",
        "warning",
    ]
    environ = {**os.environ, "BENCHMARK_DATABASE": database}
    process = subprocess.Popen([*command, "benchmarks.wsgi"], cwd=ROOT, env=environ)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def forget_starts() -> None:
    """Empty the pending authorizations: a user may start sixty times a minute, a benchmark's user starts oftener."""
    from django_oauth_flows.models import AuthorizationRequest

    AuthorizationRequest.objects.all().delete()


def lines_of_code(path: Path) -> int:
    """Return the length of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


def measure_cpu(report: Report, visitors: list[Visitor], names: list[str]) -> None:
    """Measure the two requests in this process."""
    turn, send = cycle(visitors), in_process()
    for name in names:
        for _ in range(WARM):
            next(turn).dance(name, send)
    runs = []
    for _ in range(RUNS):
        forget_starts()
        runs.append({name: cpu_per_dance(name, turn, send) for name in names})
    report.at_most("CPU of start plus callback", [run["ours"] / run["baseline"] for run in runs], 1.5)
    for name in names:
        report.note(name, [run[name] * 1e3 for run in runs], " ms")
    if "floor" in names:
        report.note("floor to baseline", [run["floor"] / run["baseline"] for run in runs], "x")


def measure_speed(report: Report, visitors: list[Visitor], port: int, names: list[str]) -> None:
    """Measure whole dances against a server."""
    for name in names:
        for visitor in visitors[:WARM]:
            visitor.dance(name, over_http(port))
    runs = []
    for _ in range(RUNS):
        forget_starts()
        runs.append({name: dances_per_second(name, visitors, port) for name in names})
    report.at_least("dances per second, gunicorn with two workers", [r["ours"] / r["baseline"] for r in runs], 0.66)
    for name in names:
        report.note(name, [run[name] for run in runs], " per second")
    if "floor" in names:
        report.note("floor to baseline", [run["floor"] / run["baseline"] for run in runs], "x")


def main() -> int:
    """Measure and report."""
    report = Report()
    length = lines_of_code(ROOT / "benchmarks" / "baseline.py")
    report.at_most("lines of the baseline", [length], 150, "")
    with stub_provider() as stub, tempfile.TemporaryDirectory() as folder:
        recorded = Path(folder) / "statements.json"
        os.environ.update(
            BENCHMARK_PROVIDER=stub.url, BENCHMARK_CA_BUNDLE=stub.ca_bundle, BENCHMARK_RECORDED=str(recorded)
        )
        with scratch_database() as database:
            from django.db import connection

            from benchmarks import baseline, floor

            stub.make_provider()
            with connection.cursor() as cursor:
                cursor.execute(baseline.TABLE)
            first, visitors = make_visitors()
            names = [*DANCE_PATHS]
            if connection.vendor == "postgresql":
                floor.record(lambda: first.dance("ours", in_process()), recorded)
            else:  # takes more statements than are recorded
                names.remove("floor")
            measure_cpu(report, visitors, names)
            with gunicorn(database) as port:
                measure_speed(report, visitors, port, names)
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
