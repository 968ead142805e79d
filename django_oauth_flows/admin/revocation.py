"""Revocations: what is still to be revoked at the providers, read-only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from django_oauth_flows.admin.pages import ReadOnlyPages
from django_oauth_flows.models import Revocation

if TYPE_CHECKING:
    from django.http import HttpRequest

FIELDS = (
    "provider",
    "connection",
    "owner_model",
    "owner_id",
    "reason",
    "outcome",
    "attempts",
    "next_attempt_at",
    "last_failure",
    "created_at",
    "finished_at",
)


@admin.register(Revocation)
class RevocationAdmin(ReadOnlyPages):
    """Look at revocations."""

    list_display = ("provider", "reason", "outcome", "attempts", "next_attempt_at", "created_at")
    list_filter = ("provider", "outcome", "reason")
    list_select_related = ("provider",)
    fields = FIELDS
    readonly_fields = FIELDS

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse to be asked about secrets."""
        probes = any(column in lookup for column in Revocation.sealed_fields())
        return not probes and super().lookup_allowed(lookup, value, request)
