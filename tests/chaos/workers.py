"""Real processes that refresh what they are handed, until they are killed; their successors are forked from a warm parent."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tests.chaos.scripted import fork

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as Pipe
    from uuid import UUID

    from tests.chaos.fates import Fate


@dataclass(frozen=True, slots=True)
class Task:
    """One attempt to make: whose, and what is to become of it."""

    connection_id: UUID
    provider_id: UUID
    fate: Fate


class Report(NamedTuple):
    """What a worker that is still alive says."""

    began: bool  # a lease was taken: what the row allows only now and then
    outcome: str
    is_marked: bool
    wait: float  # seconds until the row may be, and has to be, refreshed again


class Worker:
    """One process. ``pipe`` yields its reports, and the name of a failpoint just before it dies there."""

    def __init__(self, siblings: list[Worker]) -> None:
        self.pipe, theirs = fork.Pipe()
        inherited = [self.pipe, *(sibling.pipe for sibling in siblings)]
        self.process = fork.Process(target=_work, args=(theirs, inherited), daemon=True)
        self.process.start()
        theirs.close()

    def kill(self) -> None:
        """End it wherever it is."""
        self.process.kill()

    def bury(self) -> None:
        """Let nothing be left of it."""
        self.process.join()
        self.pipe.close()


def _work(pipe: Pipe, inherited: list[Pipe]) -> None:
    for other in inherited:
        other.close()  # else nobody would see the parent, or a sibling, go
    _connect()
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(_attempt(task, pipe))


def _connect() -> None:
    """Open the database connection first: a server that others use may have none to spare for a moment."""
    from django.db import OperationalError, connection

    for _ in range(200):
        try:
            connection.ensure_connection()
        except OperationalError:
            time.sleep(0.1)
        else:
            return


def _attempt(task: Task, pipe: Pipe) -> Report:
    from django_oauth_flows import failpoints

    began: list[bool] = []
    points = {failpoints.Failpoint.AFTER_LEASE: lambda: began.append(True)}
    if (point := task.fate.kill_at) is not None:

        def die() -> None:
            pipe.send(point)
            os.kill(os.getpid(), signal.SIGKILL)

        points[point] = die
    for name, act in points.items():
        failpoints.arm(name, act)
    try:
        outcome = _outcome(task)
    finally:
        for name in points:
            failpoints.disarm(name)
    return Report(bool(began), outcome, *_state(task))


def _outcome(task: Task) -> str:
    """Refresh by one of the three ways; return ``refreshed``, or why not."""
    from django_oauth_flows import flows
    from django_oauth_flows.exceptions import OAuthFlowsError
    from django_oauth_flows.models import Connection, Provider

    if task.fate.entry == "sweep":
        (sweep,) = flows.refresh_due(provider=Provider(pk=task.provider_id)) or [None]
        if sweep is None or sweep.refreshed:
            return "nothing was due" if sweep is None else "refreshed"
        return next(iter(sweep.failures), "needs_reauthorization" if sweep.needs_reauthorization else "overtaken")
    try:
        getattr(flows, task.fate.entry)(Connection(pk=task.connection_id))
    except OAuthFlowsError as error:
        return error.code
    return "refreshed"


def _state(task: Task) -> tuple[bool, float]:
    from django_oauth_flows.fields import DatabaseNow
    from django_oauth_flows.models import Connection, Token

    row = Token.objects.select_related("connection").annotate(now=DatabaseNow()).get(connection=task.connection_id)
    ends = [moment for moment in (row.lease_expires_at, row.not_before, row.expires_at) if moment is not None]
    wait = max([0.0, *((moment - row.now).total_seconds() for moment in ends)])
    return row.connection.status != Connection.Status.ACTIVE, wait
