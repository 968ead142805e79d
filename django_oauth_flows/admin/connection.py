"""Connections: everything about their state, nothing of their secrets; refresh, revoke, import."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import django
from django.contrib import admin, messages
from django.contrib.admin.utils import display_for_value
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from django_oauth_flows import flows
from django_oauth_flows.admin.import_form import ImportForm
from django_oauth_flows.admin.pages import AccessiblePages
from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import Connection, ConnectionEvent, Revocation

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse


class ExpiryFilter(admin.SimpleListFilter):
    """When the access token expires."""

    title = _("access token")
    parameter_name = "expiry"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Offer what staff look for."""
        return [
            ("expired", _("expired")),
            ("day", _("expires within a day")),
            ("later", _("expires later")),
            ("unknown", _("no known expiry")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Connection]) -> QuerySet[Connection]:
        """Compare with the database's clock."""
        now = DatabaseNow()
        tomorrow = now + timedelta(days=1)
        match self.value():
            case "expired":
                return queryset.filter(token__expires_at__lte=now)
            case "day":
                return queryset.filter(token__expires_at__gt=now, token__expires_at__lte=tomorrow)
            case "later":
                return queryset.filter(token__expires_at__gt=tomorrow)
            case "unknown":
                return queryset.filter(token__isnull=False, token__expires_at=None)
        return queryset


class _ReadOnlyInline(admin.TabularInline):  # type: ignore[type-arg]
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
    fields = ("created_at", "kind", "outcome", "actor", "correlation_id")
    readonly_fields = fields


class RevocationInline(_ReadOnlyInline):
    """What was revoked at the provider, and how that ended."""

    model = Revocation
    fields = ("created_at", "reason", "outcome", "attempts", "next_attempt_at", "last_failure", "finished_at")
    readonly_fields = fields


