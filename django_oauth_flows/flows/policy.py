"""The failure policy: what an error of the token endpoint means for a refresh. One table says all."""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from django_oauth_flows.exceptions import OutcomeUnknown, ProviderUnreachable, TokenEndpointError

if TYPE_CHECKING:
    from django_oauth_flows.protocol.dialect import Dialect


class Consequences(NamedTuple):
    """What follows from a verdict. Whatever does not end the connection is tried again later, with its tokens kept."""

    meaning: str
    ends_connection: bool = False
    alarms_staff: bool = False
    counts_for_circuit: bool = False  # it says something of the provider, not of this connection
    leaves_doubt: bool = False  # the provider may have acted on the refresh token


class Verdict(Enum):
    """What to do next. Nothing but DEAD ends a connection."""

    DEAD = Consequences("the grant is over: only the user can mend it", ends_connection=True)
    CLIENT = Consequences("our client is refused: staff can mend it", alarms_staff=True, counts_for_circuit=True)
    UNAVAILABLE = Consequences("the provider serves nobody just now, and has not acted", counts_for_circuit=True)
    UNKNOWN = Consequences("the answer was lost: it may have acted", counts_for_circuit=True, leaves_doubt=True)
    REFUSED = Consequences("this request is refused, for a reason that says nothing about the grant")


BY_CODE = {
    "invalid_grant": Verdict.DEAD,
    "invalid_client": Verdict.CLIENT,
    "unauthorized_client": Verdict.CLIENT,
}
"""RFC 6749 §5.2 codes with a meaning of their own; every other one is :attr:`Verdict.REFUSED`."""


def judge(error: TokenEndpointError, dialect: Dialect) -> Verdict:
    """Look an error up; a provider's ``dialect`` may name further codes that mean ``invalid_grant``."""
    if isinstance(error, OutcomeUnknown):
        return Verdict.UNKNOWN
    if isinstance(error, ProviderUnreachable):
        # A gateway's 5xx may hide that the server behind it did act.
        acted = (error.status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR
        return Verdict.UNKNOWN if acted else Verdict.UNAVAILABLE
    if error.code == "provider_redirect":
        return Verdict.UNAVAILABLE
    if not error.error:
        return Verdict.UNKNOWN  # garbage: nobody knows what was done before it was sent
    if error.error in dialect.invalid_grant_errors:
        return Verdict.DEAD
    return BY_CODE.get(error.error, Verdict.REFUSED)
