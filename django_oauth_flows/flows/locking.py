"""Hold rows until the commit, in one order everywhere: Provider, then Connection, then Token. Always on the writing database."""

from __future__ import annotations

from typing import TypeVar

from django.db import connections
from django.db.models import F, Model, QuerySet

M = TypeVar("M", bound=Model)


def hold(rows: QuerySet[M]) -> list[M]:
    """Begin a transaction by reading ``rows`` as they are now; nobody else changes them until it ends.

    Where the database locks no rows (SQLite), a write that changes nothing comes first: whoever has written has the
    database to itself, and whoever has read first may be refused the write.
    """
    if not connections[rows.db].features.has_select_for_update:
        key = rows.model._meta.pk.name
        rows.update(**{key: F(key)})
    return list(locked(rows.order_by("pk")))


def locked(rows: QuerySet[M]) -> QuerySet[M]:
    """Let ``rows`` be locked as they are read, in a transaction that has written already.

    Rows that only refer to them may still be inserted, where the database can tell the two.
    """
    return rows.select_for_update(no_key=connections[rows.db].features.has_select_for_no_key_update)
