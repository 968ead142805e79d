"""Answers oauthlib's questions for the OAuth 2 server: django-oauth-toolkit's validator, with some answers of the service's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone
from oauth2_provider.models import DeviceGrant
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.oauth2.rfc8628.grant_types import DeviceCodeGrant

from example_project.service.clock import CLOCK

if TYPE_CHECKING:
    from datetime import datetime

    from oauthlib.common import Request


class Validator(OAuth2Validator):
    """Gives out the tokens of a device code once, and puts the service's time on ID tokens."""

    def validate_device_code(self, client_id: str, code: str, request: Request) -> str | None:
        """Take the grant of a code that a member has allowed to this client; the view has answered for all others."""
        allowed = DeviceGrant.objects.filter(client_id=client_id, device_code=code, status=DeviceGrant.AUTHORIZED)
        taken = allowed.filter(expires__gt=timezone.now()).update(status=DeviceGrant.EXPIRED)
        return DeviceCodeGrant.DEVICE_CODE_AUTHORIZED if taken else None

    def validate_silent_login(self, request: Request) -> bool:
        """Leave ``prompt=none`` to the authorization page: it knows whether anybody is logged in, oauthlib does not."""
        return True

    def validate_silent_authorization(self, request: Request) -> bool:
        """Leave ``prompt=none`` to the authorization page."""
        return True

    def get_id_token_dictionary(
        self, token: dict[str, Any], token_handler: Any, request: Request
    ) -> tuple[dict[str, Any], datetime]:
        """Return the claims with the times that the clock shows."""
        claims, expires = super().get_id_token_dictionary(token, token_handler, request)
        shown = {name: claims[name] + CLOCK.fast_by for name in ("auth_time", "exp")}
        return {**claims, **shown, "iat": CLOCK.now()}, expires
