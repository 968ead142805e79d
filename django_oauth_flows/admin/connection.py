"""Connections: everything about their state, nothing of their secrets; refresh, revoke, import."""

from __future__ import annotations

from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.transaction import non_atomic_requests
from django.http import Http404
from django.urls import path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from django_oauth_flows.admin.columns import ConnectionColumns, is_renewable
from django_oauth_flows.admin.connection_actions import ConnectionActions
from django_oauth_flows.admin.filters import EndFilter, RequiredScopesFilter, StateFilter
from django_oauth_flows.admin.paginating import NewestPaginator
from django_oauth_flows.admin.rounds import SECONDS
from django_oauth_flows.admin.searching import find
from django_oauth_flows.models import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from django_oauth_flows.admin.rounds import Work


class NewestFirst(ChangeList):
    """The list, never sorted in another way: among a million rows that would read them all."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Return the one order, whatever the address says."""
        return ["-created_at", "-pk"]


@admin.register(Connection)
class ConnectionAdmin(ConnectionColumns, ConnectionActions):
    """Look at connections; refresh and revoke them."""

    list_display = ("provider", "account", "owner", "state", "reason", "expires_at", "last_used_at", "created_at")
    list_display_links = ("provider", "account")
    list_filter = ("provider", StateFilter, EndFilter, RequiredScopesFilter)
    list_select_related = ("provider", "user", "token")
    ordering = ("-created_at", "-pk")
    sortable_by = ()
    paginator = NewestPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each would count all rows
    search_fields = ("label",)  # Django shows the box; what is searched is said by find()
    search_help_text = _("A user's whole name, the beginning of an account's name, or an id.")
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
                    "acts_for",
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

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list that is always in the order of its index."""
        return NewestFirst

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Connection], search_term: str
    ) -> tuple[QuerySet[Connection], bool]:
        """Search by indexes alone."""
        return find(queryset, search_term), False

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
            context["may_refresh"] = self.has_refresh_permission(request, obj) and is_renewable(obj)
            context["may_revoke"] = self.has_revoke_permission(request, obj) and obj.status != Connection.Status.REVOKED
            context["timeline"] = _timeline(obj)
        return super().render_change_form(request, context, add, change, form_url, obj)

    @non_atomic_requests
    @method_decorator(require_POST)
    def refresh_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Refresh one connection."""
        return self._act(request, object_id, self.refreshing())

    @non_atomic_requests
    @method_decorator(require_POST)
    def revoke_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Disconnect one connection."""
        return self._act(request, object_id, self.revoking())

    @method_decorator(sensitive_post_parameters("access_token", "token_secret", "refresh_token"))
    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Store tokens that somebody has already."""
        from django_oauth_flows.admin.import_form import ImportForm  # starting a site goes without it

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

    def _act(self, request: HttpRequest, object_id: str, work: Work) -> HttpResponse:
        connection = self.get_object(request, unquote(object_id))
        if connection is None:
            raise Http404
        if not work.permitted(request, connection):
            raise PermissionDenied
        done = work.do(request, [connection], monotonic() + SECONDS)
        if work.title == self.revoking().title:
            self.message_user(request, *work.summary(Counter(outcome for _row, outcome in done)))
        return self.go_to("oauth_flows_connection_change", connection.pk)


def _timeline(connection: Connection) -> Any:
    from django_oauth_flows.admin.timeline import timeline  # starting a site goes without it

    return timeline(connection)
