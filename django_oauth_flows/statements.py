"""Statements whose SQL is written once.

Django takes longer to write the SQL of our wide rows than the database takes to run it. What a dance and an API call do
again and again is therefore described once, as a query set with named slots, compiled when it is first run on a database,
and afterwards only bound to values. Rows become the same instances that ``select_related`` would have made, and nothing
is sent that Django would not have sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.db import connections, router
from django.db.models import AutoField, BigAutoField, Expression, Model
from django.db.models.signals import post_save, pre_save
from django.db.models.sql import InsertQuery, UpdateQuery
from django.db.transaction import mark_for_rollback_on_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import QuerySet

M = TypeVar("M", bound=Model)


class Slot(Expression):
    """A place in a statement for the value of a column, given by name when the statement runs."""

    def __init__(self, column: str, name: str = "") -> None:
        super().__init__()
        self.column = column
        self.name = name or column

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Leave a placeholder; the parameter is this slot until it is bound."""
        return "%s", (self,)


@dataclass(frozen=True, slots=True)
class _Part:
    """The columns of one model in a row, and where its instance belongs."""

    model: type[Model]
    names: tuple[str, ...]
    start: int
    owner: int | None  # position of the part that it is related to
    relation: Any

    def build(self, alias: str, row: list[Any]) -> Any:
        values = row[self.start : self.start + len(self.names)]
        return self.model.from_db(alias, self.names, values)


class _Written:
    """SQL and its parameters, some of which are slots."""

    __slots__ = ("_fixed", "_slots", "sql")

    def __init__(self, sql: str, params: Sequence[Any], model: type[Model]) -> None:
        self.sql = sql
        self._fixed = [None if isinstance(p, Slot) else p for p in params]
        columns = ((n, p) for n, p in enumerate(params) if isinstance(p, Slot))
        self._slots = [(n, p.name, model._meta.get_field(p.column).get_db_prep_save) for n, p in columns]  # type: ignore[union-attr]

    def bind(self, values: Mapping[str, Any], database: BaseDatabaseWrapper) -> list[Any]:
        """Return the parameters with every slot filled, converted as Django would have converted it."""
        bound = self._fixed.copy()
        for position, name, convert in self._slots:
            bound[position] = convert(values[name], database)
        return bound


class Select(Generic[M]):
    """Rows of one model, with the ``related`` ones in place. ``build`` returns the query set, with slots for values.

    ``columns`` limits what is read of a path ("" for the model itself); the rest is loaded if asked for.
    """

    def __init__(
        self,
        build: Callable[[], QuerySet[M]],
        *,
        related: Sequence[str] = (),
        columns: Mapping[str, Callable[[type[Model]], Sequence[str]]] | None = None,
        limit: int | None = None,
    ) -> None:
        self._build = build
        self._related = related
        self._columns = columns or {}
        self._limit = limit
        self._written: dict[str, _Selection] = {}

    def rows(self, *, using: str, **values: Any) -> list[M]:
        """Run it."""
        selection = self._written.get(using) or self._write(using)
        database = connections[using]
        with database.cursor() as cursor:
            cursor.execute(selection.written.sql, selection.written.bind(values, database))
            found = cursor.fetchall()
        return [selection.instance(using, list(row), database) for row in found]

    def first(self, *, using: str, **values: Any) -> M | None:
        """Run it for a row that is alone."""
        return next(iter(self.rows(using=using, **values)), None)

    def _write(self, alias: str) -> _Selection:
        rows = self._build().using(alias)
        paths: list[str] = []
        parts: dict[str, _Part] = {}
        for path in ("", *self._related):
            parts[path] = part = self._part(rows.model, path, parts, start=len(paths))
            paths += [f"{path}__{name}" if path else name for name in part.names]
        extra = tuple(rows.query.annotations)
        compiler = rows.values_list(*paths, *extra)[: self._limit].query.get_compiler(using=alias)
        sql, params = compiler.as_sql()
        columns = [column for column, *_ in compiler.select]
        if len(columns) != len(paths) + len(extra):
            raise TypeError("a statement names every column once")
        converted = tuple((n, columns[n]) for n in compiler.get_converters(columns))
        self._written[alias] = _Selection(_Written(sql, params, rows.model), tuple(parts.values()), converted, extra)
        return self._written[alias]

    def _part(self, model: type[Model], path: str, parts: Mapping[str, _Part], *, start: int) -> _Part:
        owner, relation, target = None, None, model
        if path:
            before, _, step = path.rpartition("__")
            owner = list(parts).index(before)
            relation = parts[before].model._meta.get_field(step)
            target = relation.related_model  # type: ignore[assignment]
        names = [field.attname for field in target._meta.concrete_fields]
        if path in self._columns:
            wanted = self._columns[path](target)
            names = [name for name in names if name in wanted]
        return _Part(target, tuple(names), start, owner, relation)


