"""Read a small XML document into the shape of JSON. No document type, so no entities: nothing expands, nothing is fetched."""

from __future__ import annotations

from typing import Any
from xml.parsers import expat

from django_oauth_flows.exceptions import TokenEndpointError

MAX_DEPTH, MAX_ELEMENTS = 50, 10_000


class _Refused(Exception):
    """What no identity document needs."""


class _Builder:
    """Collects elements: an object of children and ``@attributes``, or the text of one that has neither."""

    def __init__(self) -> None:
        self.root: dict[str, Any] = {}
        self._open: list[tuple[str, dict[str, Any], list[str]]] = [("", self.root, [])]
        self._elements = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if len(self._open) > MAX_DEPTH or self._elements > MAX_ELEMENTS:
            raise _Refused
        self._open.append((name, {f"@{key}": value for key, value in attributes.items()}, []))

    def end(self, _: str) -> None:
        name, members, pieces = self._open.pop()
        text = "".join(pieces).strip()
        value: Any = members or text
        if members and text:
            value = {**members, "#text": text}
        parent = self._open[-1][1]
        if name not in parent:
            parent[name] = value
        elif isinstance(parent[name], list):
            parent[name].append(value)
        else:
            parent[name] = [parent[name], value]

    def text(self, data: str) -> None:
        self._open[-1][2].append(data)


def read_xml(body: bytes, *, status: int | None = None) -> dict[str, Any]:
    """Return the document as ``{root: …}``: an element that occurs twice becomes a list, one with text alone that text.

    Raises :class:`TokenEndpointError` (``bad_response``) for what is no XML, has a document type, or is deeper or larger
    than an identity is.
    """
    builder, parser = _Builder(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, _Refused, ValueError, LookupError):
        raise TokenEndpointError("The service's answer is no XML that can be read.", status=status) from None
    return builder.root


def _refuse(*_: Any) -> int:
    raise _Refused
