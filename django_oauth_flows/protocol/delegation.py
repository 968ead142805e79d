"""Delegated calls: a front end names a method and a path, we call the provider. What may pass, in both directions.

A rule is a text such as ``GET,POST /repos/*/issues``: methods, a blank, and a path below the API's base URL in which ``*``
stands for one step, and ``**`` at the end for everything below. Nothing passes that no rule admits. What is checked is what
is sent: the path is taken apart once, decoded, and quoted anew.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, quote_plus

from django_oauth_flows.exceptions import RequestBlocked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from django_oauth_flows.protocol.secret import Secret

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
MAX_PATH, MAX_QUERY, MAX_PARAMETERS, MAX_HEADER = 2000, 4000, 200, 1000
"""Characters of a path and of a query, parameters in a query or form, and characters of a header that are passed on."""

SENT = ("Accept", "Accept-Language", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Prefer")
"""Headers of the front end's request that are passed on. No other is: no cookie, no authorization, no address."""

RETURNED = (
    "content-language", "deprecation", "etag", "last-modified", "link", "retry-after", "sunset", "x-request-id",
    "x-total-count",
)  # fmt: skip
RETURNED_PREFIXES = ("ratelimit", "x-ratelimit-")
"""Headers of the provider's answer that are passed on, beside its content type."""

FORM = "application/x-www-form-urlencoded"
OPAQUE = "application/octet-stream"

_FORBIDDEN = frozenset("%\\;?#/")
_PLAIN = "~!$&'()*+,=:@"
_ANY, _REST = "*", "**"
_INERT = ("application/json", "application/pdf", "application/problem+json", OPAQUE, "text/csv", "text/plain")
_INERT_KINDS = ("audio/", "font/", "image/", "video/")
_OVERRIDES = frozenset({"_method", "method", "x-http-method", "x-http-method-override", "x-method-override"})
_SHORTEST = 8
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
"""Characters of a secret that is looked for in an answer: a shorter one stands in every text."""


@dataclass(frozen=True, slots=True)
class CallRule:
    """What one rule admits."""

    methods: frozenset[str]
    steps: tuple[str, ...]

    def admits(self, method: str, steps: tuple[str, ...]) -> bool:
        """Tell whether a call passes. GET admits HEAD: it asks for less."""
        if method not in self.methods and not (method == "HEAD" and "GET" in self.methods):
            return False
        if self.steps[-1] == _REST:
            fixed = self.steps[:-1]
            return len(steps) > len(fixed) and _fits(fixed, steps[: len(fixed)])
        return len(steps) == len(self.steps) and _fits(self.steps, steps)


def read_rule(text: object) -> CallRule:
    """Read a rule; raise ``ValueError`` with a plain reason if it is none."""
    words = text.split() if isinstance(text, str) else []
    if len(words) != 2 or not words[1].startswith("/"):  # noqa: PLR2004 - methods and path
        raise ValueError("a rule is methods and a path: GET,POST /repos/*/issues")
    methods = frozenset(words[0].split(","))
    if unknown := sorted(methods - set(METHODS)):
        raise ValueError(f"{unknown[0]!r} is no method that may be called; they are {', '.join(METHODS)}")
    steps = tuple(words[1][1:].split("/"))
    for step in steps[:-1]:
        if step == _REST:
            raise ValueError("** stands only at the end of a path")
    for step in steps:
        if step not in (_ANY, _REST):
            _check_step(step, is_last=step is steps[-1])
    return CallRule(methods, steps)


def check_call(rules: Iterable[CallRule], method: str, path: str, query: str) -> str:
    """Return the path and query to append to the API's base URL, quoted.

    ``path``: decoded once, without a slash before it. Raise :class:`RequestBlocked` (``path_not_allowed``,
    ``call_not_allowed``, ``query_not_allowed``) for what must not or may not be called.
    """
    steps = tuple(path.split("/"))
    try:
        _check_steps(steps)
    except ValueError as problem:
        raise RequestBlocked(
            f"This path may not be called: {problem}.",
            code="path_not_allowed",
            hint="Name a plain path below the API's base URL.",
        ) from None
    if not any(rule.admits(method, steps) for rule in rules):
        raise RequestBlocked(
            "Calls of this method and path are not allowed.",
            code="call_not_allowed",
            hint="The site's staff list what may be called in the provider's “delegated calls”.",
        )
    quoted = "/" + "/".join(quote(step, safe=_PLAIN) for step in steps)
    return f"{quoted}?{_checked_query(query)}" if query else quoted


def check_form(body: bytes) -> None:
    """Raise :class:`RequestBlocked` (``query_not_allowed``) for a form that would make another method of the call."""
    _check_parameters(body.decode("utf-8", "replace"))


def is_read_as_form(content_type: str) -> bool:
    """Tell whether some server may read a body of this type as a form: also one of no type, or with a form's anywhere in it."""
    return not content_type.strip() or FORM in content_type.lower()


def sent_headers(given: Mapping[str, str]) -> dict[str, str]:
    """Return what is passed on of the front end's headers; an ``Accept`` that says nothing is left to the provider's row."""
    found = {name: given[name] for name in SENT if name in given}
    passed = {name: value for name, value in found.items() if value not in ("", "*/*") and _is_plain(value)}
    return {**passed, "Accept-Encoding": "identity"}


