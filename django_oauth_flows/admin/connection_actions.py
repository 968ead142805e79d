"""What staff do to connections: refresh, disconnect, export; one at a time or in bulk, each with a permission of its own."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_oauth_flows import flows
from django_oauth_flows.admin import wording
from django_oauth_flows.admin.pages import ReadOnlyPages, confirmed
from django_oauth_flows.admin.rounds import BATCH, SECONDS, Progress, Work
from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.models import Connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    Done = list[tuple[Connection, str]]

NAMED = 20
"""Of a refresh of at most so many, each outcome is told by itself; of more, the failures of each round up to so many."""


class ConnectionActions(ReadOnlyPages):
    """The verbs of the admin of connections."""

    actions = ("refresh_selected", "revoke_selected", "export_selected")

    def has_refresh_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:
        """Ask for the permission of its own."""
        return self.has_view_permission(request, obj) and request.user.has_perm("oauth_flows.refresh_connection")

    def has_revoke_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:
        """Ask for the permission of its own."""
        return self.has_view_permission(request, obj) and request.user.has_perm("oauth_flows.revoke_connection")

    @admin.action(description=_("Refresh"), permissions=["refresh"])
    def refresh_selected(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponse | None:
        """Get new access tokens now; ask first."""
        live = _live(queryset)
        if confirmed(request):
            return self._in_rounds(request, live, self.refreshing())
        self._check(request, live, self.refreshing())
        count = live.count()
        question = ngettext("Refresh %(count)d connection now?", "Refresh %(count)d connections now?", count)
        consequences = [_("The service is asked for a new access token for each; what cannot be renewed is said.")]
        return self.ask_first(request, live, question=question % {"count": count}, consequences=consequences)

    @admin.action(description=_("Disconnect and revoke"), permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponse | None:
        """Disconnect here at once, and revoke at the provider; ask first."""
        live = _live(queryset)
        if confirmed(request):
            return self._in_rounds(request, live, self.revoking())
        self._check(request, live, self.revoking())
        count = live.count()
        question = ngettext(
            "Disconnect %(count)d connection and revoke it?", "Disconnect %(count)d connections and revoke them?", count
        )
        consequences = [
            _(
                "Their tokens are removed here at once, and revoked at the service where that hurts no other connection."
            ),
            _("This cannot be undone: only the users themselves can connect again."),
        ]
        return self.ask_first(request, live, question=question % {"count": count}, consequences=consequences)

    @admin.action(description=_("Export as CSV, without secrets"), permissions=["view"])
    def export_selected(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponse:
        """Send the rows as a file; those that the site hides from this person are left out."""
        from django_oauth_flows.admin.exporting import as_csv  # starting a site goes without it

        hook = type(self).has_view_permission
        hides = hook is not ReadOnlyPages.has_view_permission

        def may_see(connection: Connection) -> bool:
            return self.has_view_permission(request, connection)

        return as_csv(queryset, only=may_see if hides else None)  # type: ignore[return-value]

    def refreshing(self) -> Work:
        """Return what refreshing is."""
        return Work(_("Refreshing"), self.has_refresh_permission, self._refresh, wording.refreshed)

    def revoking(self) -> Work:
        """Return what disconnecting is."""
        return Work(_("Disconnecting"), self.has_revoke_permission, self._revoke, wording.disconnected_by_outcome)

    def _in_rounds(self, request: HttpRequest, rows: QuerySet[Connection], work: Work) -> HttpResponse | None:
        """Work for a while; None when everything is done, else the page that leads to the next round."""
        progress, until = Progress.read(request, rows), monotonic() + SECONDS
        while batch := list(progress.rest(rows)[:BATCH]):
            self._check_each(request, batch, work)
            done = work.do(request, batch, until)
            progress.note(done)
            if monotonic() > until:
                break
        if progress.rest(rows).exists():
            return self._next_round(request, progress, work)
        self.message_user(request, *work.summary(progress.tally))
        return None

    def _next_round(self, request: HttpRequest, progress: Progress, work: Work) -> HttpResponse:
        across = request.POST.get("select_across") == "1"
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        context: dict[str, Any] = {
            "title": work.title,
            "progress": progress,
            "fields": progress.fields(),
            "action": request.POST["action"],
            "checkbox": ACTION_CHECKBOX_NAME,
            "chosen": chosen[:1] if across else chosen,
            "select_across": int(across),
        }
        return self.show_page(request, "admin/oauth_flows/connection/progress.html", context)

    def _check(self, request: HttpRequest, rows: QuerySet[Connection], work: Work) -> None:
        """Refuse before anything is asked if the site hides one of the first rows; the rest is looked at when it is its turn."""
        self._check_each(request, list(rows.order_by("pk")[:BATCH]), work)

    def _check_each(self, request: HttpRequest, rows: Sequence[Connection], work: Work) -> None:
        if not all(work.permitted(request, row) for row in rows):
            raise PermissionDenied

    def _refresh(self, request: HttpRequest, rows: Sequence[Connection], until: float) -> Done:
        done: Done = []
        for row in rows:
            outcome, said = _refreshed(row)
            self.log_change(request, row, said)
            done.append((row, outcome))
            is_bad = outcome not in wording.GOOD
            if len(rows) <= NAMED or (is_bad and sum(code not in wording.GOOD for _row, code in done) <= NAMED):
                self.message_user(request, f"{row}: {said}", messages.ERROR if is_bad else messages.SUCCESS)
            if monotonic() > until:
                break
        return done

    def _revoke(self, request: HttpRequest, rows: Sequence[Connection], until: float) -> Done:
        chosen = Connection.objects.filter(pk__in=[row.pk for row in rows]).order_by("pk")
        ended = flows.revoke_all(chosen, actor=request.user, seconds=max(until - monotonic(), 1))
        for connection, outcome in ended:
            self.log_change(request, connection, f"{_('disconnected')}: {wording.outcome_label(outcome)}")
        return ended


def _live(queryset: QuerySet[Connection]) -> QuerySet[Connection]:
    return queryset.exclude(status=Connection.Status.REVOKED).select_related("provider")


def _refreshed(connection: Connection) -> tuple[str, str]:
    """Refresh; return the outcome's code, and what to say."""
    try:
        result = flows.refresh(connection)
    except OAuthFlowsError as error:
        return error.code, f"{wording.refusal(error)} [{error.code}]"
    code = "refreshed" if result.refreshed else "adopted"
    return code, str(wording.GOOD[code])
