"""Connections: everything about their state, nothing of their secrets; refresh, revoke, import."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.transaction import non_atomic_requests
from django.http import Http404
from django.urls import path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from django_oauth_flows import flows
from django_oauth_flows.admin import wording
from django_oauth_flows.admin.columns import ConnectionColumns, is_renewable
from django_oauth_flows.admin.filters import EndFilter, ExpiryFilter, RequiredScopesFilter
from django_oauth_flows.admin.history import EventInline, RevocationInline
from django_oauth_flows.admin.import_form import ImportForm
from django_oauth_flows.admin.pages import ReadOnlyPages, confirmed
from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.models import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

SECONDS = 10
"""How long one press of a button works on a selection: a worker that takes longer may be killed by its server."""


@admin.register(Connection)
class ConnectionAdmin(ConnectionColumns, ReadOnlyPages):
    """Look at connections; refresh and revoke them."""

    list_display = ("provider", "account", "owner", "status", "reason", "expires_at", "last_used_at")
    list_display_links = ("provider", "account")
    list_filter = ("provider", "status", ExpiryFilter, EndFilter, RequiredScopesFilter, "grant_type", "paused")
    list_select_related = ("provider", "user", "token")
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
                    "missing_required_scopes_text",
                    "authorization_details",
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

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        """Find what the list shows: accounts, and users by the beginning of their name."""
        return ("label", "subject", "owner_id", f"^user__{get_user_model().USERNAME_FIELD}")

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
            path("<path:object_id>/refresh/", wrapped(self.refresh_view), name="oauth_flows_connection_refresh"),
            path("<path:object_id>/revoke/", wrapped(self.revoke_view), name="oauth_flows_connection_revoke"),
            *super().get_urls(),
        ]

    @non_atomic_requests
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Offer the import to who may. Actions talk to providers, which no transaction may span."""
        extra = {**(extra_context or {}), "may_import": self.has_import_permission(request)}
        return super().changelist_view(request, extra)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Connection | None = None,
    ) -> HttpResponse:
        """Offer the buttons that would do something, to who may use them."""
        if obj is not None:
            context["may_refresh"] = self.has_refresh_permission(request) and is_renewable(obj)
            context["may_revoke"] = self.has_revoke_permission(request) and obj.status != Connection.Status.REVOKED
        return super().render_change_form(request, context, add, change, form_url, obj)

    @non_atomic_requests
    @method_decorator(require_POST)
    def refresh_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Refresh one connection."""
        return self._act(request, object_id, self.has_refresh_permission, self._refresh)

    @non_atomic_requests
    @method_decorator(require_POST)
    def revoke_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Disconnect one connection."""
        return self._act(request, object_id, self.has_revoke_permission, self._revoke)

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
                may_look = self.has_view_permission(request)
                return self.go_to("oauth_flows_connection_changelist" if may_look else "oauth_flows_connection_import")
        context = {"title": _("Import a connection"), "form": form, "adminform": form.laid_out(self)}
        return self.show_page(request, "admin/oauth_flows/connection/import.html", context)

    @admin.action(description=_("Refresh"), permissions=["refresh"])
    def refresh_selected(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        """Get new access tokens now."""
        self._check_viewable(request, queryset)
        self._refresh(request, queryset)

    @admin.action(description=_("Disconnect and revoke"), permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponse | None:
        """Disconnect here at once, and revoke at the provider; ask first."""
        self._check_viewable(request, queryset)
        if confirmed(request):
            self._revoke(request, queryset)
            return None
        live = queryset.exclude(status=Connection.Status.REVOKED).select_related("provider")
        count = live.count()
        question = ngettext(
            "Disconnect %(count)d connection and revoke it?", "Disconnect %(count)d connections and revoke them?", count
        )
        consequences = [
            _(
                "Their tokens are removed here at once, and revoked at the service where that hurts no other connection."
            ),
            _("This cannot be undone: only the users themselves can connect again."),
        ]
        return self.ask_first(request, live, question=question % {"count": count}, consequences=consequences)

    def _check_viewable(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        """Refuse the whole action if the site hides one of the rows from this person."""
        if not all(self.has_view_permission(request, connection) for connection in queryset):
            raise PermissionDenied

    def _act(
        self,
        request: HttpRequest,
        object_id: str,
        permitted: Callable[[HttpRequest], bool],
        action: Callable[..., None],
    ) -> HttpResponse:
        connection = self.get_object(request, unquote(object_id))
        if connection is None:
            raise Http404
        if not permitted(request) or not self.has_view_permission(request, connection):
            raise PermissionDenied
        action(request, self.get_queryset(request).filter(pk=connection.pk))
        return self.go_to("oauth_flows_connection_change", connection.pk)

    def _refresh(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        until = monotonic() + SECONDS
        rows = list(queryset.select_related("provider"))
        for position, connection in enumerate(rows):
            if monotonic() > until:
                left = len(rows) - position
                said = ngettext("%(count)d was not refreshed yet.", "%(count)d were not refreshed yet.", left)
                self.message_user(request, said % {"count": left}, messages.WARNING)
                return
            outcome, level = _refreshed(connection)
            self.log_change(request, connection, outcome)
            self.message_user(request, f"{connection}: {outcome}", level)

    def _revoke(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        ended = flows.revoke_all(queryset, actor=request.user, seconds=SECONDS)
        for connection, outcome in ended:
            self.log_change(request, connection, f"{_('disconnected')}: {wording.outcome_label(outcome)}")
        left = queryset.exclude(status=Connection.Status.REVOKED).count()
        self.message_user(request, *wording.disconnected([outcome for _row, outcome in ended], left=left))


def _refreshed(connection: Connection) -> tuple[str, int]:
    """Refresh; return what to say, and how loudly."""
    try:
        result = flows.refresh(connection)
    except OAuthFlowsError as error:
        return f"{wording.refusal(error)} [{error.code}]", messages.ERROR
    said = _("refreshed") if result.refreshed else _("another worker refreshed it just now")
    return str(said), messages.SUCCESS
