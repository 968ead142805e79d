"""``…/connections/<id>/call/<path>``: call the provider's API for a front end, which never sees the token.

What comes back is the provider's, and a hostile one must not gain a foothold on this origin: it is passed on as data that no
browser runs or renders, and only to the scripts of this site.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import QueryDict, StreamingHttpResponse
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import PermissionDenied, UnsupportedMediaType
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser

from django_oauth_flows import flows
from django_oauth_flows.api.base import View
from django_oauth_flows.api.finding import visible_connection
from django_oauth_flows.api.operations import operation
from django_oauth_flows.api.problems import LengthRequired, RequestTooLarge
from django_oauth_flows.flows.delegating import MAX_SENT
from django_oauth_flows.managers import allows

if TYPE_CHECKING:
    from uuid import UUID

    from django.http.response import HttpResponseBase
    from rest_framework.request import Request

SOURCE = "OAuth-Flows-Source"
"""The header that tells the provider's answers, which have it, from ours."""

ISOLATION = {
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_DATA = ("", "audio", "empty", "font", "image", "video")
_REFUSALS = (400, 404, 409, 415, 502)


class AnyAccept(BaseContentNegotiation):
    """What the caller accepts is the provider's affair."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the first."""
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the first, for problems."""
        return renderers[0], renderers[0].media_type


class Passed(QueryDict):
    """A body that is passed on, and that nobody here looks into: to Django's CSRF check it is an empty form."""

    body = b""


class PassingParser(BaseParser):
    """Read a body to pass it on, at most so much of it; files in forms are not passed on."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return it; raise ``RequestTooLarge``, ``UnsupportedMediaType``."""
        if str(media_type).partition("/")[0].strip().lower() == "multipart":
            raise UnsupportedMediaType(str(media_type))
        passed: Any = Passed()
        passed.body = stream.read(MAX_SENT + 1)
        if len(passed.body) > MAX_SENT:
            raise RequestTooLarge
        return passed


class Call(View):
    """A delegated call, of whatever method the provider's row lists."""

    oauth_flows_throttle = "oauth_flows_call"
    content_negotiation_class = AnyAccept
    parser_classes = (PassingParser,)
    max_body = MAX_SENT

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse what another site's page makes a browser ask for with the user's session, and what would be rendered."""
        super().initial(request, *args, **kwargs)
        if request.headers.get("Transfer-Encoding") and not request.headers.get("Content-Length"):
            raise LengthRequired  # the framework would read no body, and the service would get none
        if not isinstance(request.successful_authenticator, SessionAuthentication):
            return
        # Django's CSRF check looks at unsafe methods only, and a provider's GET may do anything.
        site, purpose = request.headers.get("Sec-Fetch-Site", ""), request.headers.get("Sec-Fetch-Dest", "")
        if site not in ("", "same-origin", "none") or purpose not in _DATA:
            raise PermissionDenied

    @operation("call_get", refusals=_REFUSALS, passes_through=True)
    def get(self, request: Request, pk: UUID, path: str) -> HttpResponseBase:
        """Call the service's API with GET. Only what the provider's ``delegated_calls`` list may be called."""
        return _called(request, pk, path)

    @operation("call_post", refusals=_REFUSALS, passes_through=True)
    def post(self, request: Request, pk: UUID, path: str) -> HttpResponseBase:
        """Call the service's API with POST. Only what the provider's ``delegated_calls`` list may be called."""
        return _called(request, pk, path)

    @operation("call_put", refusals=_REFUSALS, passes_through=True)
    def put(self, request: Request, pk: UUID, path: str) -> HttpResponseBase:
        """Call the service's API with PUT. Only what the provider's ``delegated_calls`` list may be called."""
        return _called(request, pk, path)

    @operation("call_patch", refusals=_REFUSALS, passes_through=True)
    def patch(self, request: Request, pk: UUID, path: str) -> HttpResponseBase:
        """Call the service's API with PATCH. Only what the provider's ``delegated_calls`` list may be called."""
        return _called(request, pk, path)

    @operation("call_delete", refusals=_REFUSALS, passes_through=True)
    def delete(self, request: Request, pk: UUID, path: str) -> HttpResponseBase:
        """Call the service's API with DELETE. Only what the provider's ``delegated_calls`` list may be called."""
        return _called(request, pk, path)


def _called(request: Request, pk: UUID, path: str) -> HttpResponseBase:
    connection = visible_connection(request, pk)
    if not allows(request.user, "use", connection):
        raise PermissionDenied
    answer = flows.delegate(
        connection,
        method=str(request.method),
        path=path,
        query=request.META.get("QUERY_STRING", ""),
        headers=request.headers,
        body=request.data.body if isinstance(request.data, Passed) else b"",
    )
    response = StreamingHttpResponse(answer.body, status=answer.status, content_type=answer.content_type)
    for name, value in (*answer.headers, *ISOLATION.items(), (SOURCE, "provider")):
        response[name] = value
    return response
