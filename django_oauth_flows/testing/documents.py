"""Documents that the fake provider answers with: values put at paths, moments of expiry, XML."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from xml.sax.saxutils import escape, quoteattr


def put(document: Any, path: str, value: Any) -> Any:
    """Put ``value`` at a path of names and numbers, or a JSON pointer, making what lies on the way; return the document."""
    steps = path[1:].replace("~1", "\0").split("/") if path.startswith("/") else path.split(".")
    return _put(document, [step.replace("\0", "/").replace("~0", "~") for step in steps], value)


def _put(present: Any, steps: list[str], value: Any) -> Any:
    if not steps:
        return value
    step = steps[0]
    if step.isdecimal() and (isinstance(present, list) or not present):
        items = present if isinstance(present, list) else []
        items += [{} for _ in range(int(step) + 1 - len(items))]
        items[int(step)] = _put(items[int(step)], steps[1:], value)
        return items
    members = present if isinstance(present, dict) else {}
    members[step] = _put(members.get(step, {}), steps[1:], value)
    return members


def expiry(lifetime: float, form: str) -> Any:
    """Return a lifetime in seconds as ``Dialect.expiry_format`` has it."""
    until = datetime.now(UTC) + timedelta(seconds=lifetime)
    match form:
        case "milliseconds":
            return int(lifetime * 1000)
        case "epoch":
            return int(until.timestamp())
        case "epoch_milliseconds":
            return int(until.timestamp() * 1000)
        case "date":
            return until.isoformat()
    return lifetime


def as_xml(document: dict[str, Any]) -> str:
    """Return ``{root: …}`` as XML: ``@name`` is an attribute, ``#text`` the text."""
    return "".join(_element(name, value) for name, value in document.items())


def _element(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value)
    if not isinstance(value, dict):
        return f"<{name}>{escape(str(value))}</{name}>"
    attributes = "".join(f" {key[1:]}={quoteattr(str(item))}" for key, item in value.items() if key.startswith("@"))
    inner = "".join(_element(key, item) for key, item in value.items() if key[0] not in "@#")
    return f"<{name}{attributes}>{escape(str(value.get('#text', '')))}{inner}</{name}>"
