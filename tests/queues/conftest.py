"""Real brokers, with names of our own on them, and the processes of a site that uses them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
BROKERS = {
    "redis": os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
    "rabbitmq": os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//"),
}


@dataclass
class Queue:
    """A queue on a real broker, and the processes at work on it."""

    broker: str
    results: str
    folder: Path
    name: str = field(default_factory=lambda: f"oauth_flows_tests_{uuid.uuid4().hex}")
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        from tests.queues.site import make_app

        self.app: Any = make_app(self.broker, self.results, self.name)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a Python process of the site, in a process group of its own; it writes into a log."""
        from django.db import connection

        environ = {
            **os.environ,
            "TESTS_BROKER": self.broker,
            "TESTS_RESULTS": self.results,
            "TESTS_QUEUE": self.name,
            "TESTS_DATABASE": str(connection.settings_dict["NAME"]),
        }
        with (self.folder / f"{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def work(self, concurrency: int = 4) -> subprocess.Popen[bytes]:
        """Start a Celery worker with so many processes, and wait until it is ready."""
        alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        celery = ("-m", "celery", "-A", "tests.queues.site", "worker", "--pool=prefork", "--loglevel=DEBUG", *alone)
        worker = self.start(*celery, f"--concurrency={concurrency}")
        self.wait_for("ready.", worker)
        return worker

    def wait_for(self, text: str, process: subprocess.Popen[bytes], *, seconds: float = 60) -> None:
        """Wait until the process has written ``text``."""
        until = time.monotonic() + seconds
        while text not in self.log_of(process):
            assert process.poll() is None, self.log_of(process)[-3000:]
            assert time.monotonic() < until, self.log_of(process)[-3000:]
            time.sleep(0.05)

    def log_of(self, process: subprocess.Popen[bytes]) -> str:
        """Return what the process has written."""
        return (self.folder / f"{self.processes.index(process)}.log").read_text(errors="replace")

    def send(self, task: str, *args: Any, limit: float | None = None, **kwargs: Any) -> Any:
        """Put a message into the queue, with a soft time limit in seconds; return its result to come."""
        with self.app.connection_for_write() as connection:  # not from a pool, which all apps of this process share
            name = f"django_oauth_flows.tasks.{task}"
            return self.app.send_task(name, args, kwargs, connection=connection, soft_time_limit=limit)

    def stored(self) -> list[bytes]:
        """Return every message that waits in the queue, and every result, as the broker keeps them."""
        if self.broker.startswith("redis"):
            return [value for key in self._keys() for value in _values(self._redis(), key)]
        with self.app.connection_for_read() as connection:
            queue = self.app.amqp.queues[self.name].bind(connection.default_channel)
            found = []
            while (message := queue.get(no_ack=False)) is not None:
                found.append(message)
            for message in found:
                message.requeue()
        waiting = [f"{message.headers} {message.properties} {message.body}".encode() for message in found]
        return waiting + [path.read_bytes() for path in self.folder.glob("results/*")]

    def stop(self) -> None:
        """End every process, and leave nothing on the broker."""
        for process in self.processes:
            if process.stdin is not None:
                process.stdin.close()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)
        if self.broker.startswith("redis"):
            if keys := self._keys():
                self._redis().delete(*keys)
        else:
            with self.app.connection_for_write() as connection:
                connection.default_channel.queue_delete(self.name)
                connection.default_channel.exchange_delete(self.name)
        self.app.close()

    def _redis(self) -> Any:
        import redis

        return redis.Redis.from_url(self.broker)

    def _keys(self) -> list[bytes]:
        return list(self._redis().scan_iter(f"{self.name}.*"))


def _values(client: Any, key: bytes) -> list[bytes]:
    match client.type(key):
        case b"list":
            return list(client.lrange(key, 0, -1))
        case b"string":
            return [client.get(key)]
        case b"hash":
            return list(client.hvals(key))
        case b"set":
            return list(client.smembers(key))
    return []


@pytest.fixture(
    params=[
        pytest.param("redis", marks=pytest.mark.needs("redis")),
        pytest.param("rabbitmq", marks=pytest.mark.needs("rabbitmq")),
    ]
)
def queue(request: pytest.FixtureRequest, tmp_path: Path, transactional_db: None) -> Iterator[Queue]:
    """Return a queue on each of the brokers; it is gone after the test, whatever waits in it."""
    broker = BROKERS[request.param]
    (tmp_path / "results").mkdir()
    made = Queue(broker, broker if request.param == "redis" else f"file://{tmp_path}/results", tmp_path)
    try:
        yield made
    finally:
        made.stop()
