"""Which strings can be tokens at all: what may travel in a header or form without changing its shape."""

from __future__ import annotations

import re

MAX_TOKEN_LENGTH = 16_384

_VSCHAR = re.compile(r"[\x21-\x7e]+")  # RFC 6749 appendix A.12, without the space


def is_token(value: str) -> bool:
    """Tell whether ``value`` is non-empty printable ASCII without blanks, of at most 16 kB."""
    return 0 < len(value) <= MAX_TOKEN_LENGTH and _VSCHAR.fullmatch(value) is not None
