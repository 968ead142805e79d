"""Learn how long a token lives from the server's introspection endpoint, where it is not said with the token. RFC 7662.

Asked when a token has just been issued, beside requests that are made anyway, and when somebody asks to look: never on the
way of a call.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import Error

from django_oauth_flows.exceptions import ConfigurationError, OAuthFlowsError, ReauthorizationRequiredError
from django_oauth_flows.flows.asking import provider_changed, registration_of
from django_oauth_flows.flows.durable import harmless_alias, noted
from django_oauth_flows.flows.either_secret import with_either_secret
from django_oauth_flows.flows.freshness import next_refresh
from django_oauth_flows.flows.history import logger
from django_oauth_flows.flows.marking import needs_reauthorization
from django_oauth_flows.flows.snapshot import check_servable, read
from django_oauth_flows.models import Connection, Token
from django_oauth_flows.protocol.introspection import introspected

if TYPE_CHECKING:
    from datetime import datetime

    from django_oauth_flows.flows.lease import Lease
    from django_oauth_flows.flows.snapshot import Snapshot
    from django_oauth_flows.flows.values import Grant
    from django_oauth_flows.models import Provider
    from django_oauth_flows.protocol.introspection import Introspection
    from django_oauth_flows.protocol.messages import ClientRegistration

LONGEST = 5.0
"""Seconds that the question may take after a new token: it can wait for the next one."""

SHORTEST = 1.0
"""Seconds that must be left for it to make sense to ask."""


@dataclass(frozen=True, slots=True)
class TokenState:
    """What the server says of a connection's access token: whether it is good, until when, and for what."""

    active: bool
    expires_at: datetime | None
    scopes: tuple[str, ...] | None  # None: it does not say


def with_lifetime(provider: Provider, grant: Grant, registration: ClientRegistration) -> Grant:
    """Return a new grant with the lifetime and scopes that the server tells when asked; as it is where it says nothing.

    Nothing is asked where the token came with its lifetime. A server that does not answer costs no token.
    """
    found = _asked(provider, grant, registration, seconds=LONGEST)
    if found is None:
        return grant
    scopes = found.scopes if grant.scopes is None else grant.scopes
    return replace(grant, expires_in=found.lifetime(now=time.time()), scopes=scopes)


def learn_life(lease: Lease, grant: Grant, registration: ClientRegistration, *, seconds: float) -> None:
    """Ask within ``seconds`` how long a refreshed token lives, which is stored; what cannot be learnt or noted is no error."""
    found = _asked(lease.snapshot.provider, grant, registration, seconds=seconds)
    if found is None:
        return
    with suppress(OAuthFlowsError, Error):
        snapshot = read(lease.snapshot.connection.pk, using=lease.alias)
        if snapshot.token.generation == lease.snapshot.token.generation:
            left = found.lifetime(now=snapshot.present().timestamp())
            _keep(snapshot, left, found.scopes if grant.scopes is None else None, using=lease.alias)


def _asked(
    provider: Provider, grant: Grant, registration: ClientRegistration, *, seconds: float
) -> Introspection | None:
    """Return what the server says of a new token of whose life nothing is known; None if it says nothing of use."""
    if grant.expires_in is not None or not registration.server.introspection_endpoint or seconds < SHORTEST:
        return None
    limited = registration.within(min(seconds, LONGEST, registration.transport.deadline))
    try:
        found = with_either_secret(provider, limited, lambda client: introspected(client, grant.access_token))
    except OAuthFlowsError as error:
        logger.warning("oauth_flows.not_introspected", extra={"code": error.code})
        return None
    return found if found.active else None  # it has just been issued: whatever that means, the first call shows


def introspect(connection: Connection) -> TokenState:
    """Ask the provider what ``connection``'s access token is worth, and keep what it says of its life and scopes.

    One that is no longer active is renewed at the next call, or its user is asked to reconnect where nothing renews it.
    Raises :class:`Disconnected`, :class:`ConfigurationError` (``provider_misconfigured`` without an introspection endpoint,
    ``provider_changed``) and :class:`TokenEndpointError`. RFC 7662 §2.
    """
    snapshot = read(connection.pk)
    check_servable(snapshot)
    if snapshot.token.configuration_fingerprint != snapshot.configured.fingerprint(snapshot.connection.parameters):
        raise provider_changed()
    registration = registration_of(snapshot)
    if not registration.server.introspection_endpoint:
        raise ConfigurationError(
            f"{snapshot.provider} does not say what a token is worth.",
            code="provider_misconfigured",
            hint="Enter the service's introspection endpoint in the provider's row.",
        )
    token = snapshot.token.open("access_token")
    if token is None:
        raise ReauthorizationRequiredError("This connection has no token.", reason=Connection.Reason.EXPIRED)
    found = with_either_secret(snapshot.provider, registration, lambda client: introspected(client, token))
    left = found.expires_in(now=snapshot.present().timestamp()) if found.active else 0
    with harmless_alias(snapshot.token.pk) as alias:
        expires_at = _keep(snapshot, left, found.scopes if found.active else None, using=alias)
    if not found.active and not snapshot.renewable:
        needs_reauthorization(snapshot, Connection.Reason.EXPIRED)
    return TokenState(found.active, expires_at, found.scopes)


def _keep(snapshot: Snapshot, left: int | None, scopes: tuple[str, ...] | None, *, using: str) -> datetime | None:
    """Note what is known now, unless the token has been replaced meanwhile; return when the token expires."""
    token, now, expires_at = snapshot.token, snapshot.present(), snapshot.token.expires_at
    if left is not None:
        expires_at = now + timedelta(seconds=left)
        due = next_refresh(snapshot.provider, expires_at=expires_at, token=token, now=now)
        columns = {"expires_at": expires_at, "next_refresh_at": due if snapshot.renewable else None}
        rows = Token.objects.using(using).filter(pk=token.pk, generation=token.generation)
        noted(using, lambda: rows.update(**columns))
    if scopes is not None:
        granted = Connection.objects.using(using).filter(pk=snapshot.connection.pk, token__generation=token.generation)
        noted(using, lambda: granted.update(granted_scopes=scopes))
    return expires_at
