"""Exchange a connection's access token for one that is meant for others: it is handed over, and kept nowhere. RFC 8693."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django_oauth_flows.exceptions import ConfigurationError, ReauthorizationRequiredError
from django_oauth_flows.flows.asking import provider_changed, registration_of
from django_oauth_flows.flows.either_secret import with_either_secret
from django_oauth_flows.flows.refreshing import usable
from django_oauth_flows.models import Connection
from django_oauth_flows.protocol.exchange import ExchangeRequest
from django_oauth_flows.protocol.flow import flow_for
from django_oauth_flows.protocol.oauth2 import OAuth2Flow

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django_oauth_flows.protocol.messages import ClientRegistration
    from django_oauth_flows.protocol.secret import Secret


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A token for another audience: ``access_token.reveal()`` where it is sent, and never anywhere else.

    ``expires_at`` is by the database's clock, None if the service does not say; ``scopes`` are what it grants.
    """

    access_token: Secret
    expires_at: datetime | None
    scopes: tuple[str, ...]


def exchange_token(
    connection: Connection,
    *,
    audience: Iterable[str] | str = (),
    resource: Iterable[str] | str = (),
    scopes: Iterable[str] = (),
    min_validity: timedelta = timedelta(0),
) -> Exchanged:
    """Return a token in exchange for ``connection``'s, which stays as it is and must be valid for ``min_validity``.

    ``audience``: names of services as the provider knows them; ``resource``: absolute URIs; ``scopes`` default to what the
    provider gives. Raises what :func:`access_token` raises, :class:`ConfigurationError` (``provider_changed``) and
    :class:`TokenEndpointError` with the provider's refusal in ``error``, such as ``invalid_target``. RFC 8693 §2.
    """
    asked = ExchangeRequest(_names(audience), _names(resource), tuple(dict.fromkeys(scopes)))
    snapshot = usable(connection.pk, min_validity=min_validity)
    token = snapshot.token
    if token.configuration_fingerprint != snapshot.configured.fingerprint(snapshot.connection.parameters):
        raise provider_changed()
    registration = registration_of(snapshot)
    subject_token = token.open("access_token")
    if subject_token is None:
        raise ReauthorizationRequiredError("This connection has no token.", reason=Connection.Reason.EXPIRED)
    requested_at = snapshot.present()
    found = with_either_secret(
        snapshot.provider, registration, lambda client: _flow(client).exchange_token(subject_token, asked)
    )
    until = None if found.expires_in is None else requested_at + timedelta(seconds=found.expires_in)
    return Exchanged(found.access_token, until, found.scopes)


def _flow(registration: ClientRegistration) -> OAuth2Flow:
    flow = flow_for(registration)
    if not isinstance(flow, OAuth2Flow):
        raise ConfigurationError("OAuth 1.0a tokens are not exchanged.", code="provider_misconfigured")
    return flow


def _names(given: Iterable[str] | str) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))