def returned_headers(answer: Mapping[str, str], secrets: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Yield what is passed on of the provider's headers, none that holds one of ``secrets``."""
    hidden = [secret.decode("latin-1") for secret in secrets]
    for name, value in answer.items():
        is_listed = name.lower() in RETURNED or name.lower().startswith(RETURNED_PREFIXES)
        if is_listed and _is_plain(value) and not any(secret in value for secret in hidden):
            yield name, value


def inert_type(content_type: str) -> str:
    """Return the content type under which an answer is passed on: one that no browser runs or renders as a document.

    Whatever else the provider says is passed on as bytes: a page, a script or a style sheet must not be ours.
    """
    kind = content_type.partition(";")[0].strip().lower()
    is_inert = kind in _INERT or (kind.startswith(_INERT_KINDS) and not kind.endswith("xml")) or kind.endswith("+json")
    is_one = "," not in content_type  # of several, a browser takes the last
    return content_type if is_inert and is_one and _is_plain(content_type) else OPAQUE


def spellings(secrets: Iterable[Secret]) -> tuple[bytes, ...]:
    """Return what must not stand in an answer: each secret as it is, as in a URL or form, and as in JSON."""
    found: set[str] = set()
    for secret in secrets:
        text = secret.reveal()
        if len(text) >= _SHORTEST:
            quoted = {quote(text, safe=""), quote_plus(text)}
            found |= {text, *quoted, *(_ESCAPE.sub(lambda escape: escape[0].lower(), each) for each in quoted)}
            found |= {text.replace("/", "\\/"), _as_json(text, "04x"), _as_json(text, "04X")}
    return tuple(sorted((text.encode() for text in found), key=len, reverse=True))


def _as_json(text: str, digits: str) -> str:
    """Spell what some serialisers escape, though they need not."""
    return "".join(f"\\u{ord(char):{digits}}" if char in "+/=&" else char for char in text)


class Mask:
    """Blacks secrets out of a stream, whatever pieces it comes in; the length stays.

    Some APIs repeat the token in the addresses of the next page.
    """

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        self._secrets = secrets
        self._overlap = max((len(secret) for secret in secrets), default=1) - 1
        self._kept = b""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next piece; return what is certain."""
        self._kept = self._masked(self._kept + chunk)
        certain = len(self._kept) - self._overlap
        if certain <= 0:
            return b""
        out, self._kept = self._kept[:certain], self._kept[certain:]
        return out

    def rest(self) -> bytes:
        """Return what was kept back, at the end."""
        out, self._kept = self._kept, b""
        return out

    def _masked(self, data: bytes) -> bytes:
        for secret in self._secrets:
            if secret in data:
                data = data.replace(secret, b"*" * len(secret))
        return data


def _fits(pattern: tuple[str, ...], steps: tuple[str, ...]) -> bool:
    return all(step == wanted or (wanted == _ANY and step) for wanted, step in zip(pattern, steps, strict=True))


def _check_steps(steps: tuple[str, ...]) -> None:
    if len("/".join(steps)) > MAX_PATH:
        raise ValueError("it is too long")
    for position, step in enumerate(steps):
        _check_step(step, is_last=position == len(steps) - 1)


def _check_step(step: str, *, is_last: bool) -> None:
    """Refuse what some server might take for more than one step, for its parent, or for the end of the path."""
    read = unicodedata.normalize("NFKC", step)
    if not step and not is_last:
        raise ValueError("it has an empty step")
    if not step.isprintable() or _FORBIDDEN & {*step, *read}:
        raise ValueError("it holds a character that has a meaning in addresses")
    if step and not read.strip(". "):
        raise ValueError("it leads to its parent")


def _checked_query(query: str) -> str:
    if len(query) > MAX_QUERY or not query.isascii() or not query.isprintable() or {*query} & {*'#\\ "<>'}:
        raise RequestBlocked(
            "This query may not be sent.", code="query_not_allowed", hint="Send a short query, percent-encoded."
        )
    _check_parameters(query)
    return query


def _check_parameters(text: str) -> None:
    try:
        # Some servers part parameters at a semicolon as well.
        pairs = parse_qsl(text.replace(";", "&"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        pairs = [("_method", "GET")]  # too many to look at
    for name, value in pairs:
        lowered = _as_read(name)
        overrides = lowered in _OVERRIDES and value.strip().upper() in (*METHODS, "OPTIONS", "TRACE", "CONNECT")
        if overrides or lowered == "access_token" or lowered.startswith("oauth_"):
            raise RequestBlocked(
                "The query or form has parameters that would change how the call is made.",
                code="query_not_allowed",
                hint="Leave out the method, and everything of OAuth.",
            )


def _as_read(name: str) -> str:
    """Return a parameter's name as the most obliging server reads it: cut at NUL, without brackets, dots as underscores."""
    return name.partition("\0")[0].strip().strip("[]").replace(".", "_").replace(" ", "_").lower()


def _is_plain(value: str) -> bool:
    return len(value) <= MAX_HEADER and value.isascii() and value.isprintable()
