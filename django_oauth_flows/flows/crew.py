"""Threads that refresh what they are handed, each with a database connection of its own."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from django.db import Error, connections

from django_oauth_flows.exceptions import Disconnected, OAuthFlowsError, ReauthorizationRequiredError
from django_oauth_flows.flows.history import logger
from django_oauth_flows.flows.lease import deadline_left
from django_oauth_flows.flows.refreshing import attempt
from django_oauth_flows.flows.snapshot import check_servable

if TYPE_CHECKING:
    from django_oauth_flows.flows.lease import Claim, Lease


class News(NamedTuple):
    """What a member of the crew has to say: what became of a claim, or (without one) that it is ready, or gone."""

    claim: Claim | None
    outcome: str


class Crew:
    """At most ``size`` threads.

    A member is ready once its database connection is open: while it waits for one, a lease would run out.
    """

    def __init__(self, size: int, *, alias: str) -> None:
        self.ready = 0
        self._alias = alias
        self._todo: SimpleQueue[Claim | None] = SimpleQueue()
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

    def hand(self, claim: Claim) -> None:
        """Let the next idle member refresh it."""
        self._todo.put(claim)

    def hear(self) -> News:
        """Wait for news. Raise what the last one met if nobody is left who could have any."""
        if not self._present:
            raise self._failure
        news = self._news.get()
        if news.claim is None:
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
            while (claim := self._todo.get()) is not None:
                outcome = "internal_error"
                try:
                    outcome = refreshed(claim)
                except BaseException as error:  # noqa: BLE001 - a receiver's SystemExit: whoever waits has to hear of it
                    logger.error("oauth_flows.internal_error", extra={"error": type(error).__name__})
                finally:
                    self._news.put(News(claim, outcome))
        finally:
            connections.close_all()  # this thread's; nobody else would


def refreshed(claim: Claim) -> str:
    """Refresh what was claimed; return ``refreshed``, ``needs_reauthorization``, ``overtaken``, or an error code."""
    try:
        lease = _lease_of(claim)
        return "overtaken" if lease is None else _under(lease)
    except OAuthFlowsError as error:
        return _SETTLED.get(type(error), error.code)
    except Error as error:
        logger.warning("oauth_flows.storage_unavailable", extra={"error": type(error).__name__})
        return "storage_unavailable"
    except Exception as error:  # noqa: BLE001 - a row that nobody expected must not keep the others from being refreshed
        logger.error("oauth_flows.internal_error", extra={"error": type(error).__name__})
        return "internal_error"


_SETTLED: dict[type[OAuthFlowsError], str] = {
    Disconnected: "overtaken",
    ReauthorizationRequiredError: "needs_reauthorization",
}
"""What a connection may turn out to be: no failure, and nothing to try again."""


def _lease_of(claim: Claim) -> Lease | None:
    """Read what was claimed; on another database connection if this one has broken since it was last used."""
    try:
        return claim.lease()
    except Error:
        if connections[claim.alias].in_atomic_block:
            raise
        connections[claim.alias].close()
    try:
        return claim.lease()
    except Error:
        claim.give_back()
        raise


def _under(lease: Lease) -> str:
    try:
        check_servable(lease.snapshot)
    except Disconnected as reason:
        lease.release(failure=reason.code, answered=True)
        raise
    try:
        after = attempt(lease, seconds=deadline_left(lease))
    except (OAuthFlowsError, Error):  # noted where they were met
        raise
    except Exception:
        lease.release(failure="internal_error", answered=False)
        raise
    return "refreshed" if after.token.generation == lease.snapshot.token.generation + 1 else "overtaken"
