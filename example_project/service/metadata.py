"""What the service says of itself (RFC 8414, OpenID Connect Discovery): django-oauth-toolkit's documents, completed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.http import JsonResponse
from oauth2_provider import views

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

ENDPOINTS = {"revocation_endpoint": "revoke-token", "device_authorization_endpoint": "device-authorization"}
"""Those that at least one of the documents leaves out, and their views."""


class Completed:
    """Adds endpoints and response modes to a document."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return the document."""
        document: dict[str, Any] = json.loads(super().get(request, *args, **kwargs).content)  # type: ignore[misc]
        document |= {name: self._get_endpoint_url(request, view) for name, view in ENDPOINTS.items()}  # type: ignore[attr-defined]
        document["response_modes_supported"] = ["query", "form_post"]
        return JsonResponse(document, headers={"Access-Control-Allow-Origin": "*"})


class ServerMetadataView(Completed, views.OAuthServerMetadataView):
    """The OAuth 2 server's metadata."""


class OpenIDConfigurationView(Completed, views.ConnectDiscoveryInfoView):
    """The OpenID provider's configuration."""
