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
