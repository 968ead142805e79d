"""Filters of the change lists."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from django_oauth_flows.fields import DatabaseNow

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest

    from django_oauth_flows.models import Connection


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


class RequiredScopesFilter(admin.SimpleListFilter):
    """Whether the grant includes what its provider requires today."""

    title = _("required scopes")
    parameter_name = "required_scopes"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Offer the one that somebody has to do something about."""
        return [("lacking", _("lacks a required scope"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Compare with the providers as they are now."""
        return queryset.lacking_required_scopes() if self.value() == "lacking" else queryset


class EndFilter(admin.SimpleListFilter):
    """When the connection will need its user, as far as is known today."""

    title = _("needs its user")
    parameter_name = "dying"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Offer times in which one can still write to people."""
        return [("7", _("within 7 days")), ("30", _("within 30 days"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Compare with the database's clock."""
        days = self.value()
        return queryset.dying(timedelta(days=int(days))) if days in ("7", "30") else queryset
