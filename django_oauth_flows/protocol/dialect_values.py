"""What a key of the dialect may hold: each reader returns the typed value, or raises ``ValueError`` naming the key."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from django_oauth_flows.protocol.placeholders import runtime_names
from django_oauth_flows.protocol.reserved import RESERVED_HEADERS, check_reserved, is_reserved
from django_oauth_flows.protocol.urls import check_endpoint, check_host_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_TEXT, MAX_ITEMS, MAX_LABEL = 2000, 50, 400
"""Characters of one text, members of one list or object, and characters of what stands on a form."""

Pairs = tuple[tuple[str, str], ...]
Paths = tuple[tuple[str, tuple[str, ...]], ...]

_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_NAME = re.compile(r"[\x21-\x7e]{1,100}")
_AUDIENCE = re.compile(r"https://[\x21-\x7a\x7c\x7e]+")
_FRAGMENT = re.compile(r"[A-Za-z0-9/_.\-]{1,200}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/\-]{0,199}")
_PATHS = re.compile(r"\{[^{}]+\}")
_PLAIN_WORD = re.compile(r"[A-Za-z]{1,40}")
_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21\x22\x24-\x7e]+")


def boolean(key: str, value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{key!r} must be true or false")  # noqa: TRY004 - every reader raises ValueError
    return value


def one_of(*choices: str) -> Callable[[str, Any], str]:
    """Return the reader of a choice."""

    def read(key: str, value: Any) -> str:
        if value not in choices:
            raise ValueError(f"{key!r} must be one of: {', '.join(repr(choice) for choice in choices)}")
        return str(value)

    return read


def strings(key: str, value: Any) -> tuple[str, ...]:
    """Read a list of texts."""
    if not isinstance(value, list) or len(value) > MAX_ITEMS or not all(_is_text(item) for item in value):
        raise ValueError(f"{key!r} must be a list of strings")
    return tuple(value)


def resources(key: str, value: Any) -> tuple[str, ...]:
    """Read absolute URIs without a fragment. RFC 8707 §2."""
    uris = strings(key, value)
    if not all(_RESOURCE.fullmatch(uri) for uri in uris):
        raise ValueError(f"{key!r} must hold absolute URIs without a fragment")
    return uris


def scheme(key: str, value: Any) -> str:
    """Read the word before a token in the Authorization header; "" for the default."""
    if not isinstance(value, str) or not value.isascii() or not (value == "" or value.replace("-", "").isalnum()):
        raise ValueError(f"{key!r} must be one word of letters, digits and hyphens")
    return value


def word(key: str, value: Any) -> str:
    """Read one word without blanks: the value of a parameter."""
    if not isinstance(value, str) or not (value == "" or _WORD.fullmatch(value)):
        raise ValueError(f"{key!r} must be one word")
    return value


def response_type(key: str, value: Any) -> str:
    """Read what stands for ``response_type=code``; "" sends none. Never one that brings a token to the browser."""
    if word(key, value) in ("token", "id_token", "none"):
        raise ValueError(f"{key!r}: a token must not come through the browser (RFC 9700 §2.1.2)")
    return str(value)


def fragment(key: str, value: Any) -> str:
    """Read a part of a URL's fragment."""
    if not isinstance(value, str) or not (value == "" or _FRAGMENT.fullmatch(value)):
        raise ValueError(f"{key!r} must be letters, digits, dots, hyphens and slashes, without the #")
    return value


def free_name(key: str, value: Any) -> str:
    """Read the name of a parameter that is not the protocol's own; "" for none."""
    if not isinstance(value, str) or not (value == "" or _NAME.fullmatch(value)):
        raise ValueError(f"{key!r} must be the name of a parameter")
    check_reserved([value])
    return value


def token_name(key: str, value: Any) -> str:
    """Read the name of the query parameter that takes the token in API calls; ``oauth_token`` is one there."""
    return "oauth_token" if value == "oauth_token" else free_name(key, value)


def header_name(key: str, value: Any) -> str:
    """Read the name of the header that takes the token; "" for none. ``Authorization`` takes it without a scheme."""
    if value == "" or (isinstance(value, str) and value.lower() == "authorization"):
        return str(value)
    _check_header(key, value, "")
    return str(value)


def path(key: str, value: Any) -> str:
    """Read a path into a JSON object."""
    if not _is_text(value) or not value:
        raise ValueError(f"{key!r} must be a path: names and numbers joined by dots, or a JSON pointer")
    return str(value)


def optional_path(key: str, value: Any) -> str:
    """Read a path into a JSON object, or "" for none."""
    return "" if value == "" else path(key, value)


