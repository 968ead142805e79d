"""What is stored. Secrets live in ``Token``, ``Provider``, ``AuthorizationRequest`` and ``Revocation``, always sealed."""

from __future__ import annotations

from django_oauth_flows.models.authorization_request import AuthorizationRequest
from django_oauth_flows.models.connection import Connection
from django_oauth_flows.models.delivery import WebhookDelivery
from django_oauth_flows.models.discovered_metadata import DiscoveredMetadata
from django_oauth_flows.models.event import ConnectionEvent
from django_oauth_flows.models.provider import Provider
from django_oauth_flows.models.refresh_count import RefreshCount
from django_oauth_flows.models.registered_client import RegisteredClient
from django_oauth_flows.models.revocation import Revocation
from django_oauth_flows.models.token import Token

__all__ = [
    "AuthorizationRequest",
    "Connection",
    "ConnectionEvent",
    "DiscoveredMetadata",
    "Provider",
    "RefreshCount",
    "RegisteredClient",
    "Revocation",
    "Token",
    "WebhookDelivery",
]
