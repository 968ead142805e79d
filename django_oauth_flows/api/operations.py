"""What each endpoint takes and answers, as plain values beside its code; the schema is made of them, with the extra ``[openapi]``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rest_framework.serializers import BaseSerializer

    Shape = type[BaseSerializer[Any]]

EVERYWHERE = (401, 403, 406, 413, 429, 500, 503)
"""Statuses with which any endpoint may refuse."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one endpoint, by the name that generated clients give it."""

    name: str
    answers: Mapping[int, Shape] = field(default_factory=dict)
    query: Shape | None = None
    body: Shape | None = None
    refusals: tuple[int, ...] = ()
    passes_through: bool = False  # takes and answers whatever the provider does


def operation(
    name: str,
    *,
    answers: Shape | None = None,
    status: int = 200,
    query: Shape | None = None,
    body: Shape | None = None,
    refusals: tuple[int, ...] = (),
    passes_through: bool = False,
) -> Callable[[Any], Any]:
    """Describe the decorated handler: its successful answer, what it takes, and the statuses of its problems."""
    described = Operation(
        name=name,
        answers={} if answers is None else {status: answers},
        query=query,
        body=body,
        refusals=tuple(sorted({*EVERYWHERE, *refusals})),
        passes_through=passes_through,
    )

    def decorate(handler: Any) -> Any:
        handler.operation = described
        return handler

    return decorate
