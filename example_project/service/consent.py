"""django-oauth-toolkit's authorization page, with what RFC 9207 asks for beyond it, and answers that are posted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

from django.shortcuts import render
from django.utils.cache import add_never_cache_headers
from oauth2_provider import views
from oauth2_provider.settings import oauth2_settings
from oauthlib.common import add_params_to_uri

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
)
"""Of the page that carries a code."""

ANSWER = frozenset({"code", "state", "iss", "error", "error_description", "error_uri"})
"""What the service may answer with."""


class AuthorizationView(views.AuthorizationView):
    """Says who answers in refusals as well; a client that expects ``iss`` must reject an answer without (RFC 9207 §2.4)."""

    def redirect(self, redirect_to: str, application: Any) -> HttpResponse:
        """Add ``iss`` where it is missing; post the answer if the client has asked for that."""
        if "iss" not in parse_qs(urlsplit(redirect_to).query):
            issuer = oauth2_settings.oauth2_authorization_server_issuer(self.request)
            redirect_to = add_params_to_uri(redirect_to, [("iss", issuer)])
        answer = super().redirect(redirect_to, application)
        is_posted = self.request.GET.get("response_mode") == "form_post"
        return _posted(self.request, answer.url) if is_posted else answer


def _posted(request: HttpRequest, redirect_to: str) -> HttpResponse:
    """Answer with a form that sends itself, and has a button where scripts do not run. OAuth 2.0 Form Post Response Mode."""
    *where, query, _fragment = urlsplit(redirect_to)
    pairs = parse_qsl(query, keep_blank_values=True)
    own = urlencode([pair for pair in pairs if pair[0] not in ANSWER])  # the client's address may have a query
    context = {
        "redirect_uri": urlunsplit([*where, own, ""]),
        "parameters": [pair for pair in pairs if pair[0] in ANSWER],
    }
    response = render(request, "service/posted_answer.html", context)
    response["Content-Security-Policy"] = POLICY
    add_never_cache_headers(response)
    return response
