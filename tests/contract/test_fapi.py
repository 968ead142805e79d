"""The table of FAPI 2.0's requirements names tests that exist, and says plainly what is open."""

from __future__ import annotations

import pytest

from tests.contract import fapi


def test_the_page_is_fresh() -> None:
    assert fapi.PAGE.read_text(encoding="utf-8") == fapi.render(), "run: python -m tests.contract.fapi"


@pytest.mark.parametrize("test", sorted({test for wanted, test in fapi.named() if not wanted.awaited}))
def test_every_named_test_exists(test: str) -> None:
    assert fapi.exists(test)


def test_every_requirement_names_a_test_and_what_is_awaited_comes_whole() -> None:
    assert all(requirement.tests for requirement in fapi.REQUIREMENTS)
    parts = {test.partition("::")[0] for wanted, test in fapi.named() if wanted.awaited}
    for part in parts:
        there = {fapi.exists(test) for wanted, test in fapi.named() if wanted.awaited and test.startswith(part)}
        assert len(there) == 1, f"{part} is there, but not all of the tests that the table names"


def test_a_test_that_is_not_there_is_noticed() -> None:
    assert not fapi.exists("modern/test_fapi.py::test_that_nobody_has_written")
    assert not fapi.exists("modern/test_nothing.py::test_everything_at_once_from_discovery_to_revocation")
