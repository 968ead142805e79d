"""Take the guards of the security rows away, one at a time, and see that a test notices: ``python -m tests.contract.guards [ROW …]``.

Each mutant is applied to a copy of the checkout, and the tests that must notice it are run there: first without the mutant,
where they must pass, then with it, where one must fail. Exits with 1 if a mutant has survived. ``--record`` writes the
results into ``docs/guards.md``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.contract.mutants import MUTANTS, ROWS, Mutant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "django_oauth_flows"
PAGE = ROOT / "docs" / "guards.md"
COPIED = (PACKAGE, "tests", "example_project", "docs", "pyproject.toml", "setup.cfg", "README.md")
LITTER = shutil.ignore_patterns("__pycache__", "*.sqlite3*", ".hypothesis", "var")

PATIENCE = 180.0
"""Seconds after which tests that hang are ended; without its guard, what they test may wait for ever."""

INTRODUCTION = """# Guards

Every guard named here was taken out of a copy of the package, and the tests behind its row were run against the rest:
`python -m tests.contract.guards` does so for all of them, `python -m tests.contract.guards F04 D03` for some rows, and with
`--record` it writes this page. The changes themselves are data, in `tests/contract/mutants`; a test fails if one of them
no longer fits the code, or if this page lacks one. The rows are explained in [security.md](security.md).

| row | guard that was taken away | where | tests on | noticed by |
|---|---|---|---|---|
"""
REMARKS = """
## What is not taken away by itself

Where two guards stand one behind the other, taking away either changes nothing that could be seen: both go at once, or the one that
decides.

