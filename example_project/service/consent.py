"""django-oauth-toolkit's authorization page, with the one line that RFC 9207 asks for beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from oauth2_provider import views
from oauth2_provider.settings import oauth2_settings
from oauthlib.common import add_params_to_uri

if TYPE_CHECKING:
    from django.http import HttpResponse


class AuthorizationView(views.AuthorizationView):
    """Says who answers in refusals as well; a client that expects ``iss`` must reject an answer without (RFC 9207 §2.4)."""

    def redirect(self, redirect_to: str, application: Any) -> HttpResponse:
        """Add ``iss`` where it is missing."""
        if "iss" not in parse_qs(urlsplit(redirect_to).query):
            issuer = oauth2_settings.oauth2_authorization_server_issuer(self.request)
            redirect_to = add_params_to_uri(redirect_to, [("iss", issuer)])
        return super().redirect(redirect_to, application)
