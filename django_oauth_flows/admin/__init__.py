"""The admin: staff see state, never secrets."""

from __future__ import annotations

from django_oauth_flows.admin.connection import ConnectionAdmin
from django_oauth_flows.admin.delivery import WebhookDeliveryAdmin
from django_oauth_flows.admin.provider import ProviderAdmin
from django_oauth_flows.admin.revocation import RevocationAdmin

__all__ = ["ConnectionAdmin", "ProviderAdmin", "RevocationAdmin", "WebhookDeliveryAdmin"]
