"""What the admin shows of a provider that is no column of it: state, never secrets."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.template.loader import render_to_string
from django.utils import formats, timezone
from django.utils.translation import gettext_lazy as _

from django_oauth_flows import flows
from django_oauth_flows.admin import wording
from django_oauth_flows.admin.provider_fieldsets import CREDENTIALS
from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.models import Provider
from django_oauth_flows.models.provider_rules import dangers

UNNAMED = "--slug--"
"""Stands for the slug that a new provider does not have yet."""


class ProviderColumns:
    """Columns and read-only fields."""

    @admin.display(description=_("redirect URI"))
    def redirect_uri_to_copy(self, obj: Provider | None) -> str:
        """Show what has to be registered at the provider, exactly."""
        provider = obj if obj is not None and obj.slug else Provider(slug=UNNAMED)
        unnamed = Provider(slug=UNNAMED, redirect_base_url=provider.redirect_base_url)
        site_url = getattr(obj, "site_url", "")
        try:
            uri, pattern = (flows.redirect_uri(row, site_url=site_url) for row in (provider, unnamed))
        except ConfigurationError as error:
            return error.hint
        shown = uri.replace(UNNAMED, f"<{_('slug')}>")
        context = {"uri": shown, "pattern": pattern if provider._state.adding else "", "unnamed": UNNAMED}
        return render_to_string("admin/oauth_flows/provider/redirect_uri.html", context)

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
