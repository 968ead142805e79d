"""What django-oauth-toolkit's device authorization grant lacks: its own address, and oauthlib 4's part of it. RFC 8628."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import reverse
from oauth2_provider import views

if TYPE_CHECKING:
    from django.http import HttpRequest


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
