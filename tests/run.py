"""Run the whole suite on a machine that has only Python 3.11 or newer: ``python3 tests/run.py [pytest arguments]``.

Makes ``.venv-tests`` once, installs the package with what the tests need, and runs pytest on SQLite and then, if a
server is reachable, whatever can differ there on PostgreSQL (``PGHOST``, ``PGPORT``, ``PGUSER``, ``PGPASSWORD``). ``DATABASE=mariadb`` (or
``sqlite``, ``postgresql``) names the one database to use. Under ``CI=true`` PostgreSQL must be reachable.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import venv
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-tests"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
CI = os.environ.get("CI", "").lower() in ("1", "true")
REACHABLE = """
import os, psycopg
psycopg.connect(
    host=os.environ.get("PGHOST", "127.0.0.1"), port=os.environ.get("PGPORT", "5432"), dbname="postgres",
    user=os.environ.get("PGUSER", "postgres"), password=os.environ.get("PGPASSWORD", ""), connect_timeout=5,
).close()
"""


ALIKE_ON_EVERY_DATABASE = ("browser", "catalogue", "contract", "independent", "protocol")
"""Folders of tests that run once: what they look at is pages, entries, texts and requests. ``DATABASE=…`` runs all of them."""

SIDE_BY_SIDE = ["--numprocesses", "2"]
"""What the whole suite is run with: much of it waits for sockets, and each process has databases of its own."""


def main() -> int:
    """Prepare the environment, then run pytest once for each database."""
    if sys.version_info < (3, 11):  # noqa: UP036 - say so plainly before pip fails in its own words
        return _say(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.", failed=True)
    arguments = sys.argv[1:] or SIDE_BY_SIDE
    with _alone():
        _prepare()
    if arguments == ["--prepare"]:
        return 0
    results = []
    for number, database in enumerate(_databases()):
        if not database:
            return _say("PostgreSQL is not reachable, and CI=true allows no silent skip.", failed=True)
        _say(f"tests on {database}: pytest {' '.join(arguments)}")
        started = time.monotonic()
        environment = {**os.environ, "DATABASE": database}
        left_out = [f"--ignore=tests/{folder}" for folder in ALIKE_ON_EVERY_DATABASE] if number else []
        status = subprocess.call([PYTHON, "-m", "pytest", *arguments, *left_out], cwd=ROOT, env=environment)
        results.append(
            f"{database}: {'passed' if status == 0 else f'FAILED ({status})'} in {time.monotonic() - started:.0f} s"
        )
        if status:
            break
    return _say("; ".join(results), failed="FAILED" in results[-1])


@contextmanager
def _alone() -> Iterator[None]:
    """Let a second run wait: both would make the same environment."""
    with ENVIRONMENT.with_suffix(".lock").open("w") as lock:
        if os.name == "posix":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prepare() -> None:
    extras = "test,example" + (",browser" if CI else "") + (",mysql" if os.environ.get("DATABASE") == "mariadb" else "")
    recipe = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + f"{extras} {sys.version}".encode()).hexdigest()
    stamp = ENVIRONMENT / "recipe"
    if stamp.is_file() and stamp.read_text() == recipe:
        return
    _say(f"installing into {ENVIRONMENT.name}")
    venv.EnvBuilder(with_pip=True).create(ENVIRONMENT)
    subprocess.check_call([PYTHON, "-m", "pip", "install", "--quiet", "--editable", f"{ROOT}[{extras}]"])
    stamp.write_text(recipe)


def _databases() -> list[str]:
    if named := os.environ.get("DATABASE"):
        return [named]
    if subprocess.call([PYTHON, "-c", REACHABLE], stderr=subprocess.DEVNULL) == 0:
        return ["sqlite", "postgresql"]
    if CI:
        return [""]
    _say("PostgreSQL is not reachable: SQLite only")
    return ["sqlite"]


def _say(text: str, *, failed: bool = False) -> int:
    print(f"\n=== {text}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
