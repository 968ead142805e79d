"""What a person reads on a page."""

from __future__ import annotations

import re
from typing import Any


def text_of(response: Any) -> str:
    """Return a page's visible text."""
    html = re.sub(r"</(dd|dt|li|p|h1|h2|button|title)>", " ", response.content.decode())
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))
