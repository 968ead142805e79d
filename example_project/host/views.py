"""The site's pages. Each asks for a connection, then calls the service's API as its user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests
from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from django_oauth_flows import flows
from django_oauth_flows.decorators import connection_required
from django_oauth_flows.exceptions import Disconnected, MissingScopes, OAuthFlowsError, ReauthorizationRequiredError
from django_oauth_flows.models import Connection, Provider

if TYPE_CHECKING:
    from django.http import HttpRequest

OAUTH2, OAUTH1 = "notebook", "notebook-classic"
"""The slugs of the two providers that staff have set up in the admin: one service, two protocols."""

CHUNK = 64 * 1024


class NoteForm(forms.Form):
    """A new note."""

    text = forms.CharField(label="New note", max_length=2000)


class PhotoForm(forms.Form):
    """A photo to send."""

    photo = forms.FileField(label="Photo")


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Welcome the user and offer what their connections allow."""
    return render(request, "host/home.html")


@connection_required(OAUTH2, scopes=["notes:read", "notes:write"])
@require_http_methods(["GET", "POST"])
def notes(request: HttpRequest) -> HttpResponse:
    """Show the user's notes and add one, over OAuth 2."""
    return _notes(request, "notes")


@connection_required(OAUTH1)
@require_http_methods(["GET", "POST"])
def classic_notes(request: HttpRequest) -> HttpResponse:
    """Show the user's notes and add one, over OAuth 1.0a."""
    return _notes(request, "classic_notes")


@connection_required(OAUTH2, scopes=["photos:read", "photos:write"])
@require_http_methods(["GET", "POST"])
def photos(request: HttpRequest) -> HttpResponse:
    """Show the user's photos and add one, over OAuth 2."""
    return _photos(request, "photos", "photo")


@connection_required(OAUTH1)
@require_http_methods(["GET", "POST"])
def classic_photos(request: HttpRequest) -> HttpResponse:
    """Show the user's photos and add one, over OAuth 1.0a."""
    return _photos(request, "classic_photos", "classic_photo")


@connection_required(OAUTH2, scopes=["photos:read"])
@require_GET
def photo(request: HttpRequest, pk: int) -> HttpResponse:
    """Pass one photo through, over OAuth 2."""
    return _photo(request, pk)


@connection_required(OAUTH1)
@require_GET
def classic_photo(request: HttpRequest, pk: int) -> HttpResponse:
    """Pass one photo through, over OAuth 1.0a."""
    return _photo(request, pk)


@login_required
@require_safe
def totals(request: HttpRequest) -> HttpResponse:
    """Show the service's totals: the site asks as itself, with client credentials."""
    provider = get_object_or_404(Provider, slug="notebook-totals")
    try:
        with flows.client_session(provider) as http:
            answer = http.get("statistics/")
            answer.raise_for_status()
    except (OAuthFlowsError, requests.RequestException) as error:
        return _trouble(request, error)
    return render(request, "host/totals.html", {"totals": answer.json()})


def _notes(request: HttpRequest, page: str) -> HttpResponse:
    connection: Connection = request.oauth_connection
    form = NoteForm(request.POST if request.method == "POST" else None)
    try:
        with flows.session(connection, purpose="notes page") as http:
            if form.is_bound and form.is_valid():
                http.post("notes/", json={"text": form.cleaned_data["text"]}).raise_for_status()
                messages.success(request, "Note added.")
                return redirect(page)
            answer = http.get("notes/")
            answer.raise_for_status()
    except (OAuthFlowsError, requests.RequestException) as error:
        return _trouble(request, error)
    return render(request, "host/notes.html", {"connection": connection, "form": form, **answer.json()})


def _photos(request: HttpRequest, page: str, image: str) -> HttpResponse:
    connection: Connection = request.oauth_connection
    form = PhotoForm(*((request.POST, request.FILES) if request.method == "POST" else ()))
    try:
        with flows.session(connection, purpose="photos page") as http:
            if form.is_bound and form.is_valid():
                _send(http, form.cleaned_data["photo"])
                messages.success(request, "Photo added.")
                return redirect(page)
            answer = http.get("photos/")
            answer.raise_for_status()
    except (OAuthFlowsError, requests.RequestException) as error:
        return _trouble(request, error)
    return render(
        request, "host/photos.html", {"connection": connection, "form": form, "image": image, **answer.json()}
    )


def _send(http: requests.Session, upload: Any) -> None:
    headers = {"Content-Type": upload.content_type}
    http.post("photos/", params={"name": upload.name}, data=upload.file, headers=headers).raise_for_status()


def _photo(request: HttpRequest, pk: int) -> HttpResponse:
    connection: Connection = request.oauth_connection
    http = flows.session(connection, purpose="photos page")
    try:
        answer = http.get(f"photos/{pk}/", stream=True)
        answer.raise_for_status()
    except (OAuthFlowsError, requests.RequestException) as error:
        http.close()
        return _trouble(request, error)
    response = StreamingHttpResponse(
        answer.iter_content(CHUNK),
        content_type=answer.headers.get("Content-Type", "application/octet-stream"),
        headers={"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox", "Cache-Control": "private"},
    )
    response._resource_closers += [answer.close, http.close]  # noqa: SLF001 - Django's own hook has no public name
    return response


def _trouble(request: HttpRequest, error: Exception) -> HttpResponse:
    """Say what went wrong and what the user can do; ``error.hint`` would say it to a developer."""
    reconnect = isinstance(error, (ReauthorizationRequiredError, Disconnected, MissingScopes))
    context = {
        "problem": error.message if isinstance(error, OAuthFlowsError) else "The service did not answer as expected.",
        "next_step": "Connect the account again." if reconnect else "Try again in a minute.",
    }
    return render(request, "host/trouble.html", context, status=502)