@admin.register(Connection)
class ConnectionAdmin(AccessiblePages):
    """Look at connections; refresh and revoke them."""

    list_display = ("provider", "account", "owner", "status", "reason", "expires_at", "last_used_at")
    list_display_links = ("provider", "account")
    list_filter = ("provider", "status", ExpiryFilter, "grant_type", "paused")
    list_select_related = ("provider", "user", "token")
    search_fields = ("label", "subject", "owner_id")
    date_hierarchy = None
    actions = ("refresh_selected", "revoke_selected")
    inlines = (EventInline, RevocationInline)
    change_form_template = "admin/oauth_flows/connection/change_form.html"
    change_list_template = "admin/oauth_flows/connection/change_list.html"
    fieldsets = (
        (None, {"fields": ("provider", "account", "subject", "status", "reason", "paused")}),
        (_("Owner"), {"fields": ("owner", "user")}),
        (
            _("Grant"),
            {
                "fields": (
                    "grant_type",
                    "requested_scopes_text",
                    "granted_scopes_text",
                    "missing_scopes_text",
                    "parameters",
                )
            },
        ),
        (
            _("Token"),
            {
                "fields": (
                    "issued_at",
                    "expires_at",
                    "renewable",
                    "refresh_token_expires_at",
                    "last_refreshed_at",
                    "next_refresh_at",
                    "failures",
                    "lease",
                )
            },
        ),
        (_("Use"), {"fields": ("authorized_at", "last_used_at", "last_purpose", "revoked_at", "created_at")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Connection | None = None) -> list[Any]:
        """Make everything read-only."""
        return [name for _title, options in self.fieldsets for name in options["fields"]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Connections come from users, or from an import."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:
        """Revoke instead: a deleted row would leave the grant at the provider alive."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:
        """Leave nothing to edit."""
        return False

    def has_refresh_permission(self, request: HttpRequest) -> bool:
        """Ask for the permission of its own."""
        return self.has_view_permission(request) and request.user.has_perm("oauth_flows.refresh_connection")

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Ask for the permission of its own."""
        return self.has_view_permission(request) and request.user.has_perm("oauth_flows.revoke_connection")

    def has_import_permission(self, request: HttpRequest) -> bool:
        """Ask for the permission of its own."""
        return request.user.has_perm("oauth_flows.import_connection")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse to be asked about tokens; expiry has a filter of its own."""
        return not lookup.startswith("token") and super().lookup_allowed(lookup, value, request)

    def get_urls(self) -> list[Any]:
        """Add the buttons of the change page, and the import."""

        def wrapped(view: Callable[..., HttpResponse]) -> Any:
            return self.admin_site.admin_view(view)

        return [
            path("import/", wrapped(self.import_view), name="oauth_flows_connection_import"),
            path("<uuid:pk>/refresh/", wrapped(self.refresh_view), name="oauth_flows_connection_refresh"),
            path("<uuid:pk>/revoke/", wrapped(self.revoke_view), name="oauth_flows_connection_revoke"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Offer the import to who may."""
        extra = {**(extra_context or {}), "may_import": self.has_import_permission(request)}
        return super().changelist_view(request, extra)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Offer the buttons to who may use them."""
        extra = {
            **(extra_context or {}),
            "may_refresh": self.has_refresh_permission(request),
            "may_revoke": self.has_revoke_permission(request),
        }
        return super().change_view(request, object_id, form_url, extra)

    @method_decorator(require_POST)
    def refresh_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Refresh one connection."""
        return self._act(request, pk, self.has_refresh_permission, self.refresh_selected)

    @method_decorator(require_POST)
    def revoke_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Disconnect one connection."""
        return self._act(request, pk, self.has_revoke_permission, self.revoke_selected)

    @method_decorator(sensitive_post_parameters("access_token", "token_secret", "refresh_token"))
    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Store tokens that somebody has already."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        form = ImportForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            connection = form.store(actor=request.user)
            if connection is not None:
                self.log_addition(request, connection, "imported")
                self.message_user(request, _("The connection was imported."), messages.SUCCESS)
                return HttpResponseRedirect(reverse("admin:oauth_flows_connection_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": _("Import a connection"),
            "form": form,
            "opts": self.opts,
            "media": self.media,
            "breadcrumbs_as_list": django.VERSION >= (6, 1),
        }
        return render(request, "admin/oauth_flows/connection/import.html", context)

    @admin.action(description=_("Refresh"), permissions=["refresh"])
    def refresh_selected(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        """Get new access tokens now."""
        self._each(request, queryset, _refreshed)

    @admin.action(description=_("Disconnect and revoke"), permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        """Disconnect here at once, and revoke at the provider."""
        self._each(request, queryset, lambda connection: flows.revoke(connection, actor=request.user))

    @admin.display(description=_("account"))
    def account(self, obj: Connection) -> str:
        """Show whom the account belongs to at the provider."""
        return obj.label or obj.subject or str(obj.pk)

    @admin.display(description=_("owner"))
    def owner(self, obj: Connection) -> str:
        """Show who has the connection here."""
        if obj.user is not None and str(obj.user.pk) == obj.owner_id:
            return str(obj.user)
        return f"{obj.owner_model} {obj.owner_id}".strip() or str(_("the site itself"))

    @admin.display(description=_("requested scopes"))
    def requested_scopes_text(self, obj: Connection) -> str:
        """Show scopes as text."""
        return ", ".join(obj.requested_scopes) or "-"

    @admin.display(description=_("granted scopes"))
    def granted_scopes_text(self, obj: Connection) -> str:
        """Show scopes as text."""
        return ", ".join(obj.granted_scopes) or "-"

    @admin.display(description=_("missing scopes"))
    def missing_scopes_text(self, obj: Connection) -> str:
        """Show scopes as text."""
        return ", ".join(obj.missing_scopes) or "-"

    @admin.display(description=_("access token expires"), ordering="token__expires_at")
    def expires_at(self, obj: Connection) -> str:
        """Show the token's column."""
        return _moment(_of_token(obj, "expires_at"))

    @admin.display(description=_("issued"))
    def issued_at(self, obj: Connection) -> str:
        """Show the token's column."""
        return _moment(_of_token(obj, "issued_at"))

    @admin.display(description=_("refresh token expires"))
    def refresh_token_expires_at(self, obj: Connection) -> str:
        """Show the token's column."""
        return _moment(_of_token(obj, "refresh_token_expires_at"))

    @admin.display(description=_("last refreshed"))
    def last_refreshed_at(self, obj: Connection) -> str:
        """Show the token's column."""
        return _moment(_of_token(obj, "last_refreshed_at"))

    @admin.display(description=_("next refresh"))
    def next_refresh_at(self, obj: Connection) -> str:
        """Show the token's column."""
        return _moment(_of_token(obj, "next_refresh_at"))

    @admin.display(description=_("renewable without the user"), boolean=True)
    def renewable(self, obj: Connection) -> bool:
        """Show whether there is a refresh token."""
        return _of_token(obj, "refresh_token") is not None

    @admin.display(description=_("failures in a row"))
    def failures(self, obj: Connection) -> str:
        """Show count and last code."""
        count = _of_token(obj, "failure_count") or 0
        return f"{count} ({_of_token(obj, 'last_failure')})" if count else "0"

    @admin.display(description=_("being refreshed until"))
    def lease(self, obj: Connection) -> str:
        """Show the lease."""
        return _moment(_of_token(obj, "lease_expires_at"))

    def _act(
        self, request: HttpRequest, pk: UUID, permitted: Callable[[HttpRequest], bool], action: Callable[..., None]
    ) -> HttpResponse:
        connection = get_object_or_404(self.get_queryset(request), pk=pk)
        if not permitted(request) or not self.has_view_permission(request, connection):
            raise PermissionDenied
        action(request, self.get_queryset(request).filter(pk=pk))
        return HttpResponseRedirect(reverse("admin:oauth_flows_connection_change", args=[pk]))

    def _each(self, request: HttpRequest, queryset: QuerySet[Connection], act: Callable[[Connection], Any]) -> None:
        connections = list(queryset.select_related("provider"))
        if not all(self.has_view_permission(request, connection) for connection in connections):
            raise PermissionDenied
        for connection in connections:
            try:
                outcome, level = act(connection), messages.SUCCESS
            except OAuthFlowsError as error:
                outcome, level = f"{error.message} [{error.code}] {error.hint}", messages.ERROR
            self.log_change(request, connection, str(outcome))
            self.message_user(request, f"{connection}: {outcome}", level)


def _moment(value: datetime | None) -> str:
    """Show a moment as Django's admin shows columns."""
    return str(display_for_value(value, "-"))


def _of_token(connection: Connection, name: str) -> Any:
    token = getattr(connection, "token", None)
    return None if token is None else getattr(token, name)


def _refreshed(connection: Connection) -> str:
    result = flows.refresh(connection)
    return str(_("refreshed") if result.refreshed else _("another worker refreshed it just now"))
