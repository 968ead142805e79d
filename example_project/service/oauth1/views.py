"""The four OAuth 1.0a endpoints: temporary credentials, the member's consent, token credentials, revocation."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST
from oauthlib.oauth1 import WebApplicationServer
from oauthlib.oauth1.rfc5849.errors import OAuth1Error

from example_project.service.models import TemporaryCredential, TokenCredential
from example_project.service.oauth1.validator import REALM, Validator

if TYPE_CHECKING:
    from django.http import HttpRequest

    Answer = tuple[dict[str, str], str | None, int]


@csrf_exempt
@require_POST
def temporary_credentials(request: HttpRequest) -> HttpResponse:
    """Answer a signed request with temporary credentials (RFC 5849 §2.1)."""
    return _respond(server_for(request).create_request_token_response(*signed_parts(request)))


@login_required
@require_http_methods(["GET", "POST"])
def authorize(request: HttpRequest) -> HttpResponse:
    """Ask the logged-in member, then send them back to the consumer (RFC 5849 §2.2)."""
    pending = TemporaryCredential.objects.select_related("consumer").filter(
        token=request.GET.get("oauth_token", ""), member=None
    )
    waiting = pending.first()
    if waiting is None or not waiting.is_live:
        return render(request, "service/unknown_request.html", status=400)
    if request.method == "GET":
        return render(request, "service/consent.html", {"application": waiting.consumer})
    if "allow" not in request.POST:
        pending.delete()
        # RFC 5849 does not say how to bring back a no; most servers send the refused token under this name.
        refused = urlencode({"denied": waiting.token})
        return HttpResponseRedirect(f"{waiting.callback}{'&' if '?' in waiting.callback else '?'}{refused}")
    server = WebApplicationServer(Validator(secure=request.is_secure(), member=request.user))
    try:
        headers, _, _ = server.create_authorization_response(request.build_absolute_uri(), http_method="GET")
    except OAuth1Error:
        return render(request, "service/unknown_request.html", status=400)
    return HttpResponseRedirect(headers["Location"])


@csrf_exempt
@require_POST
def token_credentials(request: HttpRequest) -> HttpResponse:
    """Exchange temporary credentials and verifier for token credentials (RFC 5849 §2.3)."""
    return _respond(server_for(request).create_access_token_response(*signed_parts(request)))


@csrf_exempt
@require_POST
def revoke(request: HttpRequest) -> HttpResponse:
    """Delete the very token credentials that signed this request; OAuth 1.0a itself has no word for it."""
    token = signed_token(request)
    if token is None:
        return unauthorized()
    token.delete()
    return HttpResponse(status=204)


def signed_token(request: HttpRequest) -> TokenCredential | None:
    """Return the token credentials that signed ``request``, None if there are none or the signature is wrong."""
    valid, signed = server_for(request).validate_protected_resource_request(*signed_parts(request), realms=[REALM])
    if not valid:
        return None
    return TokenCredential.objects.select_related("member").filter(token=signed.resource_owner_key).first()


def unauthorized() -> HttpResponse:
    """Return 401 and the scheme to use."""
    return HttpResponse(status=401, headers={"WWW-Authenticate": f'OAuth realm="{REALM}"'})


def server_for(request: HttpRequest) -> WebApplicationServer:
    """Build oauthlib's server for one request."""
    return WebApplicationServer(Validator(secure=request.is_secure()))


def signed_parts(request: HttpRequest) -> tuple[str, str, str, dict[str, str]]:
    """Return what a signature covers. Only a form body is signed (RFC 5849 §3.4.1.3.1); any other stays unread."""
    is_form = request.content_type == "application/x-www-form-urlencoded"
    body = request.body.decode("ascii", "replace") if is_form else ""
    return request.build_absolute_uri(), str(request.method), body, dict(request.headers)


def _respond(answer: Answer) -> HttpResponse:
    headers, body, status = answer
    if status == HTTPStatus.UNAUTHORIZED:
        return unauthorized()
    return HttpResponse(body or "", status=status, headers={**headers, "Cache-Control": "no-store"})
