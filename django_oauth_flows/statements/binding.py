"""SQL that is written once, with slots for the values that it is sent with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import CharField, Expression, Model, TextField

from django_oauth_flows.fields import ExactTextField

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper

_TEXT = (CharField, TextField, ExactTextField)
"""Columns to which Django sends a string as it is."""


class Slot(Expression):
    """A place in a statement for the value of a column, given by name when the statement runs."""

    def __init__(self, column: str, name: str = "") -> None:
        super().__init__()
        self.column = column
        self.name = name or column

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Leave a placeholder; the parameter is this slot until it is bound."""
        return "%s", (self,)


class Bound(NamedTuple):
    """SQL that can be sent: every placeholder has its value."""

    sql: str
    params: list[Any]


class Written:
    """SQL and its parameters, some of which are slots."""

    __slots__ = ("_fixed", "_slots", "sql")

    def __init__(self, sql: str, params: Sequence[Any], model: type[Model]) -> None:
        self.sql = sql
        self._fixed = [None if isinstance(p, Slot) else p for p in params]
        columns = [(n, p, model._meta.get_field(p.column)) for n, p in enumerate(params) if isinstance(p, Slot)]
        self._slots = [(n, p.name, type(field) in _TEXT, field.get_db_prep_save) for n, p, field in columns]  # type: ignore[union-attr]

    def bind(self, values: Mapping[str, Any], database: BaseDatabaseWrapper) -> Bound:
        """Return it with every slot filled, its value converted as Django would have converted it."""
        bound = self._fixed.copy()
        for position, name, is_text, convert in self._slots:
            value = values[name]
            bound[position] = value if is_text and type(value) is str else convert(value, database)
        return Bound(self.sql, bound)
