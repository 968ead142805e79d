"""Every guard of the listed rows can still be taken away as ``tests.contract.guards`` does, and was."""

from __future__ import annotations

from functools import cache

import pytest

from tests.contract import guards, proofs
from tests.contract.mutants import MUTANTS, ROWS, Mutant
from tests.contract.reference import PACKAGE

each_mutant = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.row}-{mutant.guard}")


@cache
def _marks() -> dict[tuple[str, ...], list[str]]:
    return proofs.marks("security")


def test_every_row_has_a_mutant() -> None:
    assert {mutant.row for mutant in MUTANTS} == set(ROWS)


@each_mutant
def test_each_mutant_still_fits_the_code(mutant: Mutant) -> None:
    texts = {change.file: (PACKAGE / change.file).read_text(encoding="utf-8") for change in mutant.changes}
    assert guards.mutated(mutant, texts) != texts


@each_mutant
def test_each_mutant_is_noticed_by_tests_of_its_row(mutant: Mutant) -> None:
    marked = {test for rows, tests in _marks().items() if mutant.row in rows for test in tests}
    for killer in mutant.killers:
        assert killer in marked or killer.partition("::")[0] in marked, f"{killer} is not marked with {mutant.row}"


def test_the_page_says_who_has_noticed_each_mutant() -> None:
    told = guards.recorded()
    for mutant in MUTANTS:
        noticed_by = told.get(guards.cells(mutant), "")
        assert "::" in noticed_by, f"run: python -m tests.contract.guards {mutant.row} --record"
    assert len(told) == len({guards.cells(mutant) for mutant in MUTANTS}), (
        "run: python -m tests.contract.guards --record"
    )
