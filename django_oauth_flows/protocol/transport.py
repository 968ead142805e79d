"""Send one protocol request: bounded in time and size, never redirected, never retried, errors classified."""

from __future__ import annotations

import http.client
import logging
import ssl
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import requests
from urllib3.exceptions import HTTPError, SSLError

from django_oauth_flows.exceptions import OutcomeUnknown, ProviderUnreachable, RequestBlocked, TokenEndpointError
from django_oauth_flows.protocol.pool import adapter_for
from django_oauth_flows.protocol.sockets import Exchange, exchange
from django_oauth_flows.protocol.urls import check_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3 import BaseHTTPResponse

    from django_oauth_flows.protocol.messages import TransportPolicy

logger = logging.getLogger("oauth_flows")

MAX_BODY = 1024 * 1024
"""Bytes of an answer that are read; a longer one is refused."""

_CHUNK = 64 * 1024

_TLS = (ssl.SSLError, SSLError, requests.exceptions.SSLError)
"""A handshake that failed. Only an address that may be connected to gets that far, so it may be said."""


@dataclass(frozen=True, slots=True)
class ProtocolResponse:
    """Status, headers (names in lower case) and body of an answer."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def send(
    prepared: requests.PreparedRequest, *, policy: TransportPolicy, deadline: float | None = None
) -> ProtocolResponse:
    """Send ``prepared`` to a protocol endpoint, within ``deadline`` seconds in total (default: the policy's).

    Raises :class:`RequestBlocked` for a URL or header that may not be sent, :class:`ProviderUnreachable` if nothing was
    sent, :class:`OutcomeUnknown` if something was and no full answer came, and :class:`TokenEndpointError`
    (``provider_redirect``, ``bad_response``) for a redirect or an answer that is too large or encoded.
    """
    try:
        check_endpoint(str(prepared.url), internal=policy.internal)
    except ValueError as problem:
        raise RequestBlocked(f"The endpoint may not be called: {problem}.", code="endpoint_not_allowed") from None
    prepared.headers["Accept-Encoding"] = "identity"
    unreachable = ProviderUnreachable("The service could not be reached.")
    with exchange(policy.deadline if deadline is None else deadline) as running:
        try:
            return _exchange(prepared, policy, running)
        except RequestBlocked as blocked:
            # Outside, a blocked address must look like a closed one: nobody may map the network through us.
            logger.warning("oauth_flows.%s", blocked.code)
        except (requests.exceptions.InvalidHeader, UnicodeError):
            raise RequestBlocked(
                "A header contains characters that may not be sent.", code="header_not_allowed"
            ) from None
        except (requests.RequestException, HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            logger.info("oauth_flows.provider_unreachable", extra={"error": type(error).__name__, "sent": running.sent})
            unreachable.suspect = "tls" if isinstance(error, _TLS) else ""
    if running.sent:
        raise OutcomeUnknown("The service did not answer in full.") from None
    raise unreachable from None


def _exchange(prepared: requests.PreparedRequest, policy: TransportPolicy, running: Exchange) -> ProtocolResponse:
    seconds = running.remaining()
    response = adapter_for(policy).exchange(prepared, timeout=seconds)
    try:
        headers = {name.lower(): value for name, value in response.headers.itermerged()}
        _check_head(response.status, headers)
        body = _read(response)
    except BaseException:
        # The rest of this answer must not become the beginning of somebody else's.
        response.close()
        raise
    return ProtocolResponse(response.status, headers, body)


def _check_head(status: int, headers: Mapping[str, str]) -> None:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        raise TokenEndpointError(
            "The service answered with a redirect, which is not followed.",
            code="provider_redirect",
            hint="Check the endpoint's address in the provider's configuration.",
            status=status,
        )
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise TokenEndpointError("The service answered in an encoding that was not asked for.", status=status)


def _read(response: BaseHTTPResponse) -> bytes:
    body = bytearray()
    while chunk := response.read(_CHUNK, decode_content=False):
        body += chunk
        if len(body) > MAX_BODY:
            raise TokenEndpointError("The service's answer is too large.", status=response.status)
    response.release_conn()
    return bytes(body)
