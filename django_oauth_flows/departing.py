"""Send a browser on its way to a provider, bound to the dance that it leaves for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpResponseRedirect

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from django_oauth_flows.flows.values import BrowserCookie


class SeeOther(HttpResponseRedirect):
    """Redirect to a page that is fetched with GET, whatever this request was."""

    status_code = 303


def session_auth_hash(request: HttpRequest) -> str:
    """Return what changes with the user's password, "" for an anonymous user."""
    return request.user.get_session_auth_hash() if request.user.is_authenticated else ""


def site_url(request: HttpRequest) -> str:
    """Return the site's address, "" if nobody has checked the Host header that names it."""
    trusted = "*" not in settings.ALLOWED_HOSTS
    return f"{request.scheme}://{request.get_host()}" if trusted else ""


def set_cookie(request: HttpRequest, response: HttpResponse, cookie: BrowserCookie) -> None:
    """Bind the browser to one authorization."""
    response.set_cookie(
        cookie.name,
        cookie.value.reveal(),
        max_age=cookie.max_age,
        path=cookie.path,
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )


def forms_are_restricted() -> bool:
    """Tell whether the site's content security policy says where forms may go: Django's own, or django-csp's, old or new.

    Chromium holds a form's redirects to it, too; a page that moves on by itself is no form's redirect.
    """
    own: dict[str, Any] = getattr(settings, "SECURE_CSP", None) or {}
    new: dict[str, Any] = getattr(settings, "CONTENT_SECURITY_POLICY", None) or {}
    old = getattr(settings, "CSP_FORM_ACTION", None) is not None
    return old or "form-action" in own or "form-action" in new.get("DIRECTIVES", {})
