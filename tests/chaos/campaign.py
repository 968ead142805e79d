"""The crash campaign's course: rows are handed to workers, workers die, rows come back when their lease has ended."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from tests.chaos.fates import IN_A_ROW, POINTS, Fate, fates
from tests.chaos.workers import Report, Task, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection as Pipe
    from uuid import UUID

    from tests.chaos.scripted import Remote

IN_PLAY = 200
"""Rows that take turns: while one waits for its lease to end, the others keep the workers busy."""

HUNG = 30.0
"""Seconds after which a worker that says nothing is given up. No refresh may take so long."""


@dataclass(slots=True)
class Row:
    """One connection of the campaign; ``number`` is its grant's at the provider."""

    number: int
    connection_id: UUID
    provider_id: UUID
    fates: Iterator[Fate]
    fate: Fate | None = None  # drawn, and not met yet
    ready_at: float = 0.0
    attempts: int = 0
    failures: int = 0  # in a row


@dataclass(slots=True)
class Turn:
    """A row in the hands of a worker."""

    row: Row
    fate: Fate
    began: float
    reached: str = ""

    @property
    def ends(self) -> float | None:
        """Return when its worker is to be killed at random."""
        return None if self.fate.kill_after is None else self.began + self.fate.kill_after


@dataclass(slots=True)
class Score:
    """What has happened so far."""

    attempts: int = 0
    kills: Counter[str] = field(default_factory=Counter)  # by failpoint, or "random moment"
    lost_answers: Counter[str] = field(default_factory=Counter)  # of workers that lived, by how
    outcomes: Counter[str] = field(default_factory=Counter)  # of workers that lived
    again: int = 0  # failures that followed another one of the same row
    violations: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Return how many attempts were killed, or lost an answer."""
        return self.kills.total() + self.lost_answers.total()


class Campaign:
    """Attempts until there were enough of every kind."""

    def __init__(self, remote: Remote, rows: list[Row], *, lease: float, workers: int) -> None:
        self.score = Score()
        self.rows = rows
        self._remote, self._lease = remote, lease
        self._waiting, self._reserve = rows[:IN_PLAY], rows[IN_PLAY:]
        self._workers: dict[Pipe, Worker] = {}
        self._turns: dict[Pipe, Turn] = {}
        for _ in range(workers):
            self._hire()

    def run(self, attempts: int, *, each: int, progress: Callable[[Score], None]) -> Score:
        """Make at least ``attempts``, half of which failed, ``each`` so many at each failpoint; then dismiss everybody."""
        score, told = self.score, 0
        while not _is_enough(score, attempts, each):
            if not self._waiting and not self._turns:
                score.violations.append("every grant was lost before there were enough attempts")
                break
            self._hand_out()
            self._listen()
            if score.attempts - told >= max(100, attempts // 20):
                told = score.attempts
                progress(score)
        while self._turns:
            self._listen()
        for worker in self._workers.values():
            worker.kill()
            worker.bury()
        return score

    def _hire(self) -> None:
        worker = Worker(list(self._workers.values()))
        self._workers[worker.pipe] = worker

    def _hand_out(self) -> None:
        """Give each idle worker a row that is ready; first those that have failed, for their grace is running out."""
        now = time.monotonic()
        ready = [row for row in self._waiting if row.ready_at <= now]
        ready.sort(key=lambda row: (-row.failures, row.ready_at))
        idle = [pipe for pipe in self._workers if pipe not in self._turns]
        for pipe, row in zip(idle, ready, strict=False):
            self._waiting.remove(row)
            row.fate = row.fate or next(row.fates)
            if row.failures >= IN_A_ROW:  # also of those that nobody had scripted: a machine with too much to do
                row.fate = Fate(row.fate.entry)
            self._remote.ask("script_grant", row.number, row.fate.faults)
            self._turns[pipe] = Turn(row, row.fate, time.monotonic())
            pipe.send(Task(row.connection_id, row.provider_id, row.fate))

    def _listen(self) -> None:
        """Hear what the workers say, for a moment, and kill those whose time has come."""
        now = time.monotonic()
        ends = [turn.ends for turn in self._turns.values() if turn.ends is not None]
        for pipe in wait(list(self._turns), timeout=max(0.0, min([0.02, *(end - now for end in ends)]))):
            self._hear(pipe)  # type: ignore[arg-type]
        now = time.monotonic()
        for pipe, turn in list(self._turns.items()):
            if turn.ends is not None and turn.ends <= now and not pipe.poll():
                self._workers[pipe].kill()
                self._mourn(pipe)
            elif now - turn.began > HUNG:
                self.score.violations.append(f"row {turn.row.number}: a worker hung, {turn.fate}")
                self._workers[pipe].kill()
                self._mourn(pipe)

    def _hear(self, pipe: Pipe) -> None:
        turn = self._turns[pipe]
        try:
            said = pipe.recv()
        except (EOFError, ConnectionResetError):
            self._mourn(pipe)
            return
        if not isinstance(said, Report):
            turn.reached = said
            return
        del self._turns[pipe]
        row, score = turn.row, self.score
        row.ready_at = time.monotonic() + said.wait + 0.02
        if said.began:
            score.outcomes[said.outcome] += 1
            lost = self._remote.ask("lost", row.number) if turn.fate.faults else []
            if lost:
                score.lost_answers[" + ".join(lost)] += 1
            self._count(row, failed=bool(lost) or said.outcome != "refreshed")
        if said.is_marked:
            row.ready_at = float("inf")
            self._waiting += [self._reserve.pop()] if self._reserve else []
        else:
            self._waiting.append(row)

    def _mourn(self, pipe: Pipe) -> None:
        """Count a killed worker, fork the next, and let its row wait until the lease has ended."""
        turn, worker = self._turns.pop(pipe), self._workers.pop(pipe)
        worker.bury()
        self._hire()
        random = turn.fate.kill_after is not None
        if not random and not turn.reached:
            self.score.violations.append(f"row {turn.row.number}: a worker died of itself, {turn.fate}")
        self.score.kills["random moment" if random else str(turn.reached)] += 1
        self._count(turn.row, failed=True)
        turn.row.ready_at = time.monotonic() + self._lease + 0.05
        self._waiting.append(turn.row)

    def _count(self, row: Row, *, failed: bool) -> None:
        row.fate = None
        row.attempts += 1
        self.score.attempts += 1
        self.score.again += failed and row.failures > 0
        row.failures = row.failures + 1 if failed else 0


def make_row(number: int, connection_id: UUID, provider_id: UUID, *, seed: int) -> Row:
    """Return a row whose fates are drawn from ``seed``."""
    return Row(number, connection_id, provider_id, fates(seed, number))


def _is_enough(score: Score, attempts: int, each: int) -> bool:
    return (
        score.attempts >= attempts
        and score.failed >= attempts / 2
        and all(score.kills[point] >= each for point in POINTS)
        and score.again > 0
    )
