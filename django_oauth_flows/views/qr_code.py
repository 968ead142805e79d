"""QR codes, drawn here: no other site learns which code is shown. Needs the extra ``[qr]``; without it there are none."""

from __future__ import annotations

from django.utils.safestring import SafeString, mark_safe

LONGEST = 500
"""Characters beyond which a code has so many dots that no telephone reads it from a screen."""


def qr_code(url: str) -> SafeString:
    """Return an inline SVG of ``url``, without styles and scripts; "" for no URL, a long one, and without the library."""
    if not 0 < len(url) <= LONGEST:
        return SafeString()
    try:
        import segno
    except ImportError:
        return SafeString()
    drawn = segno.make(url, error="m", micro=False).svg_inline(
        scale=4, dark="#000", light="#fff", svgclass=None, lineclass=None
    )
    return mark_safe(drawn)  # noqa: S308 - paths of numbers, whatever the URL says