| row | guard | why |
|---|---|---|
| D06 | a disconnected connection's status is looked at; its token's row is gone | either is enough; the mutant lacks both |
| D07 | a disconnect does not queue what others stand on; it is looked at once more before it is sent | either is enough where nobody else is at it; the mutant lacks both |
| T12 | an exchange whose time is over raises | without it the socket refuses a negative timeout, with the same end |
| F17 | sweeps choose rows with `SKIP LOCKED` | it spares them a wait; who gets a row is decided by the condition of the `UPDATE` |
| F19, C04 | a page's own exemption from `ATOMIC_REQUESTS` | Django looks at what stands in the URL configuration; the page's own is for sites that route it themselves |
| F20 | the interpreter waits for threads that store an answer | that is Python's own doing; what hands the work to such a thread is taken away |
| I13 | a part of a token has one spelling in base64url | PyJWT refuses another one as well; ours is for what is read without it |
| I18, P09 | nothing fetches what claims only point to; nothing hands out a token | there is no such code to take the guard of |
| I22 | no logout tokens are taken | there is no address for them |
| V02, V03 | a million inputs, a million rows | the guards are those above; the numbers are in [long-run.md](long-run.md) |
"""
SURVIVED = "SURVIVED"


class Trouble(Exception):
    """The tests cannot tell: they fail without any mutant, or not for what a test has found."""


@dataclass(frozen=True, slots=True)
class Run:
    """How pytest ended: its exit status, the first test that failed, and what it printed."""

    status: int | None  # None: it had to be ended
    failed: str
    passed: bool
    output: str


class Copy:
    """A copy of the checkout, in which one mutant at a time stands."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._sound: set[tuple[tuple[str, ...], str]] = set()
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, place / name, ignore=LITTER)
            else:
                shutil.copy(source, place / name)

    def judge(self, mutant: Mutant) -> str:
        """Return the test that has noticed it, or :data:`SURVIVED`; raise :class:`Trouble` if nobody can tell."""
        self._make_sure(mutant)
        before = {
            change.file: (self.place / PACKAGE / change.file).read_text(encoding="utf-8") for change in mutant.changes
        }
        try:
            for file, text in mutated(mutant, before).items():
                (self.place / PACKAGE / file).write_text(text, encoding="utf-8")
            run = self._pytest(mutant)
        finally:
            for file, text in before.items():
                (self.place / PACKAGE / file).write_text(text, encoding="utf-8")
        if run.status == 0:
            return SURVIVED
        if run.status is None:
            return f"{mutant.killers[0]} (it hangs)"
        if run.status != 1 or not run.failed:
            raise Trouble(run.output)
        return run.failed

    def _make_sure(self, mutant: Mutant) -> None:
        """Run the tests without the mutant, once for all who name the same."""
        asked = (mutant.killers, mutant.database)
        if asked in self._sound:
            return
        run = self._pytest(mutant)
        if run.status != 0 or not run.passed:
            raise Trouble(f"without the mutant:\n{run.output}")
        self._sound.add(asked)

    def _pytest(self, mutant: Mutant) -> Run:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:randomly",
            "-p",
            "no:cacheprovider",
            "--tb=short",
        ]
        command += [f"tests/{test}" for test in mutant.killers]
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.place),
            "PYTHONDONTWRITEBYTECODE": "1",  # a mutant may be as long, and written in the same second, as what it replaces
            "DATABASE": mutant.database,
            "TEST_SUFFIX": os.environ.get("TEST_SUFFIX", "") + "_guards",
        }
        process = subprocess.Popen(
            command, cwd=self.place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the workers that it has started
            process.communicate()
            return Run(None, "", passed=False, output="it hangs")
        failed = re.search(r"^FAILED tests/(\S+?)(?:\[.*)?(?: - .*)?$", output, re.MULTILINE)
        return Run(process.returncode, failed[1] if failed else "", bool(re.search(r"\b\d+ passed", output)), output)


def mutated(mutant: Mutant, texts: dict[str, str]) -> dict[str, str]:
    """Return the files' texts without the guard; raise ``ValueError`` for a change that does not fit, or breaks the syntax."""
    found = dict(texts)
    for change in mutant.changes:
        count = found[change.file].count(change.old)
        if count != 1:
            raise ValueError(f"{mutant.row}: {change.old!r} occurs {count} times in {change.file}")
        found[change.file] = found[change.file].replace(change.old, change.new)
    for file, text in found.items():
        if file.endswith(".py"):
            compile(text, file, "exec")
    return found


def cells(mutant: Mutant) -> tuple[str, str, str, str]:
    """Return what the page says of a mutant, but for the result."""
    files = "<br>".join(f"`{change.file}`" for change in mutant.changes)
    return mutant.row, mutant.guard, files, mutant.database


def recorded() -> dict[tuple[str, ...], str]:
    """Return the page's results; the other table has fewer columns."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if re.match(r"\| [A-Z]\d\d ", line)
    ]
    return {tuple(row[:4]): row[4] for row in rows if len(row) == 5}


def record(results: dict[tuple[str, ...], str]) -> None:
    """Write the page: these results, and what earlier runs have found of the other mutants."""
    known = {**recorded(), **results}
    lines = [f"| {' | '.join(cells(m))} | {known.get(cells(m), 'not run')} |" for m in MUTANTS]
    PAGE.write_text(INTRODUCTION + "\n".join(lines) + "\n" + REMARKS, encoding="utf-8")


def judged(mutants: Iterable[Mutant]) -> Iterator[tuple[Mutant, str, float]]:
    """Yield each mutant with the test that has noticed it, :data:`SURVIVED`, or what was the trouble; and the seconds."""
    with tempfile.TemporaryDirectory(prefix="guards-") as place:
        copy = Copy(Path(place))
        for mutant in mutants:
            began = time.monotonic()
            try:
                verdict = copy.judge(mutant)
            except (Trouble, ValueError) as trouble:
                verdict = f"CANNOT TELL: {trouble}"
            yield mutant, verdict, time.monotonic() - began


def main() -> int:
    """Run, print a table, tell whether every guard has a test."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"default: all of {ROWS[0]} … {ROWS[-1]}")
    parser.add_argument("--record", action="store_true", help="write the results into docs/guards.md")
    options = parser.parse_args()
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    chosen = [m for m in MUTANTS if not options.rows or m.row in options.rows]
    results: dict[tuple[str, ...], str] = {}
    unnoticed = 0
    for mutant, verdict, seconds in judged(chosen):
        is_noticed = "::" in verdict and not verdict.startswith("CANNOT")
        unnoticed += not is_noticed
        print(
            f"{mutant.row}  {mutant.guard}  ({seconds:.0f} s)\n     {'killed by ' if is_noticed else ''}{verdict}",
            flush=True,
        )
        results[cells(mutant)] = f"`{verdict}`" if is_noticed else verdict.partition(":")[0]
        if options.record:
            record(results)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} mutants killed")
    return int(bool(unnoticed))


if __name__ == "__main__":
    sys.exit(main())
