"""What django-oauth-toolkit's device authorization grant lacks: its own address, oauthlib 4's part of it, leniency. RFC 8628."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.urls import reverse
from oauth2_provider import views
from oauth2_provider.views.device import DeviceGrantForm

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


class UserCodeForm(DeviceGrantForm):
    """Takes a code as people type it: in small letters, and grouped by blanks or hyphens (RFC 8628 §6.1)."""

    def clean_user_code(self) -> str:
        """Look for the code as it was given out."""
        typed = self.cleaned_data["user_code"]
        self.cleaned_data["user_code"] = "".join(letter for letter in typed.upper() if letter.isalnum())
        code: str = super().clean_user_code()
        return code


class DeviceUserCodeView(views.DeviceUserCodeView):
    """Asks for the code."""

    form_class = UserCodeForm
