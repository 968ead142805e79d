"""Ask the provider for another token, with no lock and no transaction of ours open."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django_oauth_flows.exceptions import (
    ConfigurationError,
    DecryptionError,
    OAuthFlowsError,
    OutcomeUnknown,
)
from django_oauth_flows.failpoints import Failpoint, reach
from django_oauth_flows.flows.either_secret import with_either_secret
from django_oauth_flows.models import Connection
from django_oauth_flows.protocol.flow import flow_for
from django_oauth_flows.protocol.oauth2 import OAuth2Flow

if TYPE_CHECKING:
    from django_oauth_flows.flows.snapshot import Snapshot
    from django_oauth_flows.models import Token
    from django_oauth_flows.protocol.messages import ClientRegistration, TokenResponse
    from django_oauth_flows.protocol.secret import Secret

SHORTEST_REQUEST = 1.0
"""Seconds that must be left for it to make sense to ask once more."""


def registration_of(snapshot: Snapshot) -> ClientRegistration:
    """Return the provider as configured now; raise :class:`ConfigurationError` if it cannot be used."""
    try:
        return snapshot.configured.registration(snapshot.connection.parameters, snapshot.token.extra)
    except DecryptionError as error:
        # The site's own secret: staff can mend it, and no connection is worse for it.
        raise ConfigurationError(
            "The client's secret can no longer be read.", code=error.code, hint="Enter it anew in the provider's row."
        ) from None


def ask(snapshot: Snapshot, registration: ClientRegistration, *, seconds: float) -> TokenResponse:
    """Send the token request of this connection's grant; a second time, within ``seconds``, if its answer is lost.

    Raises :class:`ConfigurationError`, :class:`RequestBlocked`, :class:`DecryptionError` and :class:`TokenEndpointError`:
    ``in_doubt``, whatever they say, if the answer to the first presentation was lost.
    """
    connection, token = snapshot.connection, snapshot.token
    own_token = connection.is_own  # nothing of a user's is sent
    if not own_token and token.configuration_fingerprint != snapshot.configured.fingerprint(connection.parameters):
        raise provider_changed()
    deadline = time.monotonic() + seconds
    try:
        return _as_either_client(snapshot, registration.within(seconds))
    except OutcomeUnknown:
        if deadline - time.monotonic() < SHORTEST_REQUEST:
            raise
    try:
        return _as_either_client(snapshot, registration.within(deadline - time.monotonic()))
    except OAuthFlowsError as error:
        error.in_doubt = True  # the first presentation may have been the one that counted, and its answer is gone
        raise


def provider_changed() -> ConfigurationError:
    """Return the error of a token that would go to another server, or by another client, than it came from."""
    return ConfigurationError(
        "The provider's endpoints or client were changed since this account was connected.",
        code="provider_changed",
        hint="Undo the change, or let the user reconnect: a token is only sent to the server that issued it.",
    )


def _as_either_client(snapshot: Snapshot, registration: ClientRegistration) -> TokenResponse:
    return with_either_secret(
        snapshot.provider,
        registration,
        lambda client: _request(snapshot, client),
        authenticates=snapshot.connection.is_own or registration.dialect.refresh_client_authentication,
    )


def _request(snapshot: Snapshot, registration: ClientRegistration) -> TokenResponse:
    connection = snapshot.connection
    refresh_token = snapshot.token.open("refresh_token")
    flow = flow_for(registration)
    if not isinstance(flow, OAuth2Flow):
        raise ConfigurationError("OAuth 1.0a tokens are not refreshed.", code="provider_misconfigured")
    reach(Failpoint.BEFORE_REQUEST)
    if connection.grant_type == Connection.GrantType.CLIENT_CREDENTIALS:
        return flow.client_credentials(scopes=connection.requested_scopes, dpop_key=_own_key(snapshot.token))
    if connection.grant_type == Connection.GrantType.JWT_BEARER:
        return flow.jwt_bearer(
            scopes=connection.requested_scopes, subject=connection.acts_for, dpop_key=_own_key(snapshot.token)
        )
    if refresh_token is None:
        raise ConfigurationError("There is no refresh token.", code="provider_misconfigured")
    return flow.refresh(refresh_token, dpop_key=snapshot.token.open("dpop_key"))


def _own_key(token: Token) -> Secret | None:
    """Return the key of the site's own token; None if it does not open, for nothing depends on its being the same."""
    try:
        return token.open("dpop_key")
    except DecryptionError:
        return None
