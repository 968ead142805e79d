"""The *Test connection* page: the whole dance as this member of staff, and what came out, step by step."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.transaction import non_atomic_requests
from django.http import Http404
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from django_oauth_flows.admin import wording
from django_oauth_flows.admin.pages import AccessiblePages
from django_oauth_flows.departing import SeeOther, forms_are_restricted, session_auth_hash, set_cookie, site_url
from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.forms import parameter_fields, read_parameters

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.http import HttpRequest, HttpResponse

    from django_oauth_flows.flows.values import StartedAuthorization
    from django_oauth_flows.models import Provider


class ProviderTesting(AccessiblePages):
    """The testing part of the admin of providers."""

    def get_urls(self) -> list[Any]:
        """Add the page."""
        view = self.admin_site.admin_view(self.test_view)
        return [path("<path:object_id>/test/", view, name="oauth_flows_provider_test"), *super().get_urls()]

    def has_test_permission(self, request: HttpRequest, obj: Provider | None = None) -> bool:
        """Ask for the permission of its own."""
        return self.has_view_permission(request, obj) and request.user.has_perm("oauth_flows.test_provider")

    @non_atomic_requests
    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def test_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the last test of this person; a POST starts another one."""
        provider = self.get_object(request, unquote(object_id))
        if provider is None:
            raise Http404
        if not self.has_test_permission(request, provider):
            raise PermissionDenied
        if request.method == "POST" and (response := self._start(request, provider)) is not None:
            return response
        return self._show(request, provider)

    def _start(self, request: HttpRequest, provider: Provider) -> HttpResponse | None:
        """Start; None if something that was entered is no part of an address, which the page then says."""
        from django_oauth_flows.flows.rehearsing import start_test

        parameters = read_parameters(provider, request.POST)
        if parameters is None:
            return None
        page = reverse("admin:oauth_flows_provider_test", args=[provider.pk], current_app=self.admin_site.name)
        try:
            started = start_test(
                provider,
                user=cast("AbstractBaseUser", request.user),  # the admin lets nobody else in
                session_auth_hash=session_auth_hash(request),
                site_url=site_url(request),
                next_url=page,
                parameters=parameters,
            )
        except OAuthFlowsError as error:
            self.message_user(request, wording.refusal(error), messages.ERROR)
            return SeeOther(page)
        self.log_change(request, provider, "connection tested")
        return SeeOther(page) if started is None else self._to_provider(request, provider, started)

    def _to_provider(self, request: HttpRequest, provider: Provider, started: StartedAuthorization) -> HttpResponse:
        response: HttpResponse = SeeOther(started.authorization_url)
        if forms_are_restricted():
            response = self._page(request, provider, authorization_url=started.authorization_url)
            response["Refresh"] = f"0; url={started.authorization_url}"
        set_cookie(request, response, started.cookie)
        return response

    def _show(self, request: HttpRequest, provider: Provider) -> HttpResponse:
        from django_oauth_flows.admin.test_fixes import without_browser
        from django_oauth_flows.admin.test_report import read_report
        from django_oauth_flows.flows.rehearsing import last_test

        test = last_test(provider, cast("AbstractBaseUser", request.user))
        provider.site_url = site_url(request)  # type: ignore[attr-defined] # for its redirect URI
        return self._page(
            request,
            provider,
            report=None if test is None else read_report(test, provider),
            parameters=parameter_fields(provider, request.POST),
            instead=None if provider.authorization_endpoint else without_browser(),
            redirect_uri=self.redirect_uri_to_copy(provider),  # type: ignore[attr-defined] # of ProviderColumns
        )

    def _page(self, request: HttpRequest, provider: Provider, **context: Any) -> HttpResponse:
        context = {"title": _("Test connection"), "subtitle": str(provider), "provider": provider, **context}
        response = self.show_page(request, "admin/oauth_flows/provider/test.html", context)
        response["Cache-Control"] = "no-store, private"
        response.status_code = HTTPStatus.OK
        return response
