"""One line for each step: ✓ what was done, or ✗ what failed and why."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class StepFailed(Exception):
    """Raised to leave a journey whose next steps make no sense any more."""


class Report:
    """Prints steps as they are done, and counts them."""

    def __init__(self, out: Any) -> None:
        self._out = out
        self.passed = 0
        self.failures: list[str] = []
        self._journey = ""
        encoding = getattr(out, "encoding", None) or "utf-8"
        self._marks = ("✓", "✗") if _can_print("✓✗", encoding) else ("ok    ", "FAILED")

    @contextmanager
    def journey(self, name: str) -> Iterator[None]:
        """Walk one journey; a failed step ends it, and the next journey begins."""
        self._journey = name
        self._write(f"\n{name}")
        try:
            yield
        except StepFailed:
            pass
        except Exception as error:  # noqa: BLE001 - between two steps; reported like one
            self._fail("prepare the next step", error, 0.0)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Do one step, and print how it went."""
        started = time.monotonic()
        try:
            yield
        except Exception as error:
            self._fail(name, error, time.monotonic() - started)
            raise StepFailed from error
        self.passed += 1
        self._write(f"  {self._marks[0]} {name}")

    def _fail(self, name: str, error: Exception, seconds: float) -> None:
        self.failures.append(f"{self._journey}: {name}")
        why = str(error) or type(error).__name__
        self._write(f"  {self._marks[1]} {name}\n      after {seconds:.1f} s: {type(error).__name__}: {why}")

    def _write(self, line: str) -> None:
        self._out.write(line + "\n")
        self._out.flush()


def expect(holds: object, otherwise: str) -> None:
    """Raise ``AssertionError`` saying what was found ``otherwise``; unlike ``assert``, under ``python -O`` too."""
    if not holds:
        raise AssertionError(otherwise)


def _can_print(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
