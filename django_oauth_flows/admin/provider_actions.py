"""What staff do to several providers at once: the switches, and draining."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_oauth_flows import flows
from django_oauth_flows.admin import wording
from django_oauth_flows.admin.draining import live_connections
from django_oauth_flows.admin.pages import AccessiblePages, confirmed
from django_oauth_flows.models import Provider

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse


class ProviderActions(AccessiblePages):
    """The actions of the list of providers."""

    actions = ("enable", "disable", "pause", "resume", "disconnect_all")

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
