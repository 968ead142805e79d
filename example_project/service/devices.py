"""What django-oauth-toolkit's device authorization grant lacks: its own address, and oauthlib 4's part of it. RFC 8628."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import reverse
from django.utils import timezone
from oauth2_provider import views
from oauth2_provider.models import DeviceGrant
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.oauth2.rfc8628.grant_types import DeviceCodeGrant

if TYPE_CHECKING:
    from django.http import HttpRequest
    from oauthlib.common import Request


class DeviceAuthorizationView(views.DeviceAuthorizationView):
    """Sends members to the page on which they enter the code: on this host and port, whichever they are."""

    def create_device_authorization_response(self, request: HttpRequest) -> tuple[dict[str, str], Any, int]:
        """Add the page's address, and the same with the code in it, to an answer that is no refusal."""
        headers, answer, status = super().create_device_authorization_response(request)
        if isinstance(answer, dict):
            answer.pop("scope", None)  # oauthlib's own, and unknown to the view
            page = request.build_absolute_uri(reverse("oauth2_provider:device"))
            answer |= {
                "verification_uri": page,
                "verification_uri_complete": f"{page}?user_code={answer['user_code']}",
            }
        return headers, answer, status


class Validator(OAuth2Validator):
    """Gives out the tokens of a device code once."""

    def validate_device_code(self, client_id: str, code: str, request: Request) -> str | None:
        """Take the grant of a code that a member has allowed to this client; the view has answered for all others."""
        allowed = DeviceGrant.objects.filter(client_id=client_id, device_code=code, status=DeviceGrant.AUTHORIZED)
        taken = allowed.filter(expires__gt=timezone.now()).update(status=DeviceGrant.EXPIRED)
        return DeviceCodeGrant.DEVICE_CODE_AUTHORIZED if taken else None
