"""The fake provider's client registration endpoint. RFC 7591."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from django_oauth_flows.testing.faults import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_oauth_flows.testing.oauth2 import OAuth2Server
    from django_oauth_flows.testing.server import Received


class Registrar:
    """Registers one client, which the authorization server then knows; honest until ``change_answer`` says otherwise."""

    def __init__(self, url: str, oauth2: OAuth2Server) -> None:
        self.url = f"{url}/register"
        self.initial_access_token = ""  # demanded, if there is one
        self.client_secret_expires_at = 0
        self.change_answer: Callable[[dict[str, Any]], None] = lambda _: None
        self.registered: list[dict[str, Any]] = []
        self._oauth2 = oauth2

    def register(self, request: Received) -> Answer:
        """Register a client, and answer with all of its metadata. §3."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.initial_access_token and token != self.initial_access_token:
            return Answer(401, {"error": "invalid_token"})
        if request.headers.get("content-type") != "application/json":
            return Answer(400, {"error": "invalid_client_metadata"})
        asked = json.loads(request.body)
        if not asked.get("redirect_uris"):
            return Answer(400, {"error": "invalid_redirect_uri"})
        self.registered.append(asked)
        server = self._oauth2
        server.client_id = f"registered-{secrets.token_hex(4)}"
        answer = {
            **asked,
            "client_id": server.client_id,
            "registration_access_token": f"canary_registration_{secrets.token_hex(16)}",
            "registration_client_uri": f"{self.url}/{server.client_id}",
        }
        server.public = asked["token_endpoint_auth_method"] == "none"
        if asked["token_endpoint_auth_method"].startswith("client_secret"):
            answer |= {
                "client_secret": server.client_secret,
                "client_secret_expires_at": self.client_secret_expires_at,
            }
        self.change_answer(answer)
        return Answer(201, answer)
