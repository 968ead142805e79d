"""Threads that refresh what they are handed, each with a database connection of its own."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from django.db import connections

from django_oauth_flows.flows.claiming import refreshed
from django_oauth_flows.flows.history import logger

if TYPE_CHECKING:
    from django_oauth_flows.flows.lease import Lease


class News(NamedTuple):
    """What a member of the crew has to say: what became of a lease, or (without one) that it is ready, or gone."""

    lease: Lease | None
    outcome: str


class Crew:
    """At most ``size`` threads.

    A member is ready once its database connection is open: while it waits for one, a lease would run out.
    """

    def __init__(self, size: int, *, alias: str) -> None:
        self.ready = 0
        self._alias = alias
        self._todo: SimpleQueue[Lease | None] = SimpleQueue()
        self._news: SimpleQueue[News] = SimpleQueue()
        self._threads: list[Thread] = []
        self._failure: Exception = RuntimeError("no thread could be started")
        for number in range(size):
            thread = Thread(target=self._work, name=f"oauth_flows_refresh_{number}")
            try:
                thread.start()
            except RuntimeError as error:  # those that are there will do
                self._failure = error
                break
            self._threads.append(thread)
        self._present = len(self._threads)

    @property
    def is_ready(self) -> bool:
        """Tell whether everybody who is still there is ready: no more news but of tasks."""
        return bool(self.ready) and self.ready == self._present

    def hand(self, lease: Lease) -> None:
        """Let the next idle member refresh it."""
        self._todo.put(lease)

    def hear(self) -> News:
        """Wait for news. Raise what the last one met if nobody is left who could have any."""
        if not self._present:
            raise self._failure
        news = self._news.get()
        if news.lease is None:
            is_ready = news.outcome == "ready"
            self.ready += is_ready
            self._present -= not is_ready
        return news

    def dismiss(self) -> None:
        """Let everybody finish what they are at, and go."""
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        try:
            connections[self._alias].ensure_connection()
        except Exception as error:  # noqa: BLE001 - of the database, or of its pool
            self._failure = error
            self._news.put(News(None, "gone"))
            return
        self._news.put(News(None, "ready"))
        try:
            while (lease := self._todo.get()) is not None:
                outcome = "internal_error"
                try:
                    outcome = refreshed(lease)
                except BaseException as error:  # noqa: BLE001 - a receiver's SystemExit: whoever waits has to hear of it
                    logger.error("oauth_flows.internal_error", extra={"error": type(error).__name__})
                finally:
                    self._news.put(News(lease, outcome))
        finally:
            connections.close_all()  # this thread's; nobody else would
