"""What all pages share: only who may reaches them, nobody may frame, cache or crash them."""

from __future__ import annotations

from functools import wraps
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import Error, transaction
from django.http import Http404
from django.urls import reverse
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.views.pages import breakdown, refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from django.http import HttpRequest, HttpResponse

    View = Callable[..., HttpResponse]

_FRAMED_BY_NOBODY = {"frame-ancestors": ["'none'"]}


def shielded(view: View) -> View:
    """Turn every failure of ``view`` into a page, set the headers that all our pages have, and open no transaction.

    A provider is asked over the network here and there: a transaction around that would hold its locks meanwhile.
    """

    @wraps(view)
    def shield(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = _out_of_order(request, kwargs) or _attempt(view, request, *args, **kwargs)
        return harden(response)

    return transaction.non_atomic_requests(shield)


def members_only(
    *methods: str, after_login: Callable[..., str] | None = None
) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Make a shielded page for logged-in users: these methods, with CSRF protection whatever the site's middleware.

    ``after_login`` says where an anonymous user goes after the login, given the view's arguments, if not back here.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def entrance(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.user.is_authenticated:
                return view(request, *args, **kwargs)
            elsewhere = after_login(request, *args, **kwargs) if after_login else request.get_full_path()
            return redirect_to_login(elsewhere)

        return shielded(require_http_methods(methods)(csrf_protect(entrance)))

    return decorate


def to_connections(request: HttpRequest, **_: Any) -> str:
    """Return the connections page: where to go after the login if the request itself cannot be repeated with GET."""
    return reverse("oauth_flows:connections")


def harden(response: HttpResponse) -> HttpResponse:
    """Forbid framing, caching and telling other sites where the user came from."""
    response["Cache-Control"] = "no-store, private"
    # Callbacks and refusals have addresses worth hiding. A page has forms: with "no-referrer" the browser would send
    # "Origin: null" with them, and Django's CSRF check would refuse every button.
    response["Referrer-Policy"] = "same-origin" if response.status_code == HTTPStatus.OK else "no-referrer"
    response["X-Frame-Options"] = "DENY"
    _forbid_framing(response)
    return response


def _forbid_framing(response: HttpResponse) -> None:
    """Add to the site's content security policy. Its middleware leaves a header alone that is there already."""
    if policy := getattr(settings, "SECURE_CSP", None):  # Django 6.0 and newer
        response._csp_config = {**policy, **_FRAMED_BY_NOBODY}  # type: ignore[attr-defined] # noqa: SLF001
    elif any("csp" in name.lower() for name in settings.MIDDLEWARE):  # django-csp
        response._csp_replace = _FRAMED_BY_NOBODY  # type: ignore[attr-defined] # noqa: SLF001
    else:
        response["Content-Security-Policy"] = "frame-ancestors 'none'"


def _attempt(view: View, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    try:
        return view(request, *args, **kwargs)
    except (Http404, PermissionDenied, SuspiciousOperation):
        raise
    except OAuthFlowsError as error:
        return refusal(request, error, about=kwargs)
    except Error as error:
        status = HTTPStatus.SERVICE_UNAVAILABLE
        return breakdown(request, error, code="storage_unavailable", status=status, about=kwargs)
    except Exception as error:  # noqa: BLE001 - a traceback page would show what the callback carries
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return breakdown(request, error, code="internal_error", status=status, about=kwargs)


def _out_of_order(request: HttpRequest, about: dict[str, Any]) -> HttpResponse | None:
    """Say so if the session or user cannot be read: their store is down, whatever it is and raises."""
    try:
        bool(request.user.is_authenticated)
    except SuspiciousOperation:
        raise
    except Exception as error:  # noqa: BLE001 - a cache client's own errors, a database's, a file's
        status = HTTPStatus.SERVICE_UNAVAILABLE
        return breakdown(request, error, code="storage_unavailable", status=status, about=about)
    return None
