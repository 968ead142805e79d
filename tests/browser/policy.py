"""A content security policy as strict as Django's admin allows: nothing inline, nothing from elsewhere, forms stay here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

POLICY = {
    "default-src": ["'none'"], "script-src": ["'self'"], "style-src": ["'self'"], "img-src": ["'self'", "data:"],
    "font-src": ["'self'"], "connect-src": ["'self'"], "form-action": ["'self'"], "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
}  # fmt: skip
USUAL = {name: sources for name, sources in POLICY.items() if name != "form-action"}
"""Where forms may lead to a service and back: what every page is sent with unless a test says otherwise."""


def send(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Do as Django's own middleware, with the settings as they are now: the server has read them once, at its start."""

    def respond(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        policy = getattr(response, "_csp_config", getattr(settings, "SECURE_CSP", None))
        if policy:
            line = "; ".join(f"{name} {' '.join(sources)}" for name, sources in policy.items())
            response["Content-Security-Policy"] = line
        if opener := settings.SECURE_CROSS_ORIGIN_OPENER_POLICY:
            response["Cross-Origin-Opener-Policy"] = opener
        return response

    return respond
