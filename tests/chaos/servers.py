"""Database servers of our own, in temporary folders and on free ports, to be killed, restarted and made read-only.

The machine's own servers are never touched. A server's ``settings`` are an entry of Django's ``DATABASES``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTIONS = 700
"""How many clients a server takes: more than the largest stampede has callers."""

PATIENCE = 60
"""Seconds in which a server must come up or go down."""


class Server:
    """A server process in a folder of its own; ``user`` is the account that it runs as where we are root."""

    user = ""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="oauth-flows-"))
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Return what Django needs to connect."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.folder.chmod(0o755)
            if os.geteuid() == 0:
                shutil.chown(self.folder, self.user)
            self.create()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_running:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def is_running(self) -> bool:
        """Tell whether the process lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def log(self) -> str:
        """Return the end of what the server has logged."""
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def create(self) -> None:
        """Lay out the folder."""

    def command(self) -> list[str]:
        """Return what starts the server in the foreground."""
        raise NotImplementedError

    def ping(self) -> None:
        """Raise unless the server answers."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5):
            pass

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **self._as_user()
            )
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return self.ping()
            except Exception as error:
                if time.monotonic() > until or not self.is_running:
                    raise RuntimeError(f"{type(self).__name__} did not start: {self.log}") from error
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, without a word to its clients; what it has committed stays."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it again, on the same port."""
        self.kill()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            raise RuntimeError("it was never started")
        self.process.send_signal(number)
        self.process.wait(PATIENCE)

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder, **self._as_user())
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {(done.stdout + done.stderr)[-2000:]}")

    def _as_user(self) -> dict[str, Any]:
        return {"user": self.user, "group": self.user, "extra_groups": []} if os.geteuid() == 0 else {}


