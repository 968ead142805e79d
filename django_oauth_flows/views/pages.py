"""Rendering: our templates inside the host's ``base.html``, refusals with cause and next step, and what is left if nothing works."""

from __future__ import annotations

import logging
import traceback
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.shortcuts import render
from django.template import TemplateDoesNotExist, TemplateSyntaxError
from django.template.loader import get_template, render_to_string, select_template
from django.urls import NoReverseMatch, reverse

from django_oauth_flows.views.wording import BROKEN, explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

    from django_oauth_flows.exceptions import OAuthFlowsError

logger = logging.getLogger("oauth_flows")

INFORMATIVE = frozenset({"access_denied"})
"""Refusals that are the user's own choice, and nobody's problem."""

SPEAKING = (ImproperlyConfigured, NoReverseMatch, TemplateDoesNotExist, TemplateSyntaxError)
"""Mistakes in a site's settings and templates: their text names the mistake, and holds no secret."""

STANDALONE = "oauth_flows/standalone.html"


def page(request: HttpRequest, template: str, context: Mapping[str, Any], *, status: int = 200) -> HttpResponse:
    """Render one of our templates inside the host's ``base.html``, or inside our own if it has none."""
    base = select_template(["base.html", STANDALONE])
    # Not every site has the context processor that would bring the request.
    whole = {"oauth_flows_base": base, "request": request, **context}
    return render(request, f"oauth_flows/{template}", whole, status=status)


def refusal(request: HttpRequest, error: OAuthFlowsError, *, about: Mapping[str, Any]) -> HttpResponse:
    """Say why a request was refused and what to do next. ``about``: what the address named, ``slug`` or ``pk``."""
    correlation_id = _correlation_id()
    level = logging.INFO if error.code in INFORMATIVE else logging.WARNING
    logger.log(
        level,
        "oauth_flows.%s",
        error.code,
        extra={"correlation_id": correlation_id, "actor": str(request.user.pk), **_ids(about)},
    )
    code, said = explain(error)
    slug = about.get("slug") if said.again else None
    context = {
        "code": code,
        "message": said.message,
        "hint": said.hint,
        "provider_text": getattr(error, "provider_text", ""),
        "cancelled": error.code in INFORMATIVE,
        "restart_url": reverse("oauth_flows:confirm_connect", args=[slug]) if slug else "",
        "correlation_id": correlation_id,
    }
    if error.code == "too_many_starts":
        response = _error_page(request, context, status=HTTPStatus.TOO_MANY_REQUESTS)
        response["Retry-After"] = "60"
        return response
    return _error_page(request, context, status=HTTPStatus.BAD_REQUEST)


def breakdown(
    request: HttpRequest, error: Exception, *, code: str, status: HTTPStatus, about: Mapping[str, Any]
) -> HttpResponse:
    """Say that something of ours is broken. The log gets the place, not the values: they may be secrets."""
    correlation_id = _correlation_id()
    what = f"{type(error).__name__}: {error}" if isinstance(error, SPEAKING) else type(error).__name__
    place = "".join(traceback.format_tb(error.__traceback__))
    extra = {"correlation_id": correlation_id, "error": what, **_ids(about)}
    logger.error("oauth_flows.%s: %s\n%s", code, what, place, extra=extra)
    context = {"code": code, "message": BROKEN.message, "hint": BROKEN.hint, "correlation_id": correlation_id}
    response = _error_page(request, context, status=status)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = "30"
    return response


def _error_page(request: HttpRequest, context: dict[str, Any], *, status: HTTPStatus) -> HttpResponse:
    try:
        return page(request, "error.html", context, status=status)
    except Exception:  # noqa: BLE001 - the host's base.html may need the very thing that is down
        alone = {**context, "oauth_flows_base": get_template(STANDALONE)}
        return HttpResponse(render_to_string("oauth_flows/error.html", alone), status=status)


def _correlation_id() -> str:
    return uuid.uuid4().hex[:16]


def _ids(about: Mapping[str, Any]) -> dict[str, str]:
    names = {"slug": "provider", "pk": "connection", "request_id": "authorization_request"}
    return {names[name]: str(value)[:64] for name, value in about.items() if name in names}
