"""A SELECT of whole rows with their relations, compiled once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from django.db import connections
from django.db.models import JSONField, Model
from django.db.models.base import ModelState
from django.db.models.signals import post_init, pre_init

from django_oauth_flows.statements.binding import Written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import QuerySet

    from django_oauth_flows.statements.binding import Bound

M = TypeVar("M", bound=Model)


class _Part(NamedTuple):
    """The columns of one model in a row, and where its instance belongs."""

    model: type[Model]
    names: tuple[str, ...]
    start: int
    owner: int | None  # position of the part that it is related to
    relation: Any
    plain: bool  # a model that does nothing of its own when an instance is made

    def build(self, alias: str, row: list[Any]) -> Any:
        model, values = self.model, row[self.start : self.start + len(self.names)]
        if not self.plain or (
            _somebody_listens() and (pre_init.has_listeners(model) or post_init.has_listeners(model))
        ):
            return model.from_db(alias, self.names, values)
        instance = model.__new__(model)
        instance.__dict__.update(zip(self.names, values, strict=True))
        instance._state = ModelState()
        instance._state.adding, instance._state.db = False, alias
        return instance


def _somebody_listens() -> bool:
    """Tell at once that no model at all is listened to, as on nearly every site."""
    return bool(pre_init.receivers or post_init.receivers)


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
            cursor.execute(*selection.written.bind(values, database))
            found = cursor.fetchall()
        return [selection.instance(using, list(row), database) for row in found]

    def first(self, *, using: str, **values: Any) -> M | None:
        """Run it for a row that is alone."""
        return next(iter(self.rows(using=using, **values)), None)

    def bound(self, *, using: str, **values: Any) -> Bound:
        """Return it to become a part of another statement."""
        selection = self._written.get(using) or self._write(using)
        return selection.written.bind(values, connections[using])

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
        converted = tuple(_converted(n, columns[n], database) for n in compiler.get_converters(columns))
        self._written[alias] = _Selection(Written(sql, params, rows.model), tuple(parts.values()), converted, extra)
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
        plain = target.__init__ is Model.__init__ and target.from_db.__func__ is Model.from_db.__func__  # type: ignore[attr-defined]
        return _Part(target, tuple(names), start, owner, relation, plain)


class _Converted(NamedTuple):
    """A column whose values have to be converted: by its own means, and by the vendor's, which belong to a connection."""

    position: int
    column: Any
    own: tuple[Callable[..., Any], ...]
    by_vendor: bool
    is_json: bool
    keeps_null: bool

    def value(self, raw: Any, database: BaseDatabaseWrapper) -> Any:
        """Return what Django would make of it."""
        if self.is_json and isinstance(raw, str) and (make := _EMPTY.get(raw)) is not None:
            return make()
        for convert in (*database.ops.get_db_converters(self.column), *self.own) if self.by_vendor else self.own:
            raw = convert(raw, self.column, database)
        return raw


def _converted(position: int, column: Any, database: BaseDatabaseWrapper) -> _Converted:
    own = tuple(column.get_db_converters(database))
    by_vendor = database.ops.get_db_converters(column)
    is_json = _is_plain_json(getattr(column, "target", None))
    return _Converted(
        position, column, own, bool(by_vendor), is_json, _keeps_null((*by_vendor, *own), column, database)
    )


def _keeps_null(converters: Sequence[Callable[..., Any]], column: Any, database: BaseDatabaseWrapper) -> bool:
    try:
        return all(convert(None, column, database) is None for convert in converters)
    except Exception:  # noqa: BLE001 - of a site's own field, which need not know what never comes
        return False


def _is_plain_json(field: Any) -> bool:
    return type(field) is JSONField and field.decoder is None


_EMPTY: dict[Any, Callable[[], Any]] = {"{}": dict, "[]": list}
"""JSON that most rows have in most columns, and that nobody has to parse."""


class _Selection(NamedTuple):
    """A written SELECT, and how its rows become instances."""

    written: Written
    parts: tuple[_Part, ...]
    converted: tuple[_Converted, ...]
    extra: tuple[str, ...]

    def instance(self, alias: str, row: list[Any], database: BaseDatabaseWrapper) -> Any:
        for column in self.converted:
            raw = row[column.position]
            if raw is not None or not column.keeps_null:
                row[column.position] = column.value(raw, database)
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
