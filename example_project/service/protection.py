"""One gate before the API, two ways through: a Bearer token (RFC 6750) or an OAuth 1.0a signature (RFC 5849 §3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.http import HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.oauth2_backends import get_oauthlib_core

from example_project.service.oauth1.views import signed_token, unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

    from example_project.service.models import Member

MEMBER_SCOPES = frozenset({"profile", "notes:read", "notes:write", "photos:read", "photos:write"})
"""What an OAuth 1.0a token may do: the protocol has no scopes, so a member grants everything of theirs or nothing."""


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf the API is called, and what for. ``member`` is None for client credentials."""

    member: Member | None
    scopes: frozenset[str]


def protected(**scope_of: str) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponse]]:
    """Let a view's methods be called with the scope named for each, ``GET="notes:read"``; pass the view its caller."""

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
        @csrf_exempt
        @wraps(view)
        def gate(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            if request.method not in scope_of:
                return HttpResponse(status=405, headers={"Allow": ", ".join(scope_of)})
            caller, refusal = _caller(request)
            if caller is None:
                return refusal
            scope = scope_of[request.method]
            if scope not in caller.scopes or (caller.member is None and scope in MEMBER_SCOPES):
                return _refuse(403, "insufficient_scope", scope=scope)
            return view(request, caller, **kwargs)

        return gate

    return decorate


def _caller(request: HttpRequest) -> tuple[Caller | None, HttpResponse]:
    if request.headers.get("Authorization", "").lower().startswith("bearer "):
        valid, checked = get_oauthlib_core().verify_request(request, scopes=[])
        if not valid:
            return None, _refuse(401, "invalid_token")
        return Caller(checked.user, frozenset(checked.access_token.scope.split())), HttpResponse()
    token = signed_token(request)
    if token is not None:
        return Caller(token.member, MEMBER_SCOPES), HttpResponse()
    refusal = unauthorized()
    if "Authorization" not in request.headers:
        refusal.headers["WWW-Authenticate"] += ', Bearer realm="notebook"'
    return None, refusal


def _refuse(status: int, error: str, *, scope: str = "") -> HttpResponse:
    challenge = f'Bearer realm="notebook", error="{error}"' + (f', scope="{scope}"' if scope else "")
    return JsonResponse({"error": error}, status=status, headers={"WWW-Authenticate": challenge})
