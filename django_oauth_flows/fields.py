"""Column types: sealed secrets, sets of scopes, exact text; and the database's own clock."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from django.core import checks, exceptions
from django.db import models
from django.db.models.functions import Now
from django.db.models.lookups import Lookup

from django_oauth_flows import crypto

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models.sql.compiler import SQLCompiler

    from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    _ScopeText = models.TextField[Iterable[str], tuple[str, ...]]
else:
    _ScopeText = models.TextField


@dataclass(frozen=True, slots=True)
class Ciphertext:
    """A sealed value as it lies in the database; it opens only through its row's ``open``."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        return "(encrypted)"


class EncryptedField(models.TextField):  # type: ignore[type-arg]
    """A nullable column of sealed text. Python sees :class:`Ciphertext`; use ``Sealed.seal`` and ``Sealed.open``.

    ``context`` is the constant that the ciphertext is bound to beside its row; it never changes, whatever is renamed.
    The only lookup is ``isnull``: nothing may probe a secret through a filter.
    """

    def __init__(self, *args: Any, context: str = "", **kwargs: Any) -> None:
        self.context = context
        kwargs.update(null=True, blank=True, default=None, editable=False)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        """Keep the context, leave out what ``__init__`` always sets."""
        name, path, args, kwargs = super().deconstruct()
        for key in ("null", "blank", "default", "editable"):
            kwargs.pop(key, None)
        return name, path, args, {**kwargs, "context": self.context}

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """Refuse a column without a context (id ``oauth_flows.E001``)."""
        errors = super().check(**kwargs)
        if not self.context:
            errors.append(checks.Error("EncryptedField needs a context.", obj=self, id="oauth_flows.E001"))
        return errors

    def from_db_value(self, value: str | None, *_: Any) -> Ciphertext | None:
        """Wrap what the database holds."""
        return None if value is None else Ciphertext(value)

    def to_python(self, value: Any) -> Any:
        """Wrap what a fixture holds."""
        return Ciphertext(value) if isinstance(value, str) else value

    def get_prep_value(self, value: Any) -> Any:
        """Unwrap for the database; refuse anything that has not been sealed."""
        if value is None or hasattr(value, "resolve_expression"):
            return value
        if not isinstance(value, Ciphertext):
            raise exceptions.ValidationError(f"{self.context}: only sealed values may be stored")
        return value.value

    def value_to_string(self, obj: models.Model) -> str:
        """Serialise the ciphertext for ``dumpdata``."""
        value = self.value_from_object(obj)
        return "" if value is None else value.value

    def get_lookup(self, lookup_name: str) -> Any:
        """Allow ``isnull`` only."""
        return super().get_lookup(lookup_name) if lookup_name == "isnull" else None

    def get_transform(self, lookup_name: str) -> Any:
        """Allow no transform."""
        return


class Sealed(models.Model):
    """Mixin of the models that hold secrets."""

    class Meta:
        abstract = True

    if TYPE_CHECKING:

        def sealing_parts(self) -> tuple[str, str, str, str]:
            """Return what this row's secrets are bound to: row UUID, owner model, owner id, provider UUID."""

    def seal(self, name: str, secret: Secret | None) -> Ciphertext | None:
        """Encrypt ``secret`` for this row's column ``name``, set it, and return it for use in an UPDATE."""
        sealed = Ciphertext(crypto.seal(secret, context=self._context(name))) if secret else None
        setattr(self, name, sealed)
        return sealed

    def open(self, name: str) -> Secret | None:
        """Decrypt column ``name``; None if it is empty. Raise ``DecryptionError`` if it does not open."""
        sealed: Ciphertext | None = getattr(self, name)
        return None if sealed is None else crypto.unseal(sealed.value, context=self._context(name))

    @classmethod
    def sealed_fields(cls) -> tuple[str, ...]:
        """Return the names of the encrypted columns."""
        return tuple(f.name for f in cls._meta.concrete_fields if isinstance(f, EncryptedField))

    def _context(self, name: str) -> bytes:
        column: Any = self._meta.get_field(name)
        return json.dumps([column.context, *self.sealing_parts()]).encode()


class ScopeField(_ScopeText):
    """An ordered set of scopes, a tuple in Python; query it with ``scopes__has="repo"``."""

    description = "Scopes"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("blank", True)
        kwargs.setdefault("default", ())
        super().__init__(*args, **kwargs)

    def from_db_value(self, value: str | None, *_: Any) -> tuple[str, ...]:
        """Split the stored text."""
        return split_scopes(value or "")

    def to_python(self, value: Any) -> tuple[str, ...]:
        """Accept text or an iterable of scopes."""
        return split_scopes(value if isinstance(value, str) else " ".join(value or ()))

    def get_prep_value(self, value: Any) -> Any:
        """Join with a blank around every scope, so that a whole scope can be searched."""
        if hasattr(value, "resolve_expression"):
            return value
        scopes = self.to_python(value)
        return f" {' '.join(scopes)} " if scopes else ""

    def value_to_string(self, obj: models.Model) -> str:
        """Serialise as space-delimited text."""
        return " ".join(self.value_from_object(obj))

    def value_from_object(self, obj: models.Model) -> Any:
        """Return the scopes."""
        return self.to_python(super().value_from_object(obj))

    def formfield(self, **kwargs: Any) -> Any:
        """Edit as one line of space-delimited text."""
        from django.forms import CharField, TextInput

        class ScopesFormField(CharField):
            def prepare_value(self, value: Any) -> Any:
                return value if isinstance(value, str) else " ".join(value or ())

            def has_changed(self, initial: Any, data: Any) -> bool:
                return split_scopes(self.prepare_value(initial)) != split_scopes(data or "")

        widget = TextInput({"class": "vTextField", "size": 60})
        return super().formfield(**{**kwargs, "form_class": ScopesFormField, "widget": widget})


@ScopeField.register_lookup
class HasScope(Lookup):
    """``field__has="repo"``: the set contains exactly this scope, by byte comparison on every database."""

    lookup_name = "has"
    prepare_rhs = False
    _function: ClassVar[dict[str, str]] = {"postgresql": "STRPOS({lhs}, {rhs})", "mysql": "INSTR(BINARY {lhs}, {rhs})"}

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, Any]:
        """Render the vendor's substring position."""
        lhs, params = self.process_lhs(compiler, connection)
        template = self._function.get(connection.vendor, "INSTR({lhs}, {rhs})")
        return template.format(lhs=lhs, rhs="%s") + " > 0", (*params, f" {self.rhs} ")


class ExactTextField(models.CharField):  # type: ignore[type-arg]
    """Text compared byte by byte on every database: ``Abc`` and ``abc`` are two accounts."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        """Ask MySQL and MariaDB for a binary collation that does not ignore blanks at the end; the others have one."""
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            is_mariadb: bool = connection.mysql_is_mariadb  # type: ignore[attr-defined]
            parameters["collation"] = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
        return parameters


class DatabaseNow(Now):
    """The database's present time in UTC: the one clock of leases and expiry, whatever the workers' clocks say."""

    def as_mysql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any) -> Any:
        """Use UTC: ``CURRENT_TIMESTAMP`` is the session's local time there."""
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra)


def split_scopes(text: str) -> tuple[str, ...]:
    """Split on white space, drop duplicates, keep order."""
    return tuple(dict.fromkeys(text.split()))
