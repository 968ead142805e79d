"""How a compilation of facts is counted against the catalogue, and that every service which is left out has its reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django_oauth_flows import catalogue
from tests.contract import facts
from tests.contract.catalogue import LEFT_OUT

if TYPE_CHECKING:
    from pathlib import Path


def record(slug: str, *, status: str = "live", confidence: str = "high", **more: str) -> dict[str, str]:
    return {"slug": slug, "status": status, "confidence": confidence, **more}


RECORDS = [
    record("github"),
    record("twitter", confidence="medium"),  # an alias
    record("beeminder"),
    record("buffer", confidence="low"),
    record("apple", needs_code="its secret is an assertion"),
    record("gone", status="dead"),
]


def test_every_record_is_an_entry_or_left_out_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(RECORDS))
    promised, living = facts.counts(path)
    assert str(promised).startswith("3 records, 2 shipped (66.7 %)\n  left out: beeminder: only the implicit grant")
    assert str(living).startswith("5 records, 4 shipped (80.0 %)")
    assert facts.main(str(path)) == 0


def test_a_record_that_is_neither_is_told_by_name(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text(json.dumps([*RECORDS, record("newcomer")]))
    promised, _living = facts.counts(path)
    assert "  forgotten: newcomer" in str(promised)
    assert facts.main(str(path)) == 1


def test_what_is_left_out_is_no_entry_and_has_a_reason() -> None:
    left_out = json.loads(LEFT_OUT.read_text(encoding="utf-8"))
    names = {name for preset in catalogue.presets() for name in (preset.slug, *preset.aliases)}
    assert not names & set(left_out)
    assert all(left_out.values())


def test_of_the_services_that_may_live_nineteen_in_twenty_are_entries() -> None:
    shipped, left_out = len(catalogue.slugs()), len(json.loads(LEFT_OUT.read_text(encoding="utf-8")))
    assert shipped / (shipped + left_out) >= 0.95
