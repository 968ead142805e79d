"""``{name}`` in endpoint URLs and in the dialect's texts.

``{shop}`` is a placeholder: staff or a connection fill it in. ``{client_id}``, ``{code}`` and the like are variables: what the
protocol has at hand when it sends. ``{kept.instance_url}`` is what the provider has said: a kept member of the token response
or of the callback.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RUNTIME_NAMES = frozenset(
    {"access_token", "client_id", "client_secret", "code", "redirect_uri", "refresh_token", "state"}
)
"""Names that no placeholder may have: these are variables."""

# Texts, which `re` compiles when they are first used: starting a site goes without.
_PLACEHOLDER = r"\{([a-z][a-z0-9_]{0,39})\}"
_VARIABLE = r"\{(kept\.[A-Za-z0-9_.\-]{1,100}|" + "|".join(sorted(RUNTIME_NAMES)) + r")\}"

VALUE = r"(?!.*\.\.)[A-Za-z0-9](?:[A-Za-z0-9._\-]{0,198}[A-Za-z0-9])?"
"""What may stand in a placeholder's place, as a regular expression that Python and browsers read alike."""


def placeholders(template: str) -> tuple[str, ...]:
    """Return the names of the placeholders in ``template``, in order."""
    if "{" not in template:
        return ()
    return tuple(name for name in re.findall(_PLACEHOLDER, template) if name not in RUNTIME_NAMES)


def runtime_names(template: str) -> tuple[str, ...]:
    """Return the names of the variables in ``template``, in order; ``kept.name`` for what the provider has said."""
    return tuple(re.findall(_VARIABLE, template))


def decides_host(template: str) -> bool:
    """Tell whether a variable stands where the URL's host is."""
    return bool(runtime_names(_authority(template)))


def _authority(template: str) -> str:
    """Return what comes before path, query and fragment of an address, or of a host alone."""
    return re.split(r"[/?#]", template.partition("://")[2] if "://" in template else template, maxsplit=1)[0]


def is_value(text: str) -> bool:
    """Tell whether ``text`` may stand in a placeholder's place: it cannot change the URL's shape."""
    return re.fullmatch(VALUE, text) is not None


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace every placeholder, and no variable.

    Raise ``ValueError`` for a missing value or one that could change the URL's shape.
    """
    if "{" not in template:
        return template

    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        if name in RUNTIME_NAMES:
            return match[0]
        value: Any = values.get(name, "")  # from a JSON column
        if not isinstance(value, str) or not is_value(value):
            raise ValueError(f"placeholder {name!r} needs a value of letters, digits, dots and hyphens")
        return value

    return re.sub(_PLACEHOLDER, value_of, template)


def expand(template: str, values: Mapping[str, str], *, quoted: Callable[[str], str] = str) -> str:
    """Replace every variable with its value, each ``quoted``; raise ``ValueError`` for one that is missing."""

    def value_of(match: re.Match[str]) -> str:
        value = values.get(match[1])
        if value is None:
            raise ValueError(f"{{{match[1]}}} has no value")
        return quoted(value)

    return re.sub(_VARIABLE, value_of, template)


_REGISTRABLE_DOTS = 2
"""How many dots a fixed domain has at least, seen from its placeholder: ``.example.com``."""


def decides_domain(url: str) -> tuple[str, ...]:
    """Return the placeholders in the host of ``url`` if they leave open which domain it is; none if its end is fixed."""
    host = _authority(url)
    fixed = host.rpartition("}")[2]
    if fixed.startswith(".") and fixed.count(".") >= _REGISTRABLE_DOTS:
        return ()
    return placeholders(host)
