"""Rendering: our templates inside the host's ``base.html``, refusals with cause and next step, and what is left if nothing works."""

from __future__ import annotations

import logging
import traceback
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.template import TemplateDoesNotExist, TemplateSyntaxError, engines
from django.template.backends.django import DjangoTemplates
from django.urls import NoReverseMatch

from django_oauth_flows.views.owning import connections_url
from django_oauth_flows.views.restarting import confirmation_url, restart_url
from django_oauth_flows.views.wording import BROKEN, explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest
    from django.template.backends.django import Template

    from django_oauth_flows.exceptions import OAuthFlowsError

logger = logging.getLogger("oauth_flows")

INFORMATIVE = frozenset({"access_denied"})
"""Refusals that are the user's own choice, and nobody's problem."""

SPEAKING = (ImproperlyConfigured, NoReverseMatch, TemplateDoesNotExist, TemplateSyntaxError)
"""Mistakes in a site's settings and templates: their text names the mistake, and holds no secret."""

STANDALONE = "oauth_flows/standalone.html"


def page(request: HttpRequest, template: str, context: Mapping[str, Any], *, status: int = 200) -> HttpResponse:
    """Render one of our templates inside the host's ``base.html``, or inside our own if it has none."""
    # Not every site has the context processor that would bring the request.
    whole = {"oauth_flows_base": _template("base.html", STANDALONE), "request": request, **context}
    return HttpResponse(_template(f"oauth_flows/{template}").render(whole, request), status=status)


def bare_page(template: str, context: Mapping[str, Any]) -> HttpResponse:
    """Render one of our templates by itself: nothing of the host's, no context processor, no cookie."""
    return HttpResponse(_template(f"oauth_flows/{template}").render(dict(context)))


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
    context = {
        "code": code,
        "message": said.message,
        "hint": said.hint,
        "provider_text": getattr(error, "provider_text", ""),
        "cancelled": error.code in INFORMATIVE,
        "restart_url": _restart_url(request, error, slug=about.get("slug", "")) if said.again else "",
        "is_reconnect": error.attempt is not None and error.attempt.is_reconnect,
        "connections_url": connections_url(request, error.attempt),
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
    context = {
        "code": code,
        "message": BROKEN.message,
        "hint": BROKEN.hint,
        "connections_url": connections_url(request),
        "correlation_id": correlation_id,
    }
    response = _error_page(request, context, status=status)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response["Retry-After"] = "30"
    return response


def _error_page(request: HttpRequest, context: dict[str, Any], *, status: HTTPStatus) -> HttpResponse:
    try:
        return page(request, "error.html", context, status=status)
    except Exception:  # noqa: BLE001 - the host's base.html may need the very thing that is down
        alone = {**context, "oauth_flows_base": _template(STANDALONE)}
        return HttpResponse(_template("oauth_flows/error.html").render(alone), status=status)


def _restart_url(request: HttpRequest, error: OAuthFlowsError, *, slug: str) -> str:
    if error.attempt is not None:
        return restart_url(request, error.attempt)
    return confirmation_url(slug, {}) if slug else ""


def _template(*names: str) -> Template:
    """Return the first of the templates that there is. Jinja2's engine is not asked: our pages cannot extend what it finds."""
    ours = [engine for engine in engines.all() if isinstance(engine, DjangoTemplates)]
    for name in names:
        for engine in ours:
            try:
                return engine.get_template(name)
            except TemplateDoesNotExist:
                continue
    raise TemplateDoesNotExist(names[-1])


def _correlation_id() -> str:
    return uuid.uuid4().hex[:16]


def _ids(about: Mapping[str, Any]) -> dict[str, str]:
    names = {"slug": "provider", "pk": "connection", "request_id": "authorization_request"}
    return {names[name]: str(value)[:64] for name, value in about.items() if name in names}
