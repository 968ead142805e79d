"""django-oauth-toolkit's authorization page: a box for each permission, RFC 9207, and answers that are posted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

from django import forms
from django.shortcuts import render
from django.utils.cache import add_never_cache_headers
from oauth2_provider import views
from oauth2_provider.exceptions import OAuthToolkitError
from oauth2_provider.forms import AllowForm
from oauth2_provider.scopes import get_scopes_backend
from oauth2_provider.settings import oauth2_settings
from oauthlib.common import add_params_to_uri
from oauthlib.openid.connect.core.exceptions import ConsentRequired

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.http import HttpRequest, HttpResponse

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"
)
"""Of the page that carries a code."""

ANSWER = frozenset({"code", "state", "iss", "error", "error_description", "error_uri"})
"""What the service may answer with."""


NO_CHOICE = frozenset({"openid"})
"""Without it there is no ID token, and the application has asked for one."""


class ConsentForm(AllowForm):
    """Lets a member grant less than the application asks for; the token response then says what (RFC 6749 §3.3)."""

    scope = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)

    def __init__(self, *args: Any, asked: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        described = get_scopes_backend().get_all_scopes()
        self._asked = [scope for scope in asked if scope in described]
        self.fields["scope"].choices = [(scope, described[scope]) for scope in self._asked if scope not in NO_CHOICE]
        self.granted_anyway = [described[scope] for scope in self._asked if scope in NO_CHOICE]

    def clean_scope(self) -> str:
        """Return what is ticked, in the order in which it was asked for."""
        granted = NO_CHOICE.union(self.cleaned_data["scope"])
        return " ".join(scope for scope in self._asked if scope in granted)

    def clean(self) -> dict[str, Any]:
        """Take a yes to nothing for a no."""
        cleaned: dict[str, Any] = super().clean()
        return {**cleaned, "allow": cleaned.get("allow") and bool(cleaned.get("scope"))}


class AuthorizationView(views.AuthorizationView):
    """Says who answers in refusals as well; a client that expects ``iss`` must reject an answer without (RFC 9207 §2.4)."""

    form_class = ConsentForm

    def validate_authorization_request(self, request: HttpRequest) -> tuple[list[str], dict[str, Any]]:
        """Refuse to answer without asking (``prompt=none``, OpenID Connect Core §3.1.2.6): members are asked each time."""
        scopes, credentials = super().validate_authorization_request(request)
        if request.user.is_authenticated and "none" in request.GET.get("prompt", "").split():
            refusal = ConsentRequired(state=credentials["state"])
            raise OAuthToolkitError(refusal, redirect_uri=credentials["redirect_uri"])
        return scopes, credentials

    def get_form_kwargs(self) -> dict[str, Any]:
        """Say what is asked for: the address does, when the page is opened and when it is answered."""
        asked = self.request.GET.get("scope", "").split() or get_scopes_backend().get_default_scopes()
        return {**super().get_form_kwargs(), "asked": dict.fromkeys(asked)}

    def get_initial(self) -> dict[str, Any]:
        """Tick every box."""
        initial: dict[str, Any] = super().get_initial()
        return {**initial, "scope": initial["scope"].split()}

    def form_invalid(self, form: ConsentForm) -> HttpResponse:
        """Refuse what no form of this page sends, such as a permission that was not asked for."""
        return render(self.request, "service/unknown_request.html", status=400)

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
