"""What reads the values of an entry: each returns them as Python holds them, or raises ``ValueError``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


def text(value: Any) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no text")
    return value


def slug(value: Any) -> str:
    """Read a slug."""
    if not isinstance(value, str) or len(value) > 64 or not _SLUG.fullmatch(value):  # noqa: PLR2004 - as the column
        raise ValueError(f"{value!r} is no slug")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """Read a list of texts."""
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is no list")  # noqa: TRY004 - every reader raises ValueError
    return tuple(map(text, value))


def mapping(value: Any) -> dict[str, Any]:
    """Read an object."""
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is no object")  # noqa: TRY004 - every reader raises ValueError
    return value


def text_pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """Read an object of texts."""
    return tuple((name, text(item)) for name, item in mapping(value).items())


def texts_of(value: Any, *keys: str) -> dict[str, str]:
    """Read an object that has exactly these texts."""
    if set(mapping(value)) != set(keys):
        raise ValueError(f"{value!r} must have {', '.join(keys)}")
    return {name: text(item) for name, item in value.items()}


def parameter(value: Any) -> dict[str, Any]:
    """Read what is known of a placeholder; its pattern is one that Python and browsers read alike."""
    if unknown := sorted(set(mapping(value)) - set(_PARAMETER)):
        raise ValueError(f"unknown key {unknown[0]!r}")
    read: dict[str, Any] = {name: _PARAMETER[name](item) for name, item in value.items()}
    re.compile(read.get("pattern", ""))
    return read


def address(value: Any) -> str:
    """Read the URL of an endpoint."""
    if not text(value).startswith("https://"):
        raise ValueError(f"{value!r} is not https")
    return str(value)


def base_url(value: Any) -> str:
    """Read the URL that API calls begin with; what the service has said may stand for its beginning."""
    return text(value) if text(value).startswith("{kept.") else address(value)


def web_page(value: Any) -> str:
    """Read the URL of a page for people."""
    return address(value)


def seconds(value: Any) -> int:
    """Read a number that is not negative."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no whole number")
    return value


def boolean(value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")  # noqa: TRY004 - every reader raises ValueError
    return value


def one_of(*choices: str) -> Callable[[Any], str]:
    """Return a reader of one of these words."""

    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is none of {', '.join(choices)}")
        return str(value)

    return read


_PARAMETER: dict[str, Callable[[Any], Any]] = {
    "example": text,
    "for_staff": boolean,
    "help": text,
    "pattern": text,
    "values": texts,
}