class PostgreSQL(Server):
    """A PostgreSQL server with trust authentication and the user ``postgres``."""

    user = "postgres"

    @property
    def settings(self) -> dict[str, Any]:
        """Return what Django needs to connect."""
        place = {"HOST": "127.0.0.1", "PORT": str(self.port), "USER": "postgres", "PASSWORD": ""}
        return {"ENGINE": "django.db.backends.postgresql", "NAME": "chaos", **place}

    def create(self) -> None:
        """Make a cluster."""
        how = ("--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")
        self._run(_postgresql("initdb"), "--pgdata", str(self.folder / "data"), *how)

    def command(self) -> list[str]:
        """Return what starts the server in the foreground."""
        place = ["-D", str(self.folder / "data"), "-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        return [_postgresql("postgres"), *place, "-c", f"max_connections={CONNECTIONS}"]

    def ping(self) -> None:
        """Connect, and make the database if there is none yet."""
        if not self.query("SELECT 1 FROM pg_database WHERE datname = 'chaos'", database="postgres"):
            self.query("CREATE DATABASE chaos", database="postgres")

    def kill(self) -> None:
        """Stop at once, as ``pg_ctl stop -m immediate`` does: clients are cut off, the next start recovers."""
        self._end(signal.SIGQUIT)

    def read_only(self, on: bool) -> None:
        """Refuse, or allow again, every write, on connections that are open, too."""
        self.query(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
        self.query("SELECT pg_reload_conf()")
        until = time.monotonic() + PATIENCE
        while self.query("SHOW default_transaction_read_only") != [("on" if on else "off",)]:
            if time.monotonic() > until:
                raise RuntimeError("the setting was not taken over")
            time.sleep(0.02)
        time.sleep(0.1)  # sessions that are open take it over when they are idle

    def query(self, sql: str, *, database: str = "chaos") -> list[tuple[Any, ...]]:
        """Run a statement on a connection of its own; return its rows."""
        import psycopg

        place = f"host=127.0.0.1 port={self.port} user=postgres dbname={database} connect_timeout=5"
        with psycopg.connect(place, autocommit=True) as connection:
            cursor = connection.execute(sql)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description else []


class PgBouncer(Server):
    """A pgbouncer in transaction mode: each transaction of a client may meet another of ``size`` server sessions."""

    user = "postgres"

    def __init__(self, behind: PostgreSQL, *, size: int) -> None:
        super().__init__()
        self.behind = behind
        self.size = size

    @property
    def settings(self) -> dict[str, Any]:
        """Return what Django needs to connect, as its documentation says for such a pool."""
        return {**self.behind.settings, "PORT": str(self.port), "DISABLE_SERVER_SIDE_CURSORS": True}

    def create(self) -> None:
        """Write the configuration."""
        lines = (
            "[databases]",
            f"* = host=127.0.0.1 port={self.behind.port} user=postgres",
            "[pgbouncer]",
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =",
            "auth_type = any\npool_mode = transaction",
            f"default_pool_size = {self.size}\nmax_client_conn = {CONNECTIONS}",
        )
        (self.folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        """Return what starts the server in the foreground."""
        return [_found("pgbouncer"), str(self.folder / "pgbouncer.ini")]


class MariaDB(Server):
    """A MariaDB server; the site's user has no right to write while the server is read-only."""

    user = "mysql"

    @property
    def settings(self) -> dict[str, Any]:
        """Return what Django needs to connect."""
        place = {"HOST": "127.0.0.1", "PORT": str(self.port), "USER": "site", "PASSWORD": ""}
        options = {"charset": "utf8mb4", "init_command": "SET time_zone = '-05:00'"}
        return {"ENGINE": "django.db.backends.mysql", "NAME": "chaos", **place, "OPTIONS": options}

    def create(self) -> None:
        """Make the system tables."""
        how = ("--auth-root-authentication-method=normal", "--skip-test-db")
        self._run("mariadb-install-db", "--no-defaults", f"--datadir={self.folder / 'data'}", *how)

    def command(self) -> list[str]:
        """Return what starts the server in the foreground."""
        place = [f"--datadir={self.folder / 'data'}", f"--socket={self.folder / 'socket'}", f"--port={self.port}"]
        limits = [f"--max-connections={CONNECTIONS}", "--back-log=512"]
        return [_found("mariadbd"), "--no-defaults", *place, "--bind-address=127.0.0.1", *limits]

    def ping(self) -> None:
        """Connect, and make the database and the site's user if there is none yet."""
        self.query("CREATE DATABASE IF NOT EXISTS chaos CHARACTER SET utf8mb4")
        self.query("CREATE USER IF NOT EXISTS site@'%'")
        self.query("GRANT ALL ON chaos.* TO site@'%'")

    def read_only(self, on: bool) -> None:
        """Refuse, or allow again, every write of the site's user, on connections that are open, too."""
        self.query(f"SET GLOBAL read_only = {int(on)}")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement as root, on a connection of its own; return its rows."""
        import MySQLdb

        with closing(MySQLdb.connect(host="127.0.0.1", port=self.port, user="root", connect_timeout=5)) as connection:
            connection.autocommit(True)
            cursor = connection.cursor()
            cursor.execute(sql)
            return list(cursor.fetchall())


def has_postgresql() -> bool:
    """Tell whether this machine can run a PostgreSQL server of ours."""
    return _is_there(lambda: _postgresql("postgres"), "psycopg")


def has_mariadb() -> bool:
    """Tell whether this machine can run a MariaDB server of ours."""
    return _is_there(lambda: _found("mariadbd") and _found("mariadb-install-db"), "MySQLdb")


def has_pgbouncer() -> bool:
    """Tell whether this machine can run a pgbouncer of ours."""
    return _is_there(lambda: _found("pgbouncer"), "psycopg")


def _is_there(find: Callable[[], str], module: str) -> bool:
    import importlib.util

    try:
        return bool(find()) and importlib.util.find_spec(module) is not None
    except FileNotFoundError:
        return False


def _postgresql(program: str) -> str:
    """Return the newest installed version's program; Debian keeps them out of the path."""
    folders = Path("/usr/lib/postgresql").glob(f"*/bin/{program}")
    newest = max(folders, key=lambda path: int(path.parts[4]), default=None)
    return str(newest) if newest is not None else _found(program)


def _found(program: str) -> str:
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise FileNotFoundError(program)
    return path


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
