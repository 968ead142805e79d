"""Providers: a form for newcomers first, the rest below; drained before they are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import django
from django.contrib import admin
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.db.transaction import non_atomic_requests
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from django_oauth_flows.admin.draining import delete_drained, goes_along, obstacles
from django_oauth_flows.admin.provider_actions import ProviderActions
from django_oauth_flows.admin.provider_columns import ProviderColumns
from django_oauth_flows.admin.provider_discovery import ProviderDiscovery
from django_oauth_flows.admin.provider_fieldsets import ABOUT_WHAT_IS_STORED, FIELDSETS, SECRET_FIELDS, WRITE_ONLY
from django_oauth_flows.admin.provider_testing import ProviderTesting
from django_oauth_flows.departing import site_url
from django_oauth_flows.models import Connection, Provider

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from django_oauth_flows.admin.provider_form import ProviderForm

LIVE = (Connection.Status.ACTIVE, Connection.Status.REAUTHORIZATION_REQUIRED)


class _LateForm:
    """The provider form, of the admin and of each of its instances; starting a site goes without it."""

    def __get__(self, instance: ProviderAdmin | None, owner: type[ProviderAdmin]) -> type[ProviderForm]:
        from django_oauth_flows.admin.provider_form import ProviderForm

        return ProviderForm


@admin.register(Provider)
class ProviderAdmin(ProviderColumns, ProviderActions, ProviderTesting, ProviderDiscovery):
    """Manage providers."""

    form: Any = _LateForm()
    add_form_template = "admin/oauth_flows/provider/add_form.html"
    change_form_template = "admin/oauth_flows/provider/change_form.html"
    list_display = ("name", "slug", "protocol", "state", "live_connections", "secret_state")
    list_filter = ("protocol", "enabled", "paused", "internal")
    search_fields = ("name", "slug", "client_id")
    ordering = ("name", "slug")  # what is counted in a query loses the model's own
    save_as = False
    fieldsets = FIELDSETS

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        """Count live connections in the same query, by an index."""
        live = Connection.objects.filter(provider=OuterRef("pk"), status__in=LIVE).order_by().values("provider")
        counted = Coalesce(Subquery(live.annotate(number=Count("*")).values("number")), 0)
        rows: QuerySet[Provider] = super().get_queryset(request).annotate(live=counted)
        return rows

    def get_readonly_fields(self, request: HttpRequest, obj: Provider | None = None) -> tuple[str, ...]:
        """Fix the slug once it is part of a redirect URI; guard the switch that opens the private network."""
        shown = ("redirect_uri_to_copy", "learned_access_token_lifetime")
        fixed = shown if obj is None else (*shown, "slug")
        return fixed if request.user.has_perm("oauth_flows.change_internal_provider") else (*fixed, "internal")

    def get_prepopulated_fields(self, request: HttpRequest, obj: Provider | None = None) -> dict[str, Any]:
        """Propose a slug while the name is typed."""
        return {"slug": ("name",)} if obj is None else {}

    def get_fieldsets(self, request: HttpRequest, obj: Provider | None = None) -> Any:
        """Leave out what has no meaning for a new provider, and the write-only fields for staff who may only look."""
        if obj is None:
            left_out: tuple[str, ...] = ABOUT_WHAT_IS_STORED
        else:
            left_out = () if self.has_change_permission(request, obj) else WRITE_ONLY
        return [
            (title, {**options, "fields": [f for f in options["fields"] if f not in left_out]})
            for title, options in super().get_fieldsets(request, obj)
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Tell the row what its redirect URI is made of: the site's checked address, and a slug that is only proposed."""
        form = context["adminform"].form
        form.instance.site_url = site_url(request)
        if form.instance._state.adding and not form.is_bound:
            form.instance.slug = form.get_initial_for_field(form.fields["slug"], "slug") or ""
        elif (provider := context.get("original")) is not None:
            context["health"] = _health(provider)
        context["tools_in_header"] = django.VERSION >= (6, 1)
        context["may_test"] = self.has_test_permission(request, context.get("original"))
        return super().render_change_form(request, context, *args, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Fill a new provider's form in from the catalogue's entry, or the discovered values, that the address names."""
        given = super().get_changeform_initial_data(request)
        return {**given, **_picker().initial(request), **self.discovered_initial(request)}

    def save_model(self, request: HttpRequest, obj: Provider, form: Any, change: bool) -> None:
        """Note on a new row which entry it was copied from, or what was discovered."""
        if not change:
            _picker().remember(obj, request)
        super().save_model(request, obj, form, change)
        if not change:
            self.remember_discovered(request, obj)

    def response_add(self, request: HttpRequest, obj: Provider, post_url_continue: str | None = None) -> HttpResponse:
        """Go on to the test if asked to."""
        return self._on_to_the_test(request, obj) or super().response_add(request, obj, post_url_continue)

    def response_change(self, request: HttpRequest, obj: Provider) -> HttpResponse:
        """Go on to the test if asked to."""
        return self._on_to_the_test(request, obj) or super().response_change(request, obj)

    def _on_to_the_test(self, request: HttpRequest, obj: Provider) -> HttpResponse | None:
        if "_test" not in request.POST or not self.has_test_permission(request, obj):
            return None
        page = reverse("admin:oauth_flows_provider_test", args=[obj.pk], current_app=self.admin_site.name)
        return HttpResponseRedirect(page)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuse to be asked about secrets."""
        return not any(column in lookup for column in SECRET_FIELDS.values()) and super().lookup_allowed(
            lookup, value, request
        )

    def has_delete_permission(self, request: HttpRequest, obj: Provider | None = None) -> bool:
        """Allow deletion only of a provider that has been disabled and drained; the page says what is in the way."""
        if not super().has_delete_permission(request, obj):
            return False
        return obj is None or request.method == "GET" or not obstacles(obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """List what goes with the providers; name those that are not drained as protected."""
        providers = list(objs)
        waiting = [(provider, obstacles(provider)) for provider in providers]
        protected = [f"{provider}: {', '.join(reasons)}" for provider, reasons in waiting if reasons]
        counted = {str(Provider._meta.verbose_name_plural): len(providers), **goes_along(providers)}
        return [str(provider) for provider in providers], counted, set(), protected

    def delete_model(self, request: HttpRequest, obj: Provider) -> None:
        """Delete a drained provider with its history."""
        delete_drained(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        """Delete drained providers."""
        for provider in queryset:
            delete_drained(provider)

    @non_atomic_requests
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Let actions talk to providers, which no transaction may span."""
        response: HttpResponse = super().changelist_view(request, extra_context)
        return response

    @method_decorator(sensitive_post_parameters(*WRITE_ONLY))
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Keep entered secrets out of error reports; show the catalogue where a provider is added."""
        if object_id is None:
            extra_context = {**(extra_context or {}), **_picker().context(request), **self.discovery_context(request)}
        response: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        return response


def _health(provider: Provider) -> Any:
    from django_oauth_flows.admin import provider_health  # with its charts; starting a site goes without it

    return provider_health.health_of(provider)


def _picker() -> Any:
    """Load the catalogue where it is shown; starting a site goes without it."""
    from django_oauth_flows.admin import preset_picker

    return preset_picker
