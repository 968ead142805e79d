"""Read the catalogue's files on first use, follow ``extends``, and search."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django_oauth_flows.catalogue.preset import Preset

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).with_name("data")

OWN_KEYS = frozenset(
    {"aliases", "chosen", "confidence", "confirmed_by", "extends", "name", "notes", "slug", "sources", "status"}
)
"""What an entry says of itself alone, and does not hand down to those that extend it."""


def find(slug: str) -> Preset:
    """Return the entry of that slug or alias; raise ``LookupError`` if there is none."""
    return _preset(slug if slug in _entries() else _aliases()[slug])


def slugs() -> tuple[str, ...]:
    """Return the slug of every entry, sorted."""
    return tuple(sorted(_entries()))


def presets() -> Iterator[Preset]:
    """Yield every entry, sorted by slug."""
    return map(_preset, slugs())


def search(query: str, *, limit: int = 20) -> list[Preset]:
    """Return the entries whose slug, name or aliases contain every word of ``query``, the nearest first."""
    words = query.casefold().split()
    if not words:
        return []
    found = []
    for slug, texts in _texts().items():
        if all(any(word in text for text in texts) for word in words):
            found.append((_distance(words, texts), slug))
    return [_preset(slug) for _, slug in sorted(found)[:limit]]


def _distance(words: list[str], texts: tuple[str, ...]) -> tuple[int, int]:
    """Return how far an entry is from what was asked for: its very name, the start of it, or somewhere within."""
    asked = " ".join(words)
    if asked in texts:
        return 0, 0
    starts = any(text.startswith(asked) for text in texts)
    return (1 if starts else 2), len(texts[0])


@cache
def _entries() -> dict[str, dict[str, Any]]:
    """Return slug → entry as written, from every file."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(DATA.glob("*.json")):
        for slug, entry in json.loads(path.read_bytes()).items():
            if slug in found:
                raise ValueError(f"{path.name}: {slug!r} is in the catalogue twice")
            found[slug] = entry
    return found


@cache
def _aliases() -> dict[str, str]:
    return {alias: slug for slug, entry in _entries().items() for alias in entry.get("aliases", ())}


@cache
def _texts() -> dict[str, tuple[str, ...]]:
    return {
        slug: tuple(text.casefold() for text in (slug, entry.get("name", ""), *entry.get("aliases", ())))
        for slug, entry in _entries().items()
    }


@cache
def _preset(slug: str) -> Preset:
    return Preset.from_entry(slug, _merged(slug))


def _merged(slug: str, *, below: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return an entry with what it inherits; a null takes an inherited key away, objects merge key by key."""
    if slug in below:
        raise ValueError(f"{slug!r} extends itself")
    own = _entries()[slug]
    parent = own.get("extends")
    if parent is None:
        return own
    inherited = {k: v for k, v in _merged(parent, below=(*below, slug)).items() if k not in OWN_KEYS}
    return _over(inherited, own)


def _over(inherited: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(inherited)
    for key, value in own.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _over(merged[key], value)
        else:
            merged[key] = value
    return merged
