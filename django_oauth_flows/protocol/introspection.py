"""Token introspection: the server says what a token is worth that it has issued to us. RFC 7662."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django_oauth_flows.exceptions import TokenEndpointError
from django_oauth_flows.protocol.endpoints import endpoint_of
from django_oauth_flows.protocol.parsing import MAX_LIFETIME, raise_for_error, read_object
from django_oauth_flows.protocol.parsing import scopes as read_scopes
from django_oauth_flows.protocol.token_request import token_request
from django_oauth_flows.protocol.transport import send

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.protocol.messages import ClientRegistration
    from django_oauth_flows.protocol.secret import Secret


@dataclass(frozen=True, slots=True)
class Introspection:
    """What the server says. ``exp`` and ``iat``: seconds since the epoch, by its clock; None if it does not say. §2.2."""

    active: bool
    scopes: tuple[str, ...] | None = None
    exp: int | None = None
    iat: int | None = None

    def lifetime(self, *, now: float) -> int | None:
        """Return how many seconds a token lives that was issued at ``now``, whatever the server's clock shows."""
        if self.exp is None or self.iat is None:
            return self.expires_in(now=now)
        return max(0, min(self.exp - self.iat, MAX_LIFETIME))

    def expires_in(self, *, now: float) -> int | None:
        """Return the seconds left at ``now``, None if nobody knows.

        A token that is said to be issued in the future shows by how much the server's clock is ahead of ours.
        """
        if self.exp is None:
            return None
        ahead = max(0.0, (self.iat or 0) - now)
        return int(max(0.0, min(self.exp - now - ahead, MAX_LIFETIME)))


def introspected(registration: ClientRegistration, token: Secret) -> Introspection:
    """Ask what an access token is worth. RFC 7662 §2.1.

    Raises :class:`TokenEndpointError` (``bad_response`` for what does not say whether it is active) and
    :class:`ConfigurationError` (``endpoint_not_allowed``).
    """
    endpoint = endpoint_of(registration, "introspection_endpoint")
    parameters = [("token", token.reveal()), ("token_type_hint", "access_token")]
    response = send(token_request(registration, endpoint, parameters, method="POST"), policy=registration.own_transport)
    raise_for_error(response)
    members = read_object(response)
    active = members.get("active")
    if response.status != HTTPStatus.OK or not isinstance(active, bool):
        raise TokenEndpointError("The service's answer is not what RFC 7662 prescribes.", status=response.status)
    return Introspection(active, read_scopes(members.get("scope")), _moment(members, "exp"), _moment(members, "iat"))


def _moment(members: Mapping[str, Any], name: str) -> int | None:
    value = members.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**53:
        return None
    return value
