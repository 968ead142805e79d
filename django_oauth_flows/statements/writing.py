"""UPDATE and INSERT, compiled once, and several of them as one statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.db import connections, router
from django.db.models import AutoField, BigAutoField, Expression, Field, Model
from django.db.models.signals import post_save, pre_save
from django.db.models.sql import InsertQuery, UpdateQuery
from django.db.transaction import mark_for_rollback_on_error

from django_oauth_flows.statements.binding import Bound, Slot, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.db.models import QuerySet

M = TypeVar("M", bound=Model)

WITHOUT_WAITING = "set_config('synchronous_commit', 'off', true) = 'off'"
"""Lets PostgreSQL answer before this transaction is on disk; others see it at once, and no later one survives it."""


class Update:
    """An UPDATE: ``build`` returns the rows, and the columns with their new values; both may hold slots."""

    def __init__(self, build: Callable[[], tuple[QuerySet[Any], Mapping[str, Any]]]) -> None:
        self._build = build
        self._written: dict[str, Written] = {}

    def run(self, *, using: str, **values: Any) -> int:
        """Run it; return how many rows it has changed."""
        with mark_for_rollback_on_error(using), connections[using].cursor() as cursor:
            cursor.execute(*self.bound(using=using, **values))
            return int(cursor.rowcount)

    def bound(self, *, using: str, **values: Any) -> Bound:
        """Return it to become a part of another statement."""
        written = self._written.get(using) or self._write(using)
        return written.bind(values, connections[using])

    def _write(self, alias: str) -> Written:
        rows, changes = self._build()
        query: Any = rows.using(alias).query.chain(UpdateQuery)
        query.add_update_values(changes)
        sql, params = query.get_compiler(using=alias).as_sql()
        self._written[alias] = Written(sql, params, rows.model)
        return self._written[alias]


class Insert(Generic[M]):
    """An INSERT of one new instance; ``fixed`` names columns whose value is an expression, the same every time.

    Columns at their default are written into the SQL, once for each set of columns that have another value: most of a
    new row says nothing, and costs nothing. ``is_expendable``: nothing is lost if a crash of the database undoes it, so
    where it is a transaction of its own, nobody waits for the disk.
    """

    def __init__(self, *, is_expendable: bool = False, **fixed: Any) -> None:
        self._fixed = fixed
        self._is_expendable = is_expendable
        self._columns: list[tuple[str, Any, Any]] = []
        self._written: dict[tuple[str, tuple[str, ...]], Written] = {}

    def run(self, instance: M, *, using: str | None = None, unless: Bound | None = None) -> bool:
        """Save ``instance`` as a new row, and tell so; False, and nothing, if ``unless`` finds a row.

        Where somebody listens to saving, Django does it, with everything it does.
        """
        model = type(instance)
        using, listened_to = using or router.db_for_write(model), _is_listened_to(model)
        if unless is not None and (listened_to or connections[using].vendor != "postgresql"):
            if _finds(unless, using):
                return False
            unless = None
        if listened_to:
            for name, value in self._fixed.items():
                setattr(instance, name, value)
            instance.save(force_insert=True, using=using)
            return True
        sql, params = self.bound(instance, using=using)
        conditions = [WITHOUT_WAITING] if self._is_expendable and _commits_alone(using) else []
        if unless is not None:
            conditions, params = [f"NOT EXISTS ({unless.sql})", *conditions], [*params, *unless.params]
        if conditions:
            sql = _conditional(sql, " AND ".join(conditions))
        with mark_for_rollback_on_error(using), connections[using].cursor() as cursor:
            cursor.execute(sql, params)
            if unless is not None and not cursor.rowcount:
                return False
        instance._state.adding, instance._state.db = False, using
        return True

    def bound(self, instance: M, *, using: str) -> Bound:
        """Return it to become a part of another statement."""
        values = self._given(instance)
        written = self._written.get((using, tuple(values))) or self._write(type(instance), using, tuple(values))
        return written.bind(values, connections[using])

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

    def _write(self, model: type[M], alias: str, given: tuple[str, ...]) -> Written:
        fields = [f for f in model._meta.local_concrete_fields if not isinstance(f, AutoField | BigAutoField)]
        values = {name: _spelled(default) for name, default, _ in self._columns}
        values |= {name: Slot(name) for name in given}
        template: Any = model()
        for field in fields:
            setattr(template, field.attname, self._fixed.get(field.name) or values[field.attname])
        query = InsertQuery(model)
        query.insert_values(fields, [template], raw=True)
        ((sql, params),) = query.get_compiler(using=alias).as_sql()
        return self._written.setdefault((alias, given), Written(sql, params, model))


class AtOnce:
    """INSERTs and UPDATEs that PostgreSQL runs as one statement: one journey, one commit, all of them or none."""

    def __init__(self, *, using: str) -> None:
        self._using = using
        self._parts: list[Bound] = []
        self._rows: list[Model] = []

    @staticmethod
    def is_possible(*models: type[Model]) -> bool:
        """Tell whether these models' rows can be written so, now: outside of transactions, with nobody listening.

        Within a transaction, a statement that fails would take along what the caller has written.
        """
        homes = {router.db_for_write(model) for model in models}
        if len(homes) > 1 or any(map(_is_listened_to, models)):
            return False
        return _commits_alone(homes.pop())

    def insert(self, statement: Insert[M], instance: M) -> None:
        """Add a new row."""
        self._parts.append(statement.bound(instance, using=self._using))
        self._rows.append(instance)

    def update(self, statement: Update, **values: Any) -> None:
        """Add a change."""
        self._parts.append(statement.bound(using=self._using, **values))

    def run(self, *, unless: Bound | None = None) -> bool:
        """Run all of it, and tell so; False, and nothing, if ``unless`` finds a row."""
        condition = unless or Bound("SELECT WHERE false", [])
        named, params = [f"found AS ({condition.sql})"], [*condition.params]
        for number, part in enumerate(self._parts):
            named.append(f"part{number} AS ({_conditional(part.sql, 'NOT EXISTS (SELECT FROM found)')})")
            params += part.params
        with connections[self._using].cursor() as cursor:
            cursor.execute(f"WITH {', '.join(named)} SELECT NOT EXISTS (SELECT FROM found)", params)  # noqa: S608 - ours
            (done,) = cursor.fetchone()
        for row in self._rows if done else ():
            row._state.adding, row._state.db = False, self._using
        return bool(done)


def _commits_alone(using: str) -> bool:
    """Tell whether a statement is a transaction of its own, on PostgreSQL."""
    database = connections[using]
    return database.vendor == "postgresql" and database.get_autocommit()


def _conditional(sql: str, condition: str) -> str:
    """Make an INSERT of values, or an UPDATE of some rows, do nothing unless ``condition`` holds."""
    if sql.startswith("UPDATE"):
        return f"{sql} AND {condition}"
    head, values = sql.split(" VALUES (", 1)
    return f"{head} SELECT {values[:-1]} WHERE {condition}"


def _finds(rows: Bound, using: str) -> bool:
    with connections[using].cursor() as cursor:
        cursor.execute(*rows)
        return cursor.fetchone() is not None


def _is_listened_to(model: type[Model]) -> bool:
    return pre_save.has_listeners(model) or post_save.has_listeners(model)


class _Literal(Expression):
    """A plain value that stands in the SQL itself."""

    spellings = {None: "NULL", "": "''", 0: "0", 1: "1"}  # noqa: RUF012 - Django compares the attributes of expressions

    def __init__(self, value: str | int | None) -> None:
        super().__init__()
        self.value = value

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Spell it."""
        return self.spellings[self.value], ()


def _spelled(default: Any) -> Any:
    """Return a default as a literal where every database spells it alike, else as it is: it becomes a parameter."""
    return (
        _Literal(default)
        if default is None or (type(default) in (str, int) and default in _Literal.spellings)
        else default
    )
