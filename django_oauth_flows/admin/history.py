"""A connection's past below its page: what happened, and what was revoked at the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from django_oauth_flows.models import Connection, ConnectionEvent, Revocation

if TYPE_CHECKING:
    from django.http import HttpRequest

LABELS = {str(value): label for value, label in (*Connection.Reason.choices, *Revocation.Outcome.choices)}
"""What the codes in an event's outcome are called."""


class _ReadOnlyInline(admin.TabularInline):  # type: ignore[type-arg]
    template = "admin/oauth_flows/connection/history.html"
    extra = 0
    max_num = 0
    can_delete = False
    show_change_link = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("oauth_flows.view_connection")


class EventInline(_ReadOnlyInline):
    """What happened, when, by whom."""

    model = ConnectionEvent
    fields = ("created_at", "kind", "outcome_text", "actor", "correlation_id")
    readonly_fields = fields

    @admin.display(description=_("outcome"))
    def outcome_text(self, obj: ConnectionEvent) -> str:
        """Say it in words; the code, which the docs explain, is in reach."""
        return format_html('<span title="{}">{}</span>', obj.outcome, LABELS.get(obj.outcome, obj.outcome) or "-")


class RevocationInline(_ReadOnlyInline):
    """What was revoked at the provider, and how that ended."""

    model = Revocation
    fields = ("created_at", "reason", "outcome", "attempts", "next_attempt_at", "last_failure", "finished_at")
    readonly_fields = fields
