"""Count a compilation of facts against the catalogue, record by record: ``python -m tests.contract.facts providers.json``.

The facts stay outside: a JSON list of records with ``slug``, ``status``, ``confidence`` and, where data was thought not to be
enough, ``needs_code``. Every record that may live is an entry, under its slug or an alias, or is left out with a reason.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django_oauth_flows import catalogue
from tests.contract.catalogue import LEFT_OUT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Tally:
    """What has become of some records: how many are entries, why others are none, and whom nobody has looked at."""

    shipped: tuple[str, ...]
    left_out: Mapping[str, str]
    forgotten: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.total} records, {len(self.shipped)} shipped ({100 * len(self.shipped) / self.total:.1f} %)"]
        lines += [f"  left out: {slug}: {reason}" for slug, reason in self.left_out.items()]
        lines += [f"  forgotten: {slug}" for slug in self.forgotten]
        return "\n".join(lines)

    @property
    def total(self) -> int:
        """Return how many records were counted."""
        return len(self.shipped) + len(self.left_out) + len(self.forgotten)


def may_live(record: Mapping[str, Any]) -> bool:
    """Tell whether the service is not known to have ended."""
    return bool(record["status"] != "dead")


def must_ship(record: Mapping[str, Any]) -> bool:
    """Tell whether the record promises to be an entry: alive, known well enough, and data."""
    return may_live(record) and record["confidence"] in ("high", "medium") and not record.get("needs_code")


def tally(records: Iterable[Mapping[str, Any]], *, left_out: Mapping[str, str]) -> Tally:
    """Sort the records, one by one."""
    names = {name for preset in catalogue.presets() for name in (preset.slug, *preset.aliases)}
    slugs = [record["slug"] for record in records]
    return Tally(
        shipped=tuple(slug for slug in slugs if slug in names),
        left_out={slug: left_out[slug] for slug in slugs if slug not in names and slug in left_out},
        forgotten=tuple(slug for slug in slugs if slug not in names and slug not in left_out),
    )


def counts(path: Path) -> tuple[Tally, Tally]:
    """Return the count of the records that promise to be entries, and that of all that may live."""
    facts = json.loads(path.read_text(encoding="utf-8"))
    left_out = json.loads(LEFT_OUT.read_text(encoding="utf-8"))
    return tally(filter(must_ship, facts), left_out=left_out), tally(filter(may_live, facts), left_out=left_out)


def main(path: str) -> int:
    """Print both counts; return 1 if a record was forgotten."""
    promised, living = counts(Path(path))
    print(f"Known well, and said to need no code: {promised}\n\nNot known to have ended: {living}")  # noqa: T201 - a report
    return 1 if living.forgotten else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
