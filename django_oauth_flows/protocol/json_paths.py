"""Paths into JSON: names and numbers joined by dots, or, beginning with a slash, a JSON pointer (RFC 6901)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

SECRETS = frozenset({"access_token", "refresh_token", "id_token", "client_secret"})
"""Members that hold a secret wherever they stand in an answer."""

_DEEPEST = 32


def follow(value: Any, path: str) -> Any:
    """Return what stands at ``path``; None if nothing does."""
    for step in _steps(path):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isascii() and step.isdecimal() and len(step) <= 9:  # noqa: PLR2004
            value = value[int(step)] if int(step) < len(value) else None
        else:
            return None
    return value


def first_of(value: Any, paths: Iterable[str]) -> Any:
    """Return what stands at the first of ``paths`` that leads somewhere; None if none does."""
    return next((found for path in paths if (found := follow(value, path)) is not None), None)


def without_secrets(value: Any, paths: Iterable[str]) -> Any:
    """Return a copy of ``value`` without what stands at ``paths``, and without :data:`SECRETS` at any depth."""
    return _pruned(value, tuple(_steps(path) for path in paths), _DEEPEST)


def _steps(path: str) -> list[str]:
    if path.startswith("/"):
        return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]
    return path.split(".")


def _pruned(value: Any, routes: tuple[list[str], ...], depth: int) -> Any:
    if depth == 0 or not isinstance(value, (dict, list)):
        return value if depth else None
    members = value.items() if isinstance(value, dict) else ((str(number), item) for number, item in enumerate(value))
    kept = {
        name: _pruned(item, tuple(route[1:] for route in routes if route[:1] == [name]), depth - 1)
        for name, item in members
        if name not in SECRETS and [name] not in routes
    }
    return kept if isinstance(value, dict) else list(kept.values())
