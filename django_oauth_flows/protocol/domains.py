"""Which placeholders decide whom an address belongs to."""

from __future__ import annotations

from django_oauth_flows.protocol.placeholders import placeholders

_REGISTRABLE_DOTS = 2
"""How many dots a fixed domain has at least, seen from its placeholder: ``.example.com``."""


def decides_domain(url: str) -> tuple[str, ...]:
    """Return the placeholders in the host of ``url`` if they leave open which domain it is; none if its end is fixed."""
    host = url.partition("://")[2].partition("/")[0]
    fixed = host.rpartition("}")[2]
    if fixed.startswith(".") and fixed.count(".") >= _REGISTRABLE_DOTS:
        return ()
    return placeholders(host)
