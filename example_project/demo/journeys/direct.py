"""Call the service with a bare token, past the site: what somebody could do who had kept a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import requests
from requests_oauthlib import OAuth1

if TYPE_CHECKING:
    from requests.auth import AuthBase

    from django_oauth_flows.models import Connection
    from example_project.demo.stage import Stage


class Bearer(requests.auth.AuthBase):
    """Sends an OAuth 2 access token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        prepared.headers["Authorization"] = f"Bearer {self._token}"
        return prepared


def copy_of(stage: Stage, connection: Connection) -> AuthBase:
    """Return what authenticates a call as ``connection`` does now."""
    token = connection.token
    secret = token.open("token_secret")
    access = token.open("access_token").reveal()
    if secret is None:
        return Bearer(access)
    return OAuth1(stage.consumer.key, stage.consumer.secret, access, secret.reveal())


def status(stage: Stage, copy: AuthBase) -> int:
    """Return the status with which the service answers whoever calls with ``copy``."""
    with requests.Session() as http:
        http.trust_env = False
        return http.get(f"{stage.service.url}/api/me/", auth=copy, timeout=30).status_code
