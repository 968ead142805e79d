"""How fast a sweep may go: a provider that comes back after an outage must not meet a herd."""

from __future__ import annotations

from math import inf
from time import monotonic, sleep

AT_ONCE = 0.25
"""How many seconds' worth may begin together: one at a time would cost a claim for each."""


class Pace:
    """Lets at most ``rate`` refreshes begin in any second; None for as many as there is work for.

    Raises ``ValueError`` for a rate that is not a number more than 0.
    """

    def __init__(self, rate: float | None = None) -> None:
        if rate is not None and not 0 < rate < inf:
            raise ValueError("a rate must be a number more than 0")
        self._rate = rate
        self._next = 0.0  # when the next may begin, by this process's monotonic clock

    def allow(self, wanted: int) -> int:
        """Wait until one may begin; return how many of ``wanted`` may now."""
        if self._rate is None:
            return wanted
        sleep(max(0.0, self._next - monotonic()))
        return min(wanted, max(1, int(self._rate * AT_ONCE)))

    def note(self, begun: int) -> None:
        """Note that so many begin now."""
        if self._rate is not None:
            self._next = max(self._next, monotonic()) + begun / self._rate
