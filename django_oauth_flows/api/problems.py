"""Every error as a problem document (RFC 9457), with a stable code, the next step and a correlation id."""

from __future__ import annotations

import logging
import traceback
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError
from django.http import Http404
from django.http.request import UnreadablePostError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from django_oauth_flows.exceptions import (
    CannotPersist,
    MissingScopes,
    OAuthFlowsError,
    RequestBlocked,
    ScopeNotAllowed,
    TokenEndpointError,
    TokenUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("oauth_flows")

CONTENT_TYPE = "application/problem+json"
MAX_TEXT, MAX_ERRORS = 200, 20

STATUSES: tuple[tuple[type[OAuthFlowsError], HTTPStatus], ...] = (
    (ScopeNotAllowed, HTTPStatus.FORBIDDEN),
    (RequestBlocked, HTTPStatus.FORBIDDEN),
    (MissingScopes, HTTPStatus.FORBIDDEN),
    (TokenUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (CannotPersist, HTTPStatus.SERVICE_UNAVAILABLE),
    (TokenEndpointError, HTTPStatus.BAD_GATEWAY),
    (OAuthFlowsError, HTTPStatus.CONFLICT),
)
"""The status of our own errors: the first line that an error belongs to. In conflict is what cannot go on as things are."""

HINTS = {
    "authentication_failed": gettext_lazy("Log in again."),
    "invalid": gettext_lazy("Correct what the member “errors” lists, and send the request again."),
    "length_required": gettext_lazy("Send a Content-Length."),
    "method_not_allowed": gettext_lazy("Use one of the methods that the Allow header names."),
    "not_acceptable": gettext_lazy("Accept application/json."),
    "not_authenticated": gettext_lazy("Log in."),
    "not_found": gettext_lazy("List what there is, and use one of its ids."),
    "parse_error": gettext_lazy("Send a JSON object."),
    "permission_denied": gettext_lazy("Send the CSRF token if you use the session, or ask the owner."),
    "request_too_large": gettext_lazy("Send only the members that the endpoint names."),
    "throttled": gettext_lazy("Wait as long as the Retry-After header says."),
    "unsupported_media_type": gettext_lazy("Send application/json."),
}


class LengthRequired(exceptions.APIException):
    """Raise for a body whose length nobody says."""

    status_code = HTTPStatus.LENGTH_REQUIRED
    default_code = "length_required"
    default_detail = gettext_lazy("The request does not say how long its body is.")


class RequestTooLarge(exceptions.APIException):
    """Raise for a body that no endpoint has a use for."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_code = "request_too_large"
    default_detail = gettext_lazy("The request's body is too large.")


def problem_response(error: Exception, context: dict[str, Any]) -> Response:
    """Answer ``error`` with a problem document. For a fault of ours, the log gets the place and no values."""
    error = _as_framework(error)
    if isinstance(error, exceptions.APIException):
        response = _answer(_of_framework(error), int(error.status_code), context)
        _set_headers(response, error)
    elif isinstance(error, OAuthFlowsError):
        said = {"code": error.code, "detail": _(error.message), "hint": _(error.hint) if error.hint else ""}
        status = next(status for kind, status in STATUSES if isinstance(error, kind))
        response = _answer(said, status, context, level=logging.WARNING)
        if retry_after := getattr(error, "retry_after", None):
            response["Retry-After"] = str(int(retry_after))
    elif isinstance(error, DatabaseError):
        response = _answer(_broken("storage_unavailable"), HTTPStatus.SERVICE_UNAVAILABLE, context, level=logging.ERROR)
    else:
        response = _answer(
            _broken("internal_error"), HTTPStatus.INTERNAL_SERVER_ERROR, context, level=logging.ERROR, about=error
        )
    set_rollback()
    return response


def _as_framework(error: Exception) -> Exception:
    """Return what the framework calls those errors of Django that are the client's."""
    if isinstance(error, Http404):
        return exceptions.NotFound()
    if isinstance(error, PermissionDenied):
        return exceptions.PermissionDenied()
    if isinstance(error, RequestDataTooBig):
        return RequestTooLarge()
    if isinstance(error, (SuspiciousOperation, UnreadablePostError)):
        return exceptions.ParseError()
    return error


def _broken(code: str) -> dict[str, Any]:
    detail, hint = _("Something went wrong on our side."), _("Try again in a moment.")
    return {"code": code, "detail": detail, "hint": hint}


def _of_framework(error: exceptions.APIException) -> dict[str, Any]:
    codes = error.get_codes()
    if not isinstance(codes, str):
        errors = list(_flatten(error.get_full_details(), ""))[:MAX_ERRORS]
        said: dict[str, Any] = {"code": "invalid", "detail": _("The request is not valid."), "errors": errors}
    else:
        said = {"code": codes, "detail": _excerpt(error.detail)}
    return {**said, "hint": str(HINTS.get(said["code"], ""))}


def _flatten(details: Any, pointer: str) -> Iterator[dict[str, str]]:
    """Yield one entry for each refused value, with a JSON pointer to it as in RFC 9457 §3."""
    if isinstance(details, dict) and "message" in details and "code" in details:
        yield {
            "pointer": f"#{pointer}",
            "code": _excerpt(details["code"]),
            "detail": _excerpt(details["message"]),
        }
    elif isinstance(details, dict):
        for name, inner in details.items():
            step = "" if name == "non_field_errors" else "/" + _excerpt(name).replace("~", "~0").replace("/", "~1")
            yield from _flatten(inner, pointer + step)
    else:
        for inner in details:
            yield from _flatten(inner, pointer)


def _answer(
    said: dict[str, Any],
    status: int,
    context: dict[str, Any],
    *,
    level: int = logging.INFO,
    about: Exception | None = None,
) -> Response:
    correlation_id = uuid.uuid4().hex[:16]
    request = context.get("request")
    actor = getattr(getattr(request, "_user", None), "pk", None)
    extra = {"correlation_id": correlation_id, "actor": actor, "status": status}
    if about is None:
        logger.log(level, "oauth_flows.%s", said["code"], extra=extra)
    else:
        place = "".join(traceback.format_tb(about.__traceback__))
        logger.log(level, "oauth_flows.%s: %s\n%s", said["code"], type(about).__name__, place, extra=extra)
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": int(status), **said}
    return Response({**document, "correlation_id": correlation_id}, status=status, content_type=CONTENT_TYPE)


def _set_headers(response: Response, error: exceptions.APIException) -> None:
    if header := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = header
    if wait := getattr(error, "wait", None):
        response["Retry-After"] = str(int(wait))


def _excerpt(text: Any) -> str:
    """Return a short printable form of what may hold the caller's own input."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text)[:MAX_TEXT])
