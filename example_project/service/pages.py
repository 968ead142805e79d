"""Pages for the service's own members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe
from oauth2_provider.models import Application

from example_project.service import access
from example_project.service.models import Consumer

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class TokenForm(forms.Form):
    """Which application a token is for."""

    application = forms.ChoiceField(label="For which application?")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        oauth2 = Application.objects.filter(authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE)
        self.fields["application"].choices = [
            *((f"oauth2-{row.pk}", f"{row.name} (OAuth 2)") for row in oauth2),
            *((f"oauth1-{row.pk}", f"{row.name} (OAuth 1.0a)") for row in Consumer.objects.all()),
        ]


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Say what this is, and show a member their things."""
    return render(request, "service/home.html")


@login_required
@require_http_methods(["GET", "POST"])
def applications(request: HttpRequest) -> HttpResponse:
    """List the applications with access to the member's things; end their access, or just let it expire."""
    if request.method == "POST":
        key = request.POST.get("application", "")
        if request.POST.get("action") == "expire":
            access.expire(request.user, key)
            messages.info(request, "Its access token has expired. It can still be renewed.")
        else:
            access.end(request.user, key)
            messages.info(request, "Access ended.")
        return redirect("applications")
    return render(request, "service/applications.html", {"applications": access.of_member(request.user)})


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """Give the member a token pair for a script of their own, shown this once."""
    form = TokenForm(*([request.POST] if request.method == "POST" else []))
    context: dict[str, Any] = {"form": form}
    if form.is_bound and form.is_valid():
        context["pairs"] = _issue(request, form.cleaned_data["application"])
    return render(request, "service/tokens.html", context)


def _issue(request: HttpRequest, choice: str) -> list[tuple[str, str]]:
    protocol, _, pk = choice.partition("-")
    if protocol == "oauth1":
        credential = access.issue_oauth1(request.user, Consumer.objects.get(pk=pk))
        return [("Token", credential.token), ("Token secret", credential.secret)]
    scopes = [scope for scope in settings.OAUTH2_PROVIDER["SCOPES"] if scope != "statistics"]
    issued, refresh = access.issue_oauth2(request.user, Application.objects.get(pk=pk), scopes)
    return [("Access token", issued), ("Refresh token", refresh)]
