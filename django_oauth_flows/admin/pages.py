"""What our admin pages share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import django
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.widgets import AdminSplitDateTime
from django.http import HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db import models
    from django.http import HttpRequest, HttpResponse
    from django.utils.functional import _StrOrPromise as StrOrPromise

NAMES_SHOWN = 20


class AccessiblePages(admin.ModelAdmin):  # type: ignore[type-arg]
    """Django's pages, with what WCAG A and AA asks for beyond them."""

    object_history_template = "admin/oauth_flows/object_history.html"

    class Media:
        css = {"all": ("oauth_flows/admin.css",)}  # noqa: RUF012 - Django's own name and type
        js = ("oauth_flows/admin.js",)

    def formfield_for_dbfield(self, db_field: models.Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        """Name both halves of a moment: Django's label belongs to neither."""
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and isinstance(field.widget, AdminSplitDateTime):
            for half, words in zip(field.widget.widgets, (_("date"), _("time")), strict=True):
                half.attrs["aria-label"] = f"{field.label}: {words}"
        return field

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Bring our style sheet, which Django's page has no place for."""
        return super().history_view(request, object_id, {**(extra_context or {}), "media": self.media})

    def show_page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        """Render a page of our own as this site's admin."""
        request.current_app = self.admin_site.name
        shared = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "has_list": self.has_view_permission(request),
            "breadcrumbs_as_list": django.VERSION >= (6, 1),
        }
        return render(request, template, shared | context)

    def go_to(self, page: str, *args: Any) -> HttpResponseRedirect:
        """Redirect within the admin site that was asked: ``page`` is a URL name below ``admin:``."""
        return HttpResponseRedirect(reverse(f"admin:{page}", args=args, current_app=self.admin_site.name))

    def ask_first(
        self,
        request: HttpRequest,
        rows: models.QuerySet[Any],
        *,
        question: StrOrPromise,
        consequences: Sequence[StrOrPromise],
    ) -> HttpResponse:
        """Show what a bulk action would do; the page's button sends the same choice again, with ``post`` (WCAG 3.3.4)."""
        across = request.POST.get("select_across") == "1"
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        count = rows.count()
        context = {
            "title": _("Are you sure?"),
            "question": question,
            "consequences": consequences,
            "names": [str(row) for row in rows[:NAMES_SHOWN]],
            "unnamed": max(0, count - NAMES_SHOWN),
            "action": request.POST["action"],
            "checkbox": ACTION_CHECKBOX_NAME,
            "chosen": chosen[:1] if across else chosen,
            "select_across": int(across),
        }
        return self.show_page(request, "admin/oauth_flows/confirm.html", context)


class ReadOnlyPages(AccessiblePages):
    """Pages to look at: there is nothing to add, to change or to delete, and no address for it."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def get_urls(self) -> list[Any]:
        """Leave out what nobody may open, unless a site's subclass lets somebody: each address slows a first request.

        The address without a name is the one that rows had before Django 1.9; ours never did.
        """
        own = type(self)
        may_add = own.has_add_permission is not ReadOnlyPages.has_add_permission
        may_delete = own.has_delete_permission is not ReadOnlyPages.has_delete_permission
        closed = tuple(name for name, is_open in (("_add", may_add), ("_delete", may_delete)) if not is_open)
        return [url for url in super().get_urls() if url.name and not url.name.endswith(closed)]


def confirmed(request: HttpRequest) -> bool:
    """Tell whether a bulk action comes from its confirmation page."""
    return "post" in request.POST
