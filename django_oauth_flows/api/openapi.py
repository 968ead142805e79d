"""The schema of the API, OpenAPI 3.1, by drf-spectacular: needs the extra ``[openapi]``. Nothing else here needs it."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from django.urls import include, path, reverse
from django.utils import translation
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import patched_settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from django_oauth_flows import __version__
from django_oauth_flows.api.serializers import Closed, ProblemDocument
from django_oauth_flows.models import Connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.api.operations import Operation

PROBLEM = "application/problem+json"
ANYTHING = "*/*"
SETTINGS: Mapping[str, Any] = {
    "OAS_VERSION": "3.1.0",
    "TITLE": "Connected accounts",
    "DESCRIPTION": "Accounts that users have connected at other services. No endpoint returns a token.",
    "VERSION": __version__,
    "SCHEMA_PATH_PREFIX": None,
    "SCHEMA_PATH_PREFIX_TRIM": False,
    "SCHEMA_PATH_PREFIX_INSERT": "",
    "COMPONENT_SPLIT_REQUEST": False,
    "COMPONENT_SPLIT_PATCH": False,
    "CAMELIZE_NAMES": False,
    "ENUM_NAME_OVERRIDES": {
        "ConnectionStatus": list(Connection.Status.values),
        "HealthStatus": ["ok", "attention"],
    },
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums"],
    "PREPROCESSING_HOOKS": [],
    "APPEND_COMPONENTS": {},
    "APPEND_PATHS": {},
    "EXTENSIONS_ROOT": {},
    "SECURITY": [],
    "SERVERS": [],
    "TAGS": [],
    "WEBHOOKS": [],
}
"""Ours, whatever the site's own schema has."""

REASONS = {
    400: "The request is not valid.",
    401: "Not logged in.",
    403: "Not allowed, or the session's CSRF token is missing.",
    404: "There is nothing of yours at this address.",
    406: "Only JSON is answered.",
    409: "This cannot go on as things are: the account has to be connected again, is paused, or is gone.",
    413: "The body is too large.",
    415: "This content type is not read.",
    429: "Too often: wait as long as `Retry-After` says.",
    500: "A fault of ours.",
    502: "The service cannot be reached, or gives no usable answer.",
    503: "Try again shortly.",
}


class TextExtension(OpenApiSerializerFieldExtension):  # type: ignore[no-untyped-call]
    """Text is a string."""

    target_class = "django_oauth_flows.api.serializers.Text"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        """Return its schema."""
        return {"type": "string"}


class Schema(AutoSchema):
    """Describe an endpoint by what stands beside its code."""

    @property
    def operation(self) -> Operation:
        """Return the description of the method at hand."""
        found: Operation = getattr(self.view, self.method.lower()).operation
        return found

    def get_operation_id(self) -> str:
        """Return the name of the method in generated clients."""
        return self.operation.name

    def get_tags(self) -> list[str]:
        """Return none: the API is small."""
        return ["Connected accounts"]

    def get_override_parameters(self) -> list[Any]:
        """Return the query, and the rest of a delegated call's path."""
        if self.operation.passes_through:
            about = "A path below the API's base URL, without a slash before it; its slashes stay as they are."
            return [OpenApiParameter("path", str, OpenApiParameter.PATH, description=about)]
        return [] if self.operation.query is None else [self.operation.query]

    def get_request_serializer(self) -> Any:
        """Return the body, None for none."""
        if self.operation.passes_through:
            return {"application/json": OpenApiTypes.ANY, "application/octet-stream": OpenApiTypes.BINARY}
        return self.operation.body

    def get_response_serializers(self) -> Any:
        """Return the answers by status, problems included."""
        described = self.operation
        answers: dict[Any, Any] = {
            (status, "application/json"): OpenApiResponse(shape, description=(shape.__doc__ or "").partition("\n")[0])
            for status, shape in described.answers.items()
        }
        for status in described.refusals:
            answers[status, PROBLEM] = OpenApiResponse(ProblemDocument, description=REASONS[status])
        if described.passes_through:
            about = "The service's own answer, with the header `OAuth-Flows-Source: provider`, whatever its status."
            answers["default", ANYTHING] = OpenApiResponse(OpenApiTypes.ANY, description=about)
        return answers

    def _map_serializer(self, serializer: Any, direction: Any, bypass_extensions: bool = False) -> Any:
        found = super()._map_serializer(serializer, direction, bypass_extensions)  # type: ignore[no-untyped-call]
        if isinstance(serializer, Closed) or (isinstance(serializer, type) and issubclass(serializer, Closed)):
            found["additionalProperties"] = False
        return found


_lock = threading.Lock()


def document() -> dict[str, Any]:
    """Return the schema with the addresses at which this site has the API, as plain JSON values, in English."""
    prefix = reverse("oauth_flows_api:providers").removesuffix("v1/providers/")
    with _lock:
        return _document(prefix)


@cache
def _document(prefix: str) -> dict[str, Any]:
    patterns = [path(prefix.removeprefix("/"), include("django_oauth_flows.api.urls"))]
    # The library's settings are one object for the process; what the site generates at this very moment may see ours.
    with translation.override("en"), patched_settings(dict(SETTINGS)):
        found: dict[str, Any] = SchemaGenerator(patterns=patterns).get_schema(public=True)  # type: ignore[no-untyped-call]
    return found