def paths(*names: str) -> Callable[[str, Any], Paths]:
    """Return the reader of an object that says where each of ``names`` stands: a path, or several in order of trial."""

    def read(key: str, value: Any) -> Paths:
        _check_object(key, value, names=names)
        listed = {name: item if isinstance(item, list) else [item] for name, item in value.items()}
        return tuple((name, tuple(path(key, item) for item in items[:5])) for name, items in listed.items() if items)

    return read


def parameters(*variables: str) -> Callable[[str, Any], Pairs]:
    """Return the reader of free parameters; their values may name placeholders and these ``variables``."""

    def read(key: str, value: Any) -> Pairs:
        _check_object(key, value)
        for name, text in value.items():
            if not _NAME.fullmatch(name) or not isinstance(text, str):
                raise ValueError(f"{key!r} must be an object of strings")
            if not (name == "request" and _PLAIN_WORD.fullmatch(text)):  # a request object (RFC 9101) is no word
                check_reserved([name])
            _check_variables(key, text, variables)
        return tuple(value.items())

    return read


def token_parameters(*variables: str) -> Callable[[str, Any], Pairs]:
    """Return the reader of free parameters of the token request, where some that the browser must not carry are free."""

    def read(key: str, value: Any) -> Pairs:
        _check_object(key, value)
        free = {
            name: text
            for name, text in value.items()
            if name not in ("state", "response_type", "client_assertion_type")
        }
        parameters(*variables)(key, free)
        for text in value.values():
            _check_variables(key, text, variables)
        return tuple(value.items())

    return read


def patterns(key: str, value: Any) -> Pairs:
    """Read regular expressions by the name of what they must match."""
    for name, pattern in labels(key, value):
        try:
            re.compile(pattern)
        except re.error as problem:
            raise ValueError(f"{key!r}: {name!r}: {problem}") from None
    return tuple(value.items())


def labels(key: str, value: Any) -> Pairs:
    """Read short texts by name."""
    _check_object(key, value)
    if any(len(text) > MAX_LABEL for text in value.values()):
        raise ValueError(f"{key!r}: a text may have {MAX_LABEL} characters")
    return tuple(value.items())


def audience(key: str, value: Any) -> str:
    """Read whom an assertion is for: a word, or what the server is called, which is never another's address by accident."""
    known = value in ("issuer", "token_endpoint")
    if not known and not (isinstance(value, str) and _AUDIENCE.fullmatch(value) and len(value) <= MAX_TEXT):
        raise ValueError(f"{key!r} must be 'issuer', 'token_endpoint', or begin with https://")
    return str(value)


def claims(key: str, value: Any) -> Pairs:
    """Read claims of an assertion: none that decides who makes it, for whom, and for how long."""
    if reserved := {"iss", "aud", "exp", "iat", "nbf", "jti"}.intersection(name for name, _ in labels(key, value)):
        raise ValueError(f"{key!r}: {min(reserved)!r} is not yours to set")
    return tuple(value.items())


def headers(*variables: str) -> Callable[[str, Any], Pairs]:
    """Return the reader of free headers; their values may name placeholders and these ``variables``."""

    def read(key: str, value: Any) -> Pairs:
        _check_object(key, value)
        for name, text in value.items():
            _check_header(key, name, text)
            _check_variables(key, text, variables)
        return tuple(value.items())

    return read


def template(*variables: str) -> Callable[[str, Any], str]:
    """Return the reader of one text that may name these ``variables``; "" for none."""

    def read(key: str, value: Any) -> str:
        if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
            raise ValueError(f"{key!r} must be a text")
        _check_variables(key, value, variables)
        return value

    return read


def renamed(*names: str, may_omit: tuple[str, ...] = ()) -> Callable[[str, Any], Pairs]:
    """Return the reader of other names for protocol parameters; those in ``may_omit`` may be "" and are left out then."""

    def read(key: str, value: Any) -> Pairs:
        _check_object(key, value, names=names)
        for name, other in value.items():
            if other == "" and name in may_omit:
                continue
            if not isinstance(other, str) or not _NAME.fullmatch(other):
                raise ValueError(f"{key!r}: {name!r} must have a name")
            # The secret or an assertion of ours may go by the name of RFC 7521; any other name of the protocol is taken.
            if is_reserved(other) and other != "client_assertion":
                raise ValueError(f"{key!r}: {other!r} is set by the protocol and cannot be configured")
        others = [other for other in value.values() if other]
        if len(set(others)) != len(others):
            raise ValueError(f"{key!r} gives two parameters the same name")
        return tuple(value.items())

    return read


