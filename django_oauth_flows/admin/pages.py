"""What our admin pages share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.widgets import AdminSplitDateTime

if TYPE_CHECKING:
    from django.db import models
    from django.http import HttpRequest


class AccessiblePages(admin.ModelAdmin):  # type: ignore[type-arg]
    """Django's pages, with what WCAG A and AA asks for beyond them."""

    class Media:
        css = {"all": ("oauth_flows/admin.css",)}  # noqa: RUF012 - Django's own name and type

    def formfield_for_dbfield(self, db_field: models.Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        """Name both halves of a moment: Django's label belongs to neither."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and isinstance(field.widget, AdminSplitDateTime):
            for half, words in zip(field.widget.widgets, ("date", "time"), strict=True):
                half.attrs["aria-label"] = f"{field.label}: {words}"
        return field
