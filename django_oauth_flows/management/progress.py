"""Show how far a long command has come: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.core.management.base import OutputWrapper

WIDTH = 30
LINES = 10
"""How many lines to print at most where there is no terminal."""


class Progress:
    """Progress through ``total`` rows; a total of 0 shows nothing."""

    def __init__(self, stream: OutputWrapper, label: str, *, total: int, quiet: bool = False) -> None:
        self._stream = stream
        self._label = label
        self._total = total
        self._quiet = quiet or total == 0
        self._terminal = stream.isatty()
        self._done = 0
        self._shown = 0

    def advance(self, rows: int) -> None:
        """Note that so many more rows have been dealt with."""
        self._done = min(self._done + rows, self._total)
        if self._quiet:
            return
        if self._terminal:
            filled = WIDTH * self._done // self._total
            self._write(f"\r{self._label} [{'#' * filled}{' ' * (WIDTH - filled)}] {self._done}/{self._total}")
        elif (part := LINES * self._done // self._total) > self._shown:
            self._shown = part
            self._write(f"{self._label}: {self._done} of {self._total}\n")

    def close(self) -> None:
        """Leave the bar's line."""
        if self._terminal and not self._quiet:
            self._write("\n")

    def _write(self, text: str) -> None:
        self._stream.write(text, lambda plain: plain, ending="")
        self._stream.flush()
