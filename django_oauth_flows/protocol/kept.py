"""What the provider has said of itself and was kept, such as the API host of an account, and where that may lead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from django_oauth_flows.protocol.placeholders import decides_host, expand, is_value, runtime_names
from django_oauth_flows.protocol.urls import check_endpoint, matches_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_ORIGIN = re.compile(r"https?://[^/?#]+(?:/[A-Za-z0-9_.~/\-]*)?")

_TEXT = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,1998}[\x21-\x7e])?")
_LARGEST = 10**40


def as_variables(kept: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts and whole numbers in ``kept`` as ``kept.name`` → text; what no header could hold is no value."""
    texts = {name: str(value) for name, value in kept.items() if _is_scalar(value)}
    return {f"kept.{name}": text for name, text in texts.items() if _TEXT.fullmatch(text)}


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST)


def resolve(template: str, values: Mapping[str, str], *, patterns: Iterable[str], internal: bool) -> str:
    """Return the URL with its variables replaced: a whole origin at its beginning, a host's name or label, or a step of the path.

    Raise ``ValueError`` for a missing value, one that could change the URL's shape, or a host that no pattern allows.
    """
    head, path = _split(template)
    if runtime_names(head):
        head = _head(head, values)
    url = head + expand(path, values, quoted=lambda value: quote(value, safe=""))
    origin = check_endpoint(url.partition("?")[0], internal=internal)
    if decides_host(template) and not any(matches_host(origin.netloc, pattern) for pattern in patterns):
        raise ValueError("the service has named a host that 'api_host_patterns' does not list")
    return url


def _split(template: str) -> tuple[str, str]:
    """Split into what holds the host and what follows it."""
    start = template.find("://") + 3 if "://" in template else 0
    end = template.find("/", start)
    return (template, "") if end < 0 else (template[:end], template[end:])


def _head(head: str, values: Mapping[str, str]) -> str:
    if not all(name.startswith("kept.") for name in runtime_names(head)):
        raise ValueError("only what the service has said may stand in a host")
    if "://" in head:
        filled = expand(head, values)
        if not all(is_value(values[name]) for name in runtime_names(head)):
            raise ValueError("the service has named something that is no host")
        return filled
    whole = expand(head, values)  # "{kept.instance_url}": an origin, which may have a path; or a host alone
    if "://" not in whole:
        whole = f"https://{whole}"
    if not _ORIGIN.fullmatch(whole) or ".." in whole:
        raise ValueError("the service has named something that is no address")
    return whole.rstrip("/")
