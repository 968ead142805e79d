"""``GET schema/``: the API's own description, where the extra ``[openapi]`` is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework.response import Response

from django_oauth_flows.api.base import AsciiJSONRenderer, View
from django_oauth_flows.api.openapi import document

if TYPE_CHECKING:
    from rest_framework.request import Request


class OpenAPIRenderer(AsciiJSONRenderer):
    """OpenAPI as JSON."""

    media_type = "application/vnd.oai.openapi+json"


class SchemaView(View):
    """The schema; it describes the endpoints and holds nothing of anybody."""

    schema: Any = None
    renderer_classes = (AsciiJSONRenderer, OpenAPIRenderer)

    def get(self, request: Request) -> Response:
        """Return the schema, OpenAPI 3.1."""
        return Response(document())
