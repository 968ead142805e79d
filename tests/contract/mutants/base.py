"""The guards of the security rows as data: what makes the package forget one, and which tests must notice.

A mutant is the smallest change that takes its guard away. Its old text occurs once in its file, so that it cannot rot unseen.
"""

from __future__ import annotations

from dataclasses import dataclass

ROWS = (
    *(f"F{number:02}" for number in range(1, 23)),
    *(f"D{number:02}" for number in range(1, 10)),
    *("T08", "T12", "T13", "T14", "T15", "T16", "T17", "T18", "T19", "T20", "T21", "T22", "T24"),
    *("S04", "S10"),
    *("V01", "V02", "V03", "V04", "V05", "V06"),
    *("C02", "C03", "C04", "C07"),
    *("L06", "L07"),
    *(f"I{number:02}" for number in range(1, 22) if number != 18),
    *("A11", "A14", "A15", "A16"),
    *("B11", "B12", "B20", "B21", "B22", "B24", "B26", "B27", "B28"),
    *("H06",),
    *("M01", "M02", "M03", "M04", "M05", "M06", "M07", "M08", "M09", "M10"),
    *(f"P{number:02}" for number in range(1, 11) if number != 9),
)
"""The rows of docs/security.md whose guards are taken away one by one."""


@dataclass(frozen=True, slots=True)
class Change:
    """``old`` becomes ``new`` in a file of the package."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A package without one of a row's guards.

    ``killers``: the tests, below ``tests/``, of which at least one must fail, each marked with the row. ``database``: on
    which they run. Several ``changes`` where each of them alone leaves the guard standing.
    """

    row: str
    guard: str
    changes: tuple[Change, ...]
    killers: tuple[str, ...]
    database: str = "sqlite"


def mutant(
    row: str, guard: str, file: str, old: str, new: str, *killers: str, database: str = "sqlite", also: tuple[Change, ...] = ()
) -> Mutant:  # fmt: skip
    """Return the mutant of one change, or of one and those ``also`` needed."""
    return Mutant(row, guard, (Change(file, old, new), *also), killers, database)
