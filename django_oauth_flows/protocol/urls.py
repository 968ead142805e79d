"""Which URLs may be configured or called at all: syntax only, before any name is resolved.

One reading of a URL, so that what is checked is what is connected to: user information, backslashes, control
characters, odd ports and every spelling of a number as a host are refused rather than interpreted.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote_plus, urlsplit

if TYPE_CHECKING:
    from collections.abc import Container

MAX_URL_LENGTH = 8192
DEFAULT_PORTS = {"http": 80, "https": 443}

# https://fetch.spec.whatwg.org/#port-blocking
BAD_PORTS = frozenset(
    (0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
     111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
     540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
     6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080)
)  # fmt: skip

# Texts, which `re` compiles when they are first used: starting a site goes without.
_FORBIDDEN = r"[\x00-\x20\x7f\\]"
_HOST = r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NUMERIC = r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+))*"
_ABSOLUTE = r"(?i:[a-z][a-z0-9+.-]*://[^/?#]*)"
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Origin(NamedTuple):
    """Scheme, host (lower-case, punycode, no brackets) and port of a checked URL."""

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """Return ``host:port`` as in an allow-list."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Return whether the host is this machine by name or address."""
        return self.host in _LOOPBACK_NAMES or (
            self.host.startswith("127.") and re.fullmatch(_NUMERIC, self.host) is not None
        )


def check_endpoint(url: str, *, internal: bool = False) -> Origin:
    """Return the origin of ``url`` if it may be a protocol endpoint, an API base or an API address.

    Raise ``ValueError`` with a plain reason otherwise. ``internal`` admits plain http to this machine.
    """
    parts = _split(url)
    origin = Origin(parts.scheme, canonical_host(parts.hostname or ""), _port(parts))
    if parts.scheme == "http":
        if not (internal and origin.is_loopback):
            raise ValueError("only https URLs are allowed (plain http only to this machine, for an internal provider)")
    elif parts.scheme != "https":
        raise ValueError("only https URLs are allowed")
    if parts.fragment or url.endswith("#"):
        raise ValueError("the URL must not have a fragment")
    return origin


def absolute_origin(url: str) -> str:
    """Return what stands before the path of ``url`` as it is spelled, unchecked; "" if the URL is relative.

    Raise ``ValueError`` for characters that are read in more than one way; blanks and letters are only to be quoted.
    """
    if "\\" in url or not url.isprintable():
        raise ValueError("the URL contains control characters or backslashes")
    found = re.match(_ABSOLUTE, url)
    return found[0] if found else ""


def parameter_names(url: str) -> frozenset[str]:
    """Return the names of the parameters in the query of ``url``."""
    return frozenset(name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True))


def without_parameters(url: str, names: Container[str]) -> str:
    """Return ``url`` without the parameters of these names; the others stay as they are spelled."""
    parts = urlsplit(url)
    kept = [pair for pair in parts.query.split("&") if unquote_plus(pair.partition("=")[0]) not in names]
    return SplitResult(parts.scheme, parts.netloc, parts.path, "&".join(kept), parts.fragment).geturl()


def check_host(entry: Any) -> str:
    """Return an allow-list entry as ``host:port``; raise ``ValueError`` unless it is ``host`` or ``host:port``."""
    if not isinstance(entry, str) or not entry or "/" in entry or "*" in entry:
        raise ValueError("must be a list of exact host names, without scheme, path or wildcard")
    return check_endpoint(f"https://{entry}/").netloc


def check_host_pattern(pattern: str) -> None:
    """Raise ``ValueError`` unless ``pattern`` is ``host``, ``host:port`` or ``*.`` with a domain of at least two labels."""
    domain = pattern.removeprefix("*.")
    check_host(domain)
    if domain != pattern and "." not in domain.partition(":")[0].strip("."):
        raise ValueError("a wildcard needs a domain of at least two labels: *.domain.example")


def matches_host(netloc: str, pattern: str) -> bool:
    """Tell whether a checked ``host:port`` is what ``pattern`` allows: that host, or one below its domain."""
    domain = check_host(pattern.removeprefix("*."))
    return netloc.endswith("." + domain) if pattern.startswith("*.") else netloc == domain


def canonical_host(host: str) -> str:
    """Return ``host`` in lower case, internationalised names as punycode; raise ``ValueError`` for what is no host."""
    host = host.lower()
    if ":" in host:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError("the host is not a valid address") from None
        if address.scope_id is not None:
            raise ValueError("zone identifiers are not allowed in the host")
        return address.compressed
    if not host.isascii():
        host = _punycode(host)
    if len(host) > 253 or not re.fullmatch(_HOST, host):  # noqa: PLR2004 - RFC 1035 §2.3.4
        raise ValueError("the host is not a valid name")
    if re.fullmatch(_NUMERIC, host) or re.fullmatch(_NUMERIC, host.rpartition(".")[2]):
        return _dotted_quad(host)
    return host


def _punycode(host: str) -> str:
    """Encode as urllib3 will: Python's own codec reads ``faß.example`` as another host than the one connected to."""
    import idna  # a dependency of requests; only such a name needs it

    try:
        return idna.encode(host[:254], strict=True, std3_rules=True).decode("ascii")
    except UnicodeError:
        raise ValueError("the host is not a valid name") from None


def _dotted_quad(host: str) -> str:
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise ValueError("numeric hosts must be four decimal numbers") from None


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_LENGTH:
        raise ValueError("the URL is too long")
    if re.search(_FORBIDDEN, url) or not url.isprintable():
        raise ValueError("the URL contains blanks, control characters or backslashes")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("the URL cannot be read") from None
    if "@" in parts.netloc:
        raise ValueError("the URL must not contain a user name or password")
    if "%" in parts.netloc or not parts.netloc:
        raise ValueError("the URL names no valid host")
    return parts


def _port(parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        raise ValueError("the port is not a number between 1 and 65535") from None
    if parts.netloc.endswith(":"):
        raise ValueError("the port is empty")
    if port is None:
        return DEFAULT_PORTS.get(parts.scheme, 443)
    if port in BAD_PORTS:
        raise ValueError("this port is not allowed")
    return port
