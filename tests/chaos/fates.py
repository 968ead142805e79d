"""What is to become of one attempt: drawn from the campaign's seed, the same each time for the same row."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_oauth_flows.failpoints import Failpoint
from tests.chaos.scripted import FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

POINTS = tuple(point for point in Failpoint if point is not Failpoint.CODE_EXCHANGED)
"""The failpoints of a refresh."""

IN_A_ROW = 2
"""So many failures of one row follow each other at most: back-off grows with each, and no grace window outlasts them all."""

LONGEST = 0.05
"""Seconds within which a worker is killed at random: longer than most attempts take."""

ENTRIES = ("access_token", "refresh", "sweep")


@dataclass(frozen=True, slots=True)
class Fate:
    """``kill_at``: SIGKILL at that failpoint. ``kill_after``: SIGKILL so many seconds on. ``faults``: of the answers."""

    entry: str
    kill_at: Failpoint | None = None
    kill_after: float | None = None
    faults: tuple[str, ...] = ()


def fates(seed: int, row: int) -> Iterator[Fate]:
    """Draw the fates of a row's attempts, one after the other, without an end."""
    dice, failures = random.Random(f"{seed}/{row}"), 0
    while True:
        entry = dice.choice(ENTRIES)
        kind = "nothing" if failures == IN_A_ROW else dice.choices(list(_KINDS), list(_KINDS.values()))[0]
        failures = 0 if kind == "nothing" else failures + 1
        if kind == "nothing":
            yield Fate(entry)
        elif kind == "random moment":
            yield Fate(entry, kill_after=dice.uniform(0, LONGEST))
        elif kind == "lost answer":
            # Sometimes the second presentation of the same attempt is lost as well.
            yield Fate(entry, faults=tuple(dice.choices(list(FAULTS), k=dice.choice((1, 1, 2)))))
        elif kind == Failpoint.BEFORE_RELEASE:  # it takes a failure to get there
            yield Fate(entry, kill_at=Failpoint.BEFORE_RELEASE, faults=("503",))
        else:
            yield Fate(entry, kill_at=Failpoint(kind))


_KINDS: dict[str, float] = {"nothing": 25, "lost answer": 11, "random moment": 8.5, **dict.fromkeys(POINTS, 6.5)}
