"""A bar chart as numbers for an inline SVG: successes above the line, failures below it. Told apart by more than colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 480, 120
"""Units of the drawing; the page scales it."""

GAP = 2
LOWEST = 5
"""Units that even one failure among thousands gets: it must be seen."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One hour or day: its name, and how many refreshes went well and did not."""

    name: str
    good: int
    bad: int


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle."""

    x: int
    y: int
    width: int
    height: int
    kind: str
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Chart:
    """What the template draws and, for who does not see it, tells."""

    name: str
    title: str
    buckets: tuple[Bucket, ...]
    bars: tuple[Bar, ...]
    axis: int
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def good(self) -> int:
        """Return the sum of what went well."""
        return sum(bucket.good for bucket in self.buckets)

    @property
    def bad(self) -> int:
        """Return the sum of what did not."""
        return sum(bucket.bad for bucket in self.buckets)

    @property
    def told(self) -> tuple[Bucket, ...]:
        """Return the buckets in which anything happened."""
        return tuple(bucket for bucket in self.buckets if bucket.good or bucket.bad)


def draw(name: str, title: str, buckets: Sequence[Bucket]) -> Chart:
    """Lay out the bars: one scale for both directions, the line where both fit."""
    most_good = max((bucket.good for bucket in buckets), default=0)
    most_bad = max((bucket.bad for bucket in buckets), default=0)
    room = HEIGHT - 2 * LOWEST
    unit = room / max(most_good + most_bad, 1)
    axis = LOWEST + round(most_good * unit) if most_good or most_bad else HEIGHT - LOWEST
    step = WIDTH // max(len(buckets), 1)
    bars = []
    for position, bucket in enumerate(buckets):
        x, width = position * step, step - GAP
        for kind, count in (("good", bucket.good), ("bad", bucket.bad)):
            if count:
                height = max(round(count * unit), LOWEST)
                y = max(axis - height, 0) if kind == "good" else axis
                bars.append(Bar(x, y, width, height, kind, bucket.name, count))
    return Chart(name, title, tuple(buckets), tuple(bars), axis)