def values(*names: str) -> Callable[[str, Any], Pairs]:
    """Return the reader of other values, one word each, by what they stand for."""

    def read(key: str, value: Any) -> Pairs:
        _check_object(key, value, names=names)
        return tuple((name, word(key, item)) for name, item in value.items())

    return read


def quirk(key: str, value: Any) -> str:
    """Read the name of a function."""
    if not isinstance(value, str) or not (value == "" or value.isidentifier()):
        raise ValueError(f"{key!r} must be the name of a known deviation")
    return value


def subject_template(key: str, value: Any) -> str:
    """Read a text with at least one path in braces, and something fixed between any two."""
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise ValueError(f"{key!r} must be a text")
    if value and (not _PATHS.search(value) or "}{" in value or set(_PATHS.sub("", value)) & set("{}")):
        raise ValueError(f"{key!r} needs paths in braces, with something fixed between any two")
    return value


def endpoint(key: str, value: Any) -> str:
    """Read an endpoint's URL, placeholders and all; "" for none. Whether plain http is allowed is for the row to say."""
    if value == "":
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{key!r} must be a URL")  # noqa: TRY004 - every reader raises ValueError
    try:
        check_endpoint(re.sub(r"\{[^{}]*\}", "x", value), internal=True)
    except ValueError as problem:
        raise ValueError(f"{key!r}: {problem}") from None
    return value


def endpoints(*names: str) -> Callable[[str, Any], Pairs]:
    """Return the reader of endpoints by these names."""

    def read(key: str, value: Any) -> Pairs:
        _check_object(key, value, names=names)
        return tuple((name, endpoint(f"{key}.{name}", url)) for name, url in value.items() if url != "")

    return read


def host_patterns(key: str, value: Any) -> tuple[str, ...]:
    """Read which hosts a value of the provider's may name: ``host``, ``host:port`` or ``*.domain.example``."""
    for item in strings(key, value):
        try:
            check_host_pattern(item)
        except ValueError as problem:
            raise ValueError(f"{key!r}: {problem}") from None
    return tuple(value)


def json_text(key: str, value: Any) -> str:
    """Read a JSON object to send as it is; "" for none. Kept as text, so that the dialect stays a value."""
    if value in ("", {}):
        return ""
    if not isinstance(value, dict) or len(text := json.dumps(value, ensure_ascii=True)) > MAX_TEXT:
        raise ValueError(f"{key!r} must be a JSON object of at most {MAX_TEXT} characters")
    return text


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()


def _check_object(key: str, value: Any, *, names: Iterable[str] = ()) -> None:
    if not isinstance(value, dict) or len(value) > MAX_ITEMS:
        raise ValueError(f"{key!r} must be an object")
    known = tuple(names)
    for name, item in value.items():
        if known and name not in known:
            raise ValueError(f"{key!r}: unknown name {name!r}; known names: {', '.join(known)}")
        if not known and not _is_text(item):
            raise ValueError(f"{key!r} must be an object of strings")


def _check_header(key: str, name: Any, text: Any) -> None:
    if not isinstance(name, str) or not _HEADER.fullmatch(name) or not isinstance(text, str):
        raise ValueError(f"{key!r} must be an object of header names and texts")
    if name.lower() in RESERVED_HEADERS:
        raise ValueError(f"{key!r}: the header {name!r} cannot be configured")
    if not _HEADER_VALUE.fullmatch(text):
        raise ValueError(f"{key!r}: the header {name!r} must be printable ASCII")


def _check_variables(key: str, text: str, variables: tuple[str, ...]) -> None:
    for name in runtime_names(text):
        if (name.partition(".")[0] if name.startswith("kept.") else name) not in variables:
            usable = ", ".join("{" + (f"{v}.name" if v == "kept" else v) + "}" for v in variables)
            raise ValueError(f"{key!r}: {{{name}}} has no value there; usable: {usable or 'none'}")


MAX_CLOCK_SKEW = 300
"""Seconds; what is further off is no clock."""


def algorithm(key: str, value: Any) -> str:
    """Return the name of a signature algorithm of ID tokens and the like."""
    from django_oauth_flows.protocol.algorithms import FAMILIES  # only such a row needs them

    if not isinstance(value, str) or value not in FAMILIES:
        raise ValueError(f"{key!r} must be one of {', '.join(FAMILIES)}")
    return value


def clock_skew(key: str, value: Any) -> int:
    """Return a number of seconds."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_CLOCK_SKEW:
        raise ValueError(f"{key!r} must be a whole number of at most {MAX_CLOCK_SKEW} seconds")
    return value
