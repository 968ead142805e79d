"""Hold rows until the commit, in one order everywhere: Connection (several by their ids), then Token, then who has it.

A Provider is held after its Connection, as it is by whoever records an event: MySQL locks what a new row refers to.
Always on the writing database.
"""

from __future__ import annotations

from typing import Any, TypeVar

from django.db import connections, router
from django.db.models import F, Model, QuerySet

M = TypeVar("M", bound=Model)


def hold(rows: QuerySet[M], *, deleting: bool = False) -> list[M]:
    """Begin a transaction by reading ``rows`` as they are now; nobody else changes them until it ends.

    With ``deleting``, nobody else inserts what refers to them either: the deletion would fail for it.
    """
    write_first(rows)
    return list(locked(rows.order_by("pk"), deleting=deleting))


def hold_row(row: Model, *, alias: str, deleting: bool = False) -> bool:
    """Hold one row of any model, if it lives in the database ``alias`` at all; False if it is gone."""
    model: Any = row._meta.concrete_model  # of a lazy user as well
    everything = model._base_manager  # noqa: SLF001 - documented; a default manager may hide rows
    rows = everything.using(router.db_for_write(model, instance=row)).filter(pk=row.pk)
    return rows.db != alias or bool(hold(rows, deleting=deleting))


def write_first(rows: QuerySet[M]) -> None:
    """Where the database locks no rows (SQLite), write to ``rows`` what they hold, before anything is read.

    Whoever has written has the database to itself; whoever has read first may be refused the write.
    """
    if not connections[rows.db].features.has_select_for_update:
        key = rows.model._meta.pk.name
        rows.update(**{key: F(key)})


def locked(rows: QuerySet[M], *, deleting: bool = False) -> QuerySet[M]:
    """Let ``rows`` be locked as they are read, in a transaction that has written already.

    Unless it is for ``deleting``, rows that only refer to them may still be inserted, where the database can tell the two.
    """
    return rows.select_for_update(no_key=not deleting and connections[rows.db].features.has_select_for_no_key_update)
