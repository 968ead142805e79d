"""What all endpoints share: JSON only, the site's authentication, no caching, problem documents."""

from __future__ import annotations

import io
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.utils.cache import patch_vary_headers
from django.utils.dateparse import parse_datetime
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from rest_framework.exceptions import ErrorDetail, NotFound, ParseError, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import JSONParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.settings import api_settings
from rest_framework.throttling import ScopedRateThrottle
from rest_framework.views import APIView

from django_oauth_flows.api.problems import RequestTooLarge, problem_response
from django_oauth_flows.api.serializers import MAX_PAGE, PAGE, PageQuery
from django_oauth_flows.conf import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import QuerySet
    from rest_framework.request import Request
    from rest_framework.response import Response
    from rest_framework.serializers import Serializer
    from rest_framework.throttling import BaseThrottle

MAX_BODY = 16 * 1024
"""Bytes of a request body: generous for a list of scopes."""

_YEARS = range(1970, 9999)  # those at the ends, some database or time zone cannot compare with

RATES = {"oauth_flows_call": "120/min"}
"""How often a user may do what makes work for others, unless the site gives the scope another rate, or None."""


class AsciiJSONRenderer(JSONRenderer):
    """JSON that can always be encoded, whatever text a provider or caller sent."""

    ensure_ascii = True


class SmallJSONParser(JSONParser):
    """Read a small JSON body; a huge or deeply nested one is refused, not digested."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Return the parsed body; raise ``RequestTooLarge`` or ``ParseError``."""
        raw = stream.read(MAX_BODY + 1)
        if len(raw) > MAX_BODY:
            raise RequestTooLarge
        try:
            return super().parse(io.BytesIO(raw), media_type, parser_context)
        except RecursionError:
            raise ParseError from None


class IsActive(BasePermission):
    """Anybody who is logged in and active; what they may see is the owner policy's affair."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """Answer for the endpoint as a whole."""
        user = getattr(request, "user", None)  # None where the site has set UNAUTHENTICATED_USER so
        return user is not None and user.is_authenticated and user.is_active


class OptionalThrottle(ScopedRateThrottle):
    """Throttle by ``oauth_flows_throttle`` if the site or we give that scope a rate, and not otherwise."""

    scope_attr = "oauth_flows_throttle"

    def get_rate(self) -> str | None:
        """Return the configured rate, read late."""
        rates: dict[str, str | None] = {**RATES, **api_settings.DEFAULT_THROTTLE_RATES}  # type: ignore[dict-item]
        return rates.get(str(self.scope))


def checked_query(request: Request, shape: type[Serializer[Any]]) -> dict[str, Any]:
    """Return the parameters that an endpoint knows; raise ``ValidationError`` for one that is wrong, or there twice."""
    given = request.query_params
    if twice := [name for name in map(str, shape().fields) if len(given.getlist(name)) > 1]:
        raise ValidationError({name: [ErrorDetail(_("Given more than once."), code="repeated")] for name in twice})
    query = shape(data=given.dict())
    query.is_valid(raise_exception=True)
    found: dict[str, Any] = query.validated_data
    return found


class NewestFirst(CursorPagination):
    """Pages whose cost and content do not depend on how many there are."""

    page_size = PAGE
    page_size_query_param = "page_size"
    max_page_size = MAX_PAGE
    ordering: tuple[str, ...] = ("-created_at", "id")

    def rows_of(self, everything: QuerySet[Any], request: Request, view: APIView) -> list[Any]:
        """Return the rows of the page that was asked for; raise ``NotFound`` for a cursor that we have not made."""
        checked_query(request, PageQuery)
        return self.paginate_queryset(everything, request, view=view) or []

    def decode_cursor(self, request: Request) -> Any:
        """Return the cursor; the framework lets a database find out what a made-up one holds."""
        cursor = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None and not self.is_position(str(cursor.position)):
            raise NotFound
        return cursor

    def is_position(self, text: str) -> bool:
        """Tell whether rows can be compared with this."""
        try:
            moment = parse_datetime(text)
        except ValueError:
            return False
        return moment is not None and moment.tzinfo is not None and moment.year in _YEARS


def _schema() -> Any:
    """Return what describes our endpoints; None, which is nothing, without the extra ``[openapi]``."""
    if find_spec("drf_spectacular") is None:
        return None
    from django_oauth_flows.api.openapi import Schema

    return Schema()


class View(APIView):
    """Base of the endpoints. Authentication is the site's own ``DEFAULT_AUTHENTICATION_CLASSES``."""

    renderer_classes: Any = (AsciiJSONRenderer,)
    parser_classes: Any = (SmallJSONParser,)
    metadata_class = None
    versioning_class = None
    oauth_flows_throttle = "oauth_flows_read"
    max_body = MAX_BODY

    schema = _schema()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse a body that nobody will read before anything reads it."""
        length = request.META.get("CONTENT_LENGTH") or "0"
        if not length.isdecimal() or len(length) > len(str(self.max_body)) or int(length) > self.max_body:
            raise RequestTooLarge
        super().initial(request, *args, **kwargs)

    def get_permissions(self) -> list[Any]:
        """Return the site's permissions, read late."""
        return [import_string(path)() for path in settings.api_permission_classes]

    def get_throttles(self) -> list[BaseThrottle]:
        """Add the optional throttle to the site's own."""
        return [*super().get_throttles(), OptionalThrottle()]

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], Response | None]:
        """Return ours, whatever the site's other endpoints use."""
        return problem_response

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Forbid every cache to keep what belongs to one user."""
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "private, no-store"
        patch_vary_headers(response, ("Accept", "Authorization", "Cookie"))
        return response


class Nothing(View):
    """Whatever address below ours leads nowhere."""

    schema: Any = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Say so to everybody, whatever the method."""
        raise NotFound
