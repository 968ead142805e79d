"""Delegate: call the provider's API for a front end, which never sees the token. Who may ask is the caller's affair."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Any

import requests
from urllib3.exceptions import HTTPError

from django_oauth_flows.exceptions import ConnectionUnusable, ProviderUnreachable, TokenEndpointError
from django_oauth_flows.flows.calling import session
from django_oauth_flows.protocol.delegation import (
    METHODS,
    OPAQUE,
    Mask,
    check_call,
    check_form,
    inert_type,
    is_read_as_form,
    read_rule,
    returned_headers,
    sent_headers,
    spellings,
)
from django_oauth_flows.protocol.session import secrets_of
from django_oauth_flows.protocol.sockets import exchange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django_oauth_flows.models import Connection

MAX_SENT, MAX_RECEIVED = 1024 * 1024, 10 * 1024 * 1024
"""Bytes of a body on its way to the provider, and back, decoded."""

TIMEOUT, DEADLINE = (5.0, 15.0), 60.0
"""Seconds to connect and between two bytes, and for the whole call."""

PURPOSE = "delegated call"

_CHUNK = 32 * 1024
_LAST_STATUS = 599


@dataclass(frozen=True, slots=True)
class DelegatedAnswer:
    """What the provider said, as far as it is passed on. Iterate over it once, and close it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    content_type: str
    body: Body


class Body:
    """The bytes of an answer, read while they are passed on: bounded in size and time, the token blacked out.

    A body that breaks off, or is longer than it may be, ends with :class:`ProviderUnreachable`
    or :class:`TokenEndpointError` (``answer_too_large``): the front end's connection then breaks off as well.
    """

    def __init__(self, response: requests.Response, *, mask: Mask, until: float) -> None:
        self._response = response
        self._mask = mask
        self._until = until
        self._size = 0
        self._begun: list[bytes] = []

    def begin(self) -> None:
        """Read the first piece, so that what fails at once is told by a status."""
        self._begun = [self._read()]

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body."""
        piece = self._begun.pop() if self._begun else self._read()
        while piece:
            if out := self._mask.feed(piece):
                yield out
            piece = self._read()
        if out := self._mask.rest():
            yield out

    def close(self) -> None:
        """Let go of the provider's connection; one that was not read to its end is not used again."""
        self._response.close()

    def _read(self) -> bytes:
        try:
            with exchange(max(self._until - monotonic(), 0.001)):
                piece: bytes = self._response.raw.read(_CHUNK, decode_content=True)
        except (HTTPError, OSError) as error:
            self.close()
            failure = type(error).__name__
        else:
            self._size += len(piece)
            if self._size > MAX_RECEIVED:
                self.close()
                raise _too_large()
            return piece
        raise ProviderUnreachable(f"The service's answer broke off ({failure}).")


def delegate(
    connection: Connection,
    *,
    method: str,
    path: str,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> DelegatedAnswer:
    """Call ``path`` below the provider's API base URL, if the provider's ``delegated_calls`` admit it.

    ``path`` is decoded and has no slash before it, ``query`` is as it stands in an address; of ``headers`` a few are passed
    on. ``connection`` has its provider loaded. Redirects are not followed. Outside of any transaction.
    Raises :class:`RequestBlocked` (``call_not_allowed``, ``path_not_allowed``, ``query_not_allowed``, …),
    :class:`ConnectionUnusable` (``token_refused`` if the service does not take the token) and its kinds,
    :class:`ProviderUnreachable`, and :class:`TokenEndpointError` (``provider_redirect``, ``answer_too_large``).
    """
    allowed = [read_rule(rule) for rule in connection.provider.delegated_calls]
    way = check_call(allowed, method, path, query)
    passed = sent_headers(headers or {})
    if body and is_read_as_form(passed.get("Content-Type", "")):
        check_form(body)
    until = monotonic() + DEADLINE
    response = _sent(connection, method, way, passed, body)
    try:
        _check(response)
        mask = spellings(secrets_of(response))
        answer = _answered(response, mask, until=until)
        answer.body.begin()
    except BaseException:
        response.close()
        raise
    return answer


def _sent(connection: Connection, method: str, way: str, headers: Mapping[str, str], body: bytes) -> requests.Response:
    http: Any = session(connection, purpose=PURPOSE)
    http.max_redirects = 0
    # What the provider's row says stands; a session's own Accept must not look like the front end's.
    try:
        with exchange(DEADLINE):
            return http.request(  # type: ignore[no-any-return]
                method, way, data=body or None, headers=headers, stream=True, allow_redirects=False, timeout=TIMEOUT
            )
    except (requests.RequestException, HTTPError, OSError) as error:
        failure = type(error).__name__
    raise ProviderUnreachable(f"The service could not be called ({failure}).")


def _check(response: requests.Response) -> None:
    """Refuse answers that must not be passed on as they are."""
    status = response.status_code
    if status == HTTPStatus.UNAUTHORIZED:
        raise ConnectionUnusable(
            "The service does not accept this connection's token.",
            code="token_refused",
            hint="Ask the user to connect the account again.",
        )
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST and status != HTTPStatus.NOT_MODIFIED:
        raise TokenEndpointError(
            "The service answered with a redirect, which is not followed.",
            code="provider_redirect",
            hint="Call the address that it leads to, if the provider's row allows it.",
            status=status,
        )
    if status > _LAST_STATUS:
        raise TokenEndpointError("The service answered with a status that there is not.", status=status)
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and (len(length) > len(str(MAX_RECEIVED)) or int(length) > MAX_RECEIVED):
        raise _too_large()


def _answered(response: requests.Response, secrets: tuple[bytes, ...], *, until: float) -> DelegatedAnswer:
    headers = list(returned_headers(response.headers, secrets))
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and response.headers.get("Content-Encoding", "identity").lower() == "identity":
        headers.append(("Content-Length", str(int(length))))
    return DelegatedAnswer(
        status=response.status_code,
        headers=tuple(headers),
        content_type=inert_type(response.headers.get("Content-Type", OPAQUE)),
        body=Body(response, mask=Mask(secrets), until=until),
    )


def _too_large() -> TokenEndpointError:
    return TokenEndpointError(
        "The service's answer is too large to be passed on.",
        code="answer_too_large",
        hint="Ask for less at once, or let the site's own code make this call.",
    )


__all__ = ["MAX_SENT", "METHODS", "DelegatedAnswer", "delegate"]
