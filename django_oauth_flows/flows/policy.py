"""The failure policy: what an error of the token endpoint means for a refresh. One table says all."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus

from django_oauth_flows.exceptions import OutcomeUnknown, ProviderUnreachable, TokenEndpointError


class Verdict(Enum):
    """What to do next."""

    DEAD = "the grant is over: only the user can mend it"
    CLIENT = "our client is refused: staff can mend it, no connection is marked"
    TRANSIENT = "try again later: tokens are kept"
    UNKNOWN = "the answer was lost: the same refresh token may be presented again"


BY_CODE = {
    "invalid_grant": Verdict.DEAD,
    "invalid_client": Verdict.CLIENT,
    "unauthorized_client": Verdict.CLIENT,
}
"""RFC 6749 §5.2 codes with a meaning of their own; every other failure is transient. Nothing but DEAD ends a connection."""


def judge(error: TokenEndpointError) -> Verdict:
    """Look an error up."""
    if isinstance(error, OutcomeUnknown):
        return Verdict.UNKNOWN
    if isinstance(error, ProviderUnreachable):
        # A gateway's 5xx may hide that the server behind it did act.
        return Verdict.UNKNOWN if (error.status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR else Verdict.TRANSIENT
    if not error.error and error.code != "provider_redirect":
        return Verdict.UNKNOWN  # garbage: nobody knows what was done before it was sent
    return BY_CODE.get(error.error, Verdict.TRANSIENT)