@dataclass(frozen=True, slots=True)
class _Selection:
    """A written SELECT, and how its rows become instances."""

    written: _Written
    parts: tuple[_Part, ...]
    converted: tuple[tuple[int, Any], ...]
    extra: tuple[str, ...]

    def instance(self, alias: str, row: list[Any], database: BaseDatabaseWrapper) -> Any:
        for position, column in self.converted:
            for convert in (*database.ops.get_db_converters(column), *column.get_db_converters(database)):
                row[position] = convert(row[position], column, database)
        built: list[Any] = []
        for part in self.parts:
            instance = part.build(alias, row)
            if part.owner is not None:
                if instance.pk is None:
                    instance = None
                part.relation.set_cached_value(built[part.owner], instance)
                if instance is not None and part.relation.one_to_one:
                    part.relation.remote_field.set_cached_value(instance, built[part.owner])
            built.append(instance)
        for offset, name in enumerate(self.extra, start=len(row) - len(self.extra)):
            setattr(built[0], name, row[offset])
        return built[0]


class Update:
    """An UPDATE: ``build`` returns the rows, and the columns with their new values; both may hold slots."""

    def __init__(self, build: Callable[[], tuple[QuerySet[Any], Mapping[str, Any]]]) -> None:
        self._build = build
        self._written: dict[str, _Written] = {}

    def run(self, *, using: str, **values: Any) -> int:
        """Run it; return how many rows it has changed."""
        written = self._written.get(using) or self._write(using)
        database = connections[using]
        with mark_for_rollback_on_error(using), database.cursor() as cursor:
            cursor.execute(written.sql, written.bind(values, database))
            return int(cursor.rowcount)

    def _write(self, alias: str) -> _Written:
        rows, changes = self._build()
        query: Any = rows.using(alias).query.chain(UpdateQuery)
        query.add_update_values(changes)
        sql, params = query.get_compiler(using=alias).as_sql()
        self._written[alias] = _Written(sql, params, rows.model)
        return self._written[alias]


class Insert(Generic[M]):
    """An INSERT of one new instance; ``fixed`` names columns whose value is an expression, the same every time."""

    def __init__(self, **fixed: Any) -> None:
        self._fixed = fixed
        self._written: dict[str, tuple[_Written, list[Any]]] = {}

    def run(self, instance: M, *, using: str | None = None) -> None:
        """Save ``instance`` as a new row. Where somebody listens to saving, Django does it, with everything it does."""
        model = type(instance)
        using = using or router.db_for_write(model)
        if pre_save.has_listeners(model) or post_save.has_listeners(model):
            for name, value in self._fixed.items():
                setattr(instance, name, value)
            instance.save(force_insert=True, using=using)
            return
        written, fields = self._written.get(using) or self._write(model, using)
        database = connections[using]
        values = {field.attname: field.pre_save(instance, add=True) for field in fields}
        with mark_for_rollback_on_error(using), database.cursor() as cursor:
            cursor.execute(written.sql, written.bind(values, database))
        instance._state.adding, instance._state.db = False, using

    def _write(self, model: type[M], alias: str) -> tuple[_Written, list[Any]]:
        fields = [f for f in model._meta.local_concrete_fields if not isinstance(f, AutoField | BigAutoField)]
        template: Any = model()
        for field in fields:
            setattr(template, field.attname, self._fixed.get(field.name, Slot(field.attname)))
        query = InsertQuery(model)
        query.insert_values(fields, [template], raw=True)
        ((sql, params),) = query.get_compiler(using=alias).as_sql()
        given = [field for field in fields if field.name not in self._fixed]
        self._written[alias] = _Written(sql, params, model), given
        return self._written[alias]
