"""Where to send the user afterwards: only ever a path of this site."""

from __future__ import annotations

import re
from urllib.parse import unquote

from django.utils.http import url_has_allowed_host_and_scheme

_PATH = re.compile(r"/(?![/\\])[^\\\s\x00-\x1f\x7f]*", re.ASCII)
_MAX_LENGTH = 2000


def safe_next_url(url: str) -> str:
    """Return ``url`` if it is a plain path of this site, else "".

    Stricter than Django's check alone, which lets pass what some browser reads as another host: an encoded slash or
    backslash, a dot segment or a control character behind the first slash.
    """
    if not url or len(url) > _MAX_LENGTH or not url.isprintable() or not _PATH.fullmatch(url):
        return ""
    path = re.split(r"[?#]", url, maxsplit=1)[0]
    decoded = unquote(path, errors="replace")
    if (
        not decoded.isprintable()
        or not _PATH.fullmatch(decoded.replace(" ", "-"))
        or decoded.startswith(("/./", "/../", "/ "))
    ):
        return ""
    return url if url_has_allowed_host_and_scheme(url, allowed_hosts=None) else ""
