"""Pick the dialect of a registration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_oauth_flows.protocol.oauth1 import OAuth1Flow
from django_oauth_flows.protocol.oauth2 import OAuth2Flow

if TYPE_CHECKING:
    from django_oauth_flows.protocol.messages import ClientRegistration


def flow_for(registration: ClientRegistration) -> OAuth1Flow | OAuth2Flow:
    """Return the flow that speaks this registration's protocol; both share ``start``, ``exchange``, ``identify``, ``authenticate``."""
    return OAuth1Flow(registration) if registration.protocol == "oauth1" else OAuth2Flow(registration)
