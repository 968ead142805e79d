"""Whether the clocks are to blame for a refusal: a signature says when it was made, and a server believes it for minutes."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from django_oauth_flows.protocol.client_auth import WITH_ASSERTION
from django_oauth_flows.protocol.parsing import seconds_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_oauth_flows.exceptions import TokenEndpointError
    from django_oauth_flows.protocol.messages import ClientRegistration
    from django_oauth_flows.protocol.secret import Secret
    from django_oauth_flows.protocol.transport import ProtocolResponse

HINT = "Check that this server's clock is right."
TOLERANCE = 300
"""Seconds by which an answer's ``Date`` may differ from ours before the clocks are to blame for its refusal."""


def suspect_clock(error: TokenEndpointError, response: ProtocolResponse) -> None:
    """Put ``error`` down to the clock if it is another time where ``response``, a refusal, comes from. RFC 9110 §6.6.1."""
    if response.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED) or "age" in response.headers:
        return  # nobody has looked at the time, or a cache has kept the answer
    if abs(seconds_until(response.headers.get("date", "")) or 0) > TOLERANCE:
        error.suspect, error.hint = "clock", HINT


def blamed_on_signatures(
    registration: ClientRegistration, parameters: Iterable[tuple[str, str]], dpop_key: Secret | None
) -> set[str]:
    """Return the errors by which a token endpoint refuses a signature in this request. RFC 7521 §4, RFC 9449 §5."""
    errors = {"invalid_dpop_proof"} if dpop_key is not None else set()
    if registration.token_endpoint_auth_method in WITH_ASSERTION:
        errors.add("invalid_client")
    if any(name == "assertion" for name, _ in parameters):
        errors.add("invalid_grant")
    return errors
