"""JSON as staff type it: what some database could not store is an error at its field."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput

LONGEST = 20_000
"""How many characters a column of ours can need at most."""


class StorableJSONField(forms.JSONField):
    """Django's field, which answers deep nesting, huge numbers, NaN and lone surrogates with an exception or stores them."""

    def to_python(self, value: Any) -> Any:
        """Return the value; blank is the column's default."""
        if value in self.empty_values:
            return self.initial() if callable(self.initial) else self.initial
        try:
            return _read(value)
        except ValueError:
            raise ValidationError(self.error_messages["invalid"]) from None

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Give back unreadable text as it was typed."""
        if self.disabled:
            return initial
        try:
            return None if data is None else _read(data)
        except ValueError:
            return InvalidJSONInput(data)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare the values, not how they are written; what cannot be read is a change."""
        try:
            return bool(self.to_python(data) != initial)
        except ValidationError:
            return True


def _read(value: Any) -> Any:
    """Parse; raise ``ValueError`` for what is not JSON, or not JSON that every database stores."""
    if not isinstance(value, str):
        return value
    if len(value) > LONGEST:
        raise ValueError("too long")
    try:
        parsed = json.loads(value)
        written = json.dumps(parsed, allow_nan=False, ensure_ascii=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    written.encode()  # a lone surrogate has no encoding
    if "\\u0000" in written:
        raise ValueError("PostgreSQL stores no NUL")
    return parsed
