"""A bulk action in rounds: each lasts a few seconds, and a page between them says how far it has come.

A worker that takes longer than that may be killed by its server. The page goes on by itself where there is a script.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.utils.functional import _StrOrPromise as StrOrPromise

    from django_oauth_flows.models import Connection

SECONDS = 10
"""How long one round works."""

BATCH = 100
"""Rows that are read at a time."""

MOST = 1_000_000_000


class Work(NamedTuple):
    """What is done to each row. ``do`` takes a batch and a deadline, and returns the rows it has done, each with its outcome."""

    title: StrOrPromise
    permitted: Callable[[HttpRequest, Connection], bool]
    do: Callable[[HttpRequest, Sequence[Connection], float], list[tuple[Connection, str]]]
    summary: Callable[[Counter[str]], tuple[str, int]]


@dataclass(slots=True)
class Progress:
    """How far a bulk action has come; it travels in the page's form, and only the person who acts could change it."""

    total: int
    after: UUID | None
    tally: Counter[str]

    @classmethod
    def read(cls, request: HttpRequest, rows: QuerySet[Connection]) -> Progress:
        """Read it from the form; at the first round, count."""
        try:
            after = UUID(request.POST["after"])
            total = min(int(request.POST["total"]), MOST)
            known = json.loads(request.POST["tally"])
            tally = Counter({str(name)[:60]: min(max(int(count), 0), MOST) for name, count in known.items()})
        except (KeyError, ValueError, AttributeError, TypeError):
            return cls(rows.count(), None, Counter())
        return cls(total, after, tally)

    @property
    def done(self) -> int:
        """Return how many rows have been dealt with."""
        return self.tally.total()

    def rest(self, rows: QuerySet[Connection]) -> QuerySet[Connection]:
        """Return what is still to be done, in the order of the primary key."""
        ordered = rows.order_by("pk").select_related("provider")
        return ordered if self.after is None else ordered.filter(pk__gt=self.after)

    def note(self, done: Sequence[tuple[Connection, str]]) -> None:
        """Count what a batch has done."""
        self.tally.update(outcome for _row, outcome in done)
        if done:
            self.after = done[-1][0].pk

    def fields(self) -> dict[str, Any]:
        """Return what the form carries to the next round."""
        return {"total": self.total, "after": self.after, "tally": json.dumps(self.tally)}
