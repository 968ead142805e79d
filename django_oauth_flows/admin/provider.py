"""Providers: a form for newcomers first, the rest below; drained before they are deleted."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q
from django.db.transaction import non_atomic_requests
from django.utils import formats, timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_post_parameters

from django_oauth_flows import flows
from django_oauth_flows.admin import wording
from django_oauth_flows.admin.draining import delete_drained, goes_along, live_connections, obstacles
from django_oauth_flows.admin.pages import AccessiblePages, confirmed
from django_oauth_flows.admin.provider_form import CREDENTIALS, SECRET_FIELDS, WRITE_ONLY, ProviderForm
from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.models.provider_rules import dangers

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

UNNAMED = "--slug--"
"""Stands for the slug that a new provider does not have yet."""

LIVE = ~Q(connections__status=Connection.Status.REVOKED)


@admin.register(Provider)
class ProviderAdmin(AccessiblePages):
    """Manage providers."""

    form = ProviderForm
    add_form_template = "admin/oauth_flows/provider/add_form.html"
    list_display = ("name", "slug", "protocol", "state", "live_connections", "secret_state")
    list_filter = ("protocol", "enabled", "paused", "internal")
    search_fields = ("name", "slug", "client_id")
    ordering = ("name", "slug")  # what is counted in a query loses the model's own
    save_as = False
    actions = ("enable", "disable", "pause", "resume", "disconnect_all")
    fieldsets = (
        (None, {"fields": ("name", "slug", "protocol", "enabled", "redirect_uri_to_copy")}),
        (
            _("Client"),
            {
                "fields": (
                    "client_id",
                    "new_client_secret",
                    "previous_until",
                    "new_private_key",
                    "new_client_certificate",
                    "token_endpoint_auth_method",
                    "scopes",
                    "allowed_scopes",
                    "required_scopes",
                    "scope_descriptions",
                )
            },
        ),
        (
            _("Endpoints"),
            {
                "fields": (
                    "issuer",
                    "authorization_response_iss_parameter_supported",
                    "authorization_endpoint",
                    "token_endpoint",
                    "temporary_credential_endpoint",
                    "pushed_authorization_request_endpoint",
                    "device_authorization_endpoint",
                    "offers_device_flow",
                    "revocation_endpoint",
                    "introspection_endpoint",
                    "userinfo_endpoint",
                    "jwks_uri",
                    "api_base_url",
                    "api_hosts",
                    "delegated_calls",
                    "current_client_secret",
                )
            },
        ),
        (_("Account identity"), {"fields": ("identity_source", "subject_path", "label_path", "unique_subject")}),
        (
            _("OAuth 1.0a"),
            {
                "classes": ("collapse",),
                "fields": ("signature_method", "signature_placement", "realm"),
            },
        ),
        (
            _("Stored secrets"),
            {
                "classes": ("collapse",),
                "fields": (
                    "client_secret_expires_at",
                    "cleared",
                ),
            },
        ),
        (
            _("Token life"),
            {
                "classes": ("collapse",),
                "fields": (
                    "access_token_lifetime",
                    "learned_access_token_lifetime",
                    "refresh_token_lifetime",
                    "refresh_token_idle_lifetime",
                    "rotates_refresh_token",
                    "reuse_grace",
                    "refresh_margin",
                    "revocation_effect",
                ),
            },
        ),
        (
            _("Limits"),
            {
                "classes": ("collapse",),
                "fields": (
                    "stale_refresh_budget",
                    "refresh_deadline",
                    "lease_duration",
                    "request_deadline",
                    "refreshes_of_the_day",
                ),
            },
        ),
        (
            _("Advanced"),
            {
                "classes": ("collapse",),
                "fields": (
                    "paused",
                    "internal",
                    "redirect_base_url",
                    "code_challenge_method",
                    "response_mode",
                    "dpop_bound_access_tokens",
                    "tls_client_certificate_bound_access_tokens",
                    "scope_separator",
                    "parameters",
                    "dialect",
                    "new_proxy",
                    "ca_bundle",
                    "console_url",
                    "account_url",
                ),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        """Count live connections in the same query."""
        rows: QuerySet[Provider] = super().get_queryset(request).annotate(live=Count("connections", filter=LIVE))
        return rows

    def get_readonly_fields(self, request: HttpRequest, obj: Provider | None = None) -> tuple[str, ...]:
        """Fix the slug once it is part of a redirect URI; guard the switch that opens the private network."""
        shown = ("redirect_uri_to_copy", "refreshes_of_the_day", "learned_access_token_lifetime")
        fixed = shown if obj is None else (*shown, "slug")
        return fixed if request.user.has_perm("oauth_flows.change_internal_provider") else (*fixed, "internal")

    def get_fieldsets(self, request: HttpRequest, obj: Provider | None = None) -> Any:
        """Leave the write-only fields out for staff who may only look."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        return [
            (title, {**options, "fields": [f for f in options["fields"] if f not in WRITE_ONLY]})
            for title, options in fieldsets
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Tell the row the site's address, for its redirect URI, if Django has checked the Host header that names it."""
        if "*" not in settings.ALLOWED_HOSTS:
            context["adminform"].form.instance.site_url = f"{request.scheme}://{request.get_host()}"
        return super().render_change_form(request, context, *args, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Fill a new provider's form in from the catalogue's entry that the address names."""
        return {**super().get_changeform_initial_data(request), **_picker().initial(request)}

    def save_model(self, request: HttpRequest, obj: Provider, form: Any, change: bool) -> None:
        """Note on a new row which entry it was copied from."""
        if not change:
            _picker().remember(obj, request)
        super().save_model(request, obj, form, change)

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
            extra_context = {**(extra_context or {}), **_picker().context(request)}
        response: HttpResponse = super().changeform_view(request, object_id, form_url, extra_context)
        return response

    @admin.display(description=_("redirect URI"))
    def redirect_uri_to_copy(self, obj: Provider | None) -> str:
        """Show what has to be registered at the provider, exactly."""
        provider = obj if obj is not None and obj.slug else Provider(slug=UNNAMED)
        try:
            uri = flows.redirect_uri(provider, site_url=getattr(obj, "site_url", ""))
        except ConfigurationError as error:
            return error.hint
        return format_html("<code>{}</code>", uri.replace(UNNAMED, f"<{_('slug')}>"))

    @admin.display(description=_("refreshes of the last day"))
    def refreshes_of_the_day(self, obj: Provider | None) -> str:
        """Show how attempts have ended: words for the two ordinary outcomes, the code of an error."""
        counts = obj.refresh_counts.filter(hour__gt=DatabaseNow() - timedelta(days=1)) if obj is not None else ()
        total: Counter[str] = Counter()
        for row in counts:
            total[row.outcome] += row.count
        return ", ".join(f"{wording.REFRESHES.get(code, code)}: {n}" for code, n in total.most_common()) or "-"

    @admin.display(description=_("state"))
    def state(self, obj: Provider) -> str:
        """Show the switches in words."""
        words: list[Any] = [_("paused")] if obj.paused else [_("enabled") if obj.enabled else _("disabled")]
        words += [wording.DANGERS[danger] for danger in dangers(obj)]
        if obj.alarm:
            words.append(_("client refused: %(code)s") % {"code": obj.alarm})
        if obj.circuit_open_until is not None and obj.circuit_open_until > timezone.now():
            until = formats.time_format(timezone.localtime(obj.circuit_open_until))
            words.append(_("failing, left alone until %(time)s") % {"time": until})
        return ", ".join(str(word) for word in words)

    @admin.display(description=_("live connections"), ordering="live")
    def live_connections(self, obj: Provider) -> int:
        """Show how many connections would end with it."""
        return int(obj.live)  # type: ignore[attr-defined]

    @admin.display(description=_("client secret"))
    def secret_state(self, obj: Provider) -> str:
        """Show whether a secret is stored, and nothing about it."""
        stored = any(getattr(obj, column) is not None for _field, column in CREDENTIALS)
        return str(_("stored") if stored else _("none"))

    @admin.action(description=_("Enable"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        """Accept new connections."""
        self._switch(request, queryset, enabled=True)

    @admin.action(description=_("Disable: accept no new connections"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        """Accept no new connections; existing ones go on."""
        self._switch(request, queryset, enabled=False)

    @admin.action(description=_("Pause: serve no token at all"), permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        """Stop at once."""
        self._switch(request, queryset, paused=True)

    @admin.action(description=_("Resume"), permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Provider]) -> None:
        """Go on."""
        self._switch(request, queryset, paused=False)

    @admin.action(description=_("Disconnect all connections"), permissions=["drain"])
    def disconnect_all(self, request: HttpRequest, queryset: QuerySet[Provider]) -> HttpResponse | None:
        """Drain: disable, and disconnect everything; ask first."""
        if not all(self.has_change_permission(request, provider) for provider in queryset):
            raise PermissionDenied
        if confirmed(request):
            for provider in queryset:
                self._drain(request, provider)
            return None
        count = sum(live_connections(provider).count() for provider in queryset)
        question = ngettext("Disconnect %(count)d connection?", "Disconnect all %(count)d connections?", count)
        consequences = [
            _("These services are disabled: they accept no new connections."),
            _(
                "Tokens are removed here at once, and revoked at the service; what waits for its user's yes is given back."
            ),
            _("This cannot be undone: only the users themselves can connect again."),
        ]
        return self.ask_first(request, queryset, question=question % {"count": count}, consequences=consequences)

    def has_drain_permission(self, request: HttpRequest) -> bool:
        """Disconnecting people is more than changing a row."""
        return request.user.has_perm("oauth_flows.revoke_connection") and self.has_change_permission(request)

    def _drain(self, request: HttpRequest, provider: Provider) -> None:
        Provider.objects.filter(pk=provider.pk).update(enabled=False)
        ended = flows.revoke_all(live_connections(provider), actor=request.user)
        flows.drop_parked_of(provider)
        said, level = wording.disconnected(
            [outcome for _row, outcome in ended], left=live_connections(provider).count()
        )
        self.log_change(request, provider, f"{_('disabled')}; {said}")
        self.message_user(request, f"{provider}: {said}", level)

    def _switch(self, request: HttpRequest, queryset: QuerySet[Provider], **values: bool) -> None:
        for provider in queryset:
            if not self.has_change_permission(request, provider):
                raise PermissionDenied
            for name, value in values.items():
                setattr(provider, name, value)
            provider.save(update_fields=[*values, "updated_at"])
            self.log_change(request, provider, ", ".join(f"{name} set to {value}" for name, value in values.items()))
        self.message_user(request, _("Done."), messages.SUCCESS)


def _picker() -> Any:
    """Load the catalogue where it is shown; starting a site goes without it."""
    from django_oauth_flows.admin import preset_picker

    return preset_picker
