"""Statements whose SQL is written once.

Django takes longer to write the SQL of our wide rows than the database takes to run it. What a dance and an API call do
again and again is therefore described once, as a query set with named slots, compiled when it is first run on a database,
and afterwards only bound to values. Rows become the same instances that ``select_related`` would have made, and nothing
is sent that Django would not have sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from django.db import connections, router
from django.db.models import AutoField, BigAutoField, CharField, Expression, Field, Model, TextField
from django.db.models.signals import post_save, pre_save
from django.db.models.sql import InsertQuery, UpdateQuery
from django.db.transaction import mark_for_rollback_on_error

from django_oauth_flows.fields import ExactTextField

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import QuerySet

M = TypeVar("M", bound=Model)

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


class _Literal(Expression):
    """A plain value that stands in the SQL itself."""

    spellings = {None: "NULL", "": "''", 0: "0", 1: "1"}  # noqa: RUF012 - Django compares the attributes of expressions

    def __init__(self, value: str | int | None) -> None:
        super().__init__()
        self.value = value

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Spell it."""
        return self.spellings[self.value], ()


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
        columns = [(n, p, model._meta.get_field(p.column)) for n, p in enumerate(params) if isinstance(p, Slot)]
        self._slots = [(n, p.name, type(field) in _TEXT, field.get_db_prep_save) for n, p, field in columns]  # type: ignore[union-attr]

    def bind(self, values: Mapping[str, Any], database: BaseDatabaseWrapper) -> list[Any]:
        """Return the parameters with every slot filled, converted as Django would have converted it."""
        bound = self._fixed.copy()
        for position, name, is_text, convert in self._slots:
            value = values[name]
            bound[position] = value if is_text and type(value) is str else convert(value, database)
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
        query: Any = rows.values_list(*paths, *extra)[: self._limit].query
        query.selected = None  # since Django 5.2 it also gives each column a name that nobody asks for
        # psycopg parses a text of more than four kilobytes anew each time: long tables' names would be most of ours.
        query.change_aliases({name: f"t{number}" for number, name in enumerate([*query.alias_map])})
        compiler = query.get_compiler(using=alias)
        sql, params = compiler.as_sql()
        columns = [column for column, *_ in compiler.select]
        if len(columns) != len(paths) + len(extra):
            raise TypeError("a statement names every column once")
        database = connections[alias]
        converted = tuple(
            _Converted(
                n,
                columns[n],
                tuple(columns[n].get_db_converters(database)),
                bool(database.ops.get_db_converters(columns[n])),
            )
            for n in compiler.get_converters(columns)
        )
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


class _Converted(NamedTuple):
    """A column whose values have to be converted: by its own means, and by the vendor's, which belong to a connection."""

    position: int
    column: Any
    own: tuple[Callable[..., Any], ...]
    by_vendor: bool


@dataclass(frozen=True, slots=True)
class _Selection:
    """A written SELECT, and how its rows become instances."""

    written: _Written
    parts: tuple[_Part, ...]
    converted: tuple[_Converted, ...]
    extra: tuple[str, ...]

    def instance(self, alias: str, row: list[Any], database: BaseDatabaseWrapper) -> Any:
        for position, column, own, by_vendor in self.converted:
            for convert in (*database.ops.get_db_converters(column), *own) if by_vendor else own:
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
    """An INSERT of one new instance; ``fixed`` names columns whose value is an expression, the same every time.

    Columns at their default are written into the SQL, once for each set of columns that have another value: most of a
    new row says nothing, and costs nothing.
    """

    def __init__(self, **fixed: Any) -> None:
        self._fixed = fixed
        self._columns: list[tuple[str, Any, Any]] = []
        self._written: dict[tuple[str, tuple[str, ...]], _Written] = {}

    def run(self, instance: M, *, using: str | None = None) -> None:
        """Save ``instance`` as a new row. Where somebody listens to saving, Django does it, with everything it does."""
        model = type(instance)
        using = using or router.db_for_write(model)
        if pre_save.has_listeners(model) or post_save.has_listeners(model):
            for name, value in self._fixed.items():
                setattr(instance, name, value)
            instance.save(force_insert=True, using=using)
            return
        values = self._given(instance)
        written = self._written.get((using, tuple(values))) or self._write(model, using, tuple(values))
        database = connections[using]
        with mark_for_rollback_on_error(using), database.cursor() as cursor:
            cursor.execute(written.sql, written.bind(values, database))
        instance._state.adding, instance._state.db = False, using

    def _given(self, instance: M) -> dict[str, Any]:
        """Return the columns that are not at their default."""
        given = {}
        for name, default, pre_save_of in self._columns or self._describe(type(instance)):
            value = pre_save_of(instance, add=True) if pre_save_of else getattr(instance, name)
            if value != default:
                given[name] = value
        return given

    def _describe(self, model: type[M]) -> list[tuple[str, Any, Any]]:
        """Note each column with its default, and with its ``pre_save`` if that does more than to read it."""
        fields = [f for f in model._meta.local_concrete_fields if f.name not in self._fixed]
        self._columns = [
            (f.attname, f.get_default(), None if type(f).pre_save is Field.pre_save else f.pre_save)
            for f in fields
            if not isinstance(f, AutoField | BigAutoField)
        ]
        return self._columns

    def _write(self, model: type[M], alias: str, given: tuple[str, ...]) -> _Written:
        fields = [f for f in model._meta.local_concrete_fields if not isinstance(f, AutoField | BigAutoField)]
        values = {name: _spelled(default) for name, default, _ in self._columns}
        values |= {name: Slot(name) for name in given}
        template: Any = model()
        for field in fields:
            setattr(template, field.attname, self._fixed.get(field.name) or values[field.attname])
        query = InsertQuery(model)
        query.insert_values(fields, [template], raw=True)
        ((sql, params),) = query.get_compiler(using=alias).as_sql()
        return self._written.setdefault((alias, given), _Written(sql, params, model))


def _spelled(default: Any) -> Any:
    """Return a default as a literal where every database spells it alike, else as it is: it becomes a parameter."""
    return (
        _Literal(default)
        if default is None or (type(default) in (str, int) and default in _Literal.spellings)
        else default
    )
