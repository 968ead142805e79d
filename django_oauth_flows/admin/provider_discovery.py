"""Discover a provider from its issuer's URL: the button on the *Add provider* page, and the form that it fills in.

What was found travels in the address of the page, signed: it can be reloaded and gone back to, and nothing is stored
before staff save it. The network is asked by a POST alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from django.contrib import messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db.transaction import non_atomic_requests
from django.http import HttpResponseRedirect
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from django_oauth_flows import flows
from django_oauth_flows.admin import wording
from django_oauth_flows.admin.pages import AccessiblePages
from django_oauth_flows.exceptions import OAuthFlowsError

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from django_oauth_flows.models import Provider

FOUND = "discovered"
"""Parameter of the page's address: the signed columns."""

SALT = "oauth_flows.discovered"

HOUR = 3600
"""Seconds for which they are believed."""

COMMON = frozenset({"www", "accounts", "account", "auth", "oauth", "oauth2", "login", "sso", "id", "idp", "api"})
"""First labels of hosts that name no service."""


class ProviderDiscovery(AccessiblePages):
    """The discovery part of the admin of providers."""

    def get_urls(self) -> list[Any]:
        """Add the button."""
        view = self.admin_site.admin_view(self.discover_view)
        return [path("discover/", view, name="oauth_flows_provider_discover"), *super().get_urls()]

    @non_atomic_requests
    @method_decorator(require_POST)
    def discover_view(self, request: HttpRequest) -> HttpResponse:
        """Ask an issuer for its metadata, and show the form filled in; on a refusal, the form as it was, and why."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        issuer = request.POST.get("issuer", "").strip()
        internal = "internal" in request.POST and self._may_be_internal(request)
        try:
            found = flows.discover(issuer, internal=internal)
        except OAuthFlowsError as error:
            self.message_user(request, f"{wording.refusal(error)} [{error.code}]", messages.ERROR)
            return self._to_form(issuer=issuer, **({"internal": "1"} if internal else {}))
        self.message_user(
            request, _("The service has described itself; the form below is filled in. Nothing is saved yet.")
        )
        return self._to_form(**{FOUND: signing.dumps(found, salt=SALT, compress=True)})

    def discovery_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return what the page shows of the discovery."""
        found = _found(request)
        return {
            "issuer": found.get("issuer", request.GET.get("issuer", "")),
            "issuer_internal": found.get("internal", "internal" in request.GET),
            "may_be_internal": self._may_be_internal(request),
            "is_discovered": bool(found),
        }

    def discovered_initial(self, request: HttpRequest) -> dict[str, Any]:
        """Return what the form is filled in with; staff may change all of it."""
        found = _found(request)
        name = _service_of(found["issuer"]) if found else ""
        return {"name": name, "slug": slugify(name.replace(".", "-")), **found} if found else {}

    def remember_discovered(self, request: HttpRequest, provider: Provider) -> None:
        """Pin what was discovered to the new row: a later look is compared with it."""
        from django_oauth_flows.flows.discovering import note

        if (found := _found(request)) and found["issuer"] == provider.issuer:
            note(provider, found)

    def _may_be_internal(self, request: HttpRequest) -> bool:
        return request.user.has_perm("oauth_flows.change_internal_provider")

    def _to_form(self, **query: str) -> HttpResponseRedirect:
        page = reverse("admin:oauth_flows_provider_add", current_app=self.admin_site.name)
        return HttpResponseRedirect(f"{page}?{urlencode(query)}")


def _found(request: HttpRequest) -> dict[str, Any]:
    """Return the columns in the page's address; {} if there are none, or none of ours."""
    try:
        found: dict[str, Any] = signing.loads(request.GET.get(FOUND, ""), salt=SALT, max_age=HOUR)
    except signing.BadSignature:
        return {}
    return found


def _service_of(issuer: str) -> str:
    """Return what of an issuer's host names the service."""
    host = urlsplit(issuer).hostname or ""
    first, _dot, rest = host.partition(".")
    return rest if first in COMMON and "." in rest else host
