"""Webhook deliveries: what the site's webhook was told, or still has to be, read-only."""

from __future__ import annotations

from django.contrib import admin

from django_oauth_flows.admin.pages import ReadOnlyPages
from django_oauth_flows.models import WebhookDelivery

FIELDS = (
    "id",
    "type",
    "body",
    "outcome",
    "attempts",
    "next_attempt_at",
    "last_failure",
    "created_at",
    "finished_at",
)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyPages):
    """Look at deliveries."""

    list_display = ("type", "outcome", "attempts", "last_failure", "next_attempt_at", "created_at")
    list_filter = ("outcome", "type")
    fields = FIELDS
    readonly_fields = FIELDS
