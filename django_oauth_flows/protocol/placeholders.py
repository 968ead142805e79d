"""``{name}`` placeholders in endpoint URLs: values that staff or a connection fill in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]{0,39})\}")

VALUE = r"(?!.*\.\.)[A-Za-z0-9](?:[A-Za-z0-9._\-]{0,198}[A-Za-z0-9])?"
"""What may stand in a placeholder's place, as a regular expression that Python and browsers read alike."""

_VALUE = re.compile(VALUE)


def placeholders(template: str) -> tuple[str, ...]:
    """Return the names in ``template``, in order."""
    return tuple(_PLACEHOLDER.findall(template))


def is_value(text: str) -> bool:
    """Tell whether ``text`` may stand in a placeholder's place: it cannot change the URL's shape."""
    return _VALUE.fullmatch(text) is not None


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace every placeholder; raise ``ValueError`` for a missing value or one that could change the URL's shape."""
    if "{" not in template:
        return template

    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        value: Any = values.get(name, "")  # from a JSON column
        if not isinstance(value, str) or not is_value(value):
            raise ValueError(f"placeholder {name!r} needs a value of letters, digits, dots and hyphens")
        return value

    return _PLACEHOLDER.sub(value_of, template)
