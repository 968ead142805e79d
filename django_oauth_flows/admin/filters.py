"""Filters of the list of connections: each is answered by an index."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from django_oauth_flows.admin import wording
from django_oauth_flows.admin.searching import lacking, providers

if TYPE_CHECKING:
    from django.http import HttpRequest


class StateFilter(admin.SimpleListFilter):
    """How the connection stands: its status and its switch in one."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Offer the states."""
        return list(wording.STATES.items())

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Compare columns that stand in one index."""
        state = self.value()
        if state not in wording.STATES:
            return queryset
        rows = queryset.filter(provider__in=providers())
        match state:
            case "active":
                return rows.filter(status="active", paused=False)
            case "paused":
                return rows.filter(status__in=("active", "reauthorization_required"), paused=True)
        return rows.filter(status=state)


class RequiredScopesFilter(admin.SimpleListFilter):
    """Whether the grant includes what its provider requires today."""

    title = _("required scopes")
    parameter_name = "required_scopes"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Offer the one that somebody has to do something about."""
        return [("lacking", _("lacks a required scope"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Compare with the providers as they are now."""
        return lacking(queryset) if self.value() == "lacking" else queryset


class EndFilter(admin.SimpleListFilter):
    """When the connection will need its user, as far as is known today."""

    title = _("needs its user")
    parameter_name = "dying"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Offer what is over, and times in which one can still write to people."""
        return [("0", _("now: access is over")), ("7", _("within 7 days")), ("30", _("within 30 days"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Compare with the database's clock."""
        days = self.value()
        if days not in ("0", "7", "30"):
            return queryset
        return queryset.filter(token__provider__in=providers()).dying(timedelta(days=int(days)))
