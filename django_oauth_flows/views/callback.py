"""The callback: take the parameters out of the request before anything can print it, then complete."""

from __future__ import annotations

import re
from functools import wraps
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from django.http import HttpResponse, QueryDict
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET

from django_oauth_flows import flows
from django_oauth_flows.exceptions import AuthorizationError
from django_oauth_flows.flows.binding import cookie_name
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.views.connecting import SeeOther, session_auth_hash, set_cookie
from django_oauth_flows.views.owning import connections_url
from django_oauth_flows.views.pages import page
from django_oauth_flows.views.shielding import shielded

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

    from django_oauth_flows.flows.values import Completion

MAX_PARAMETERS = 50

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def emptied(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Hand the query to ``view`` as the secret ``answer``, and leave nothing of it in the request.

    Whatever fails later, Django's error reports and the host's own logging print the request, not the code in it.
    """

    @csrf_exempt  # only so that a refused POST, too, is logged after its parameters were taken out
    @wraps(view)
    @sensitive_variables("answer")
    def empty(request: HttpRequest, slug: str) -> HttpResponse:
        answer = Secret(str(request.META.get("QUERY_STRING", "")))
        request.GET = QueryDict()
        request.META["QUERY_STRING"] = ""
        for name in ("REQUEST_URI", "RAW_URI"):
            if name in request.META:
                request.META[name] = request.path
        request.META.pop("HTTP_REFERER", None)  # the provider's page, perhaps with the state in its address
        if (scope := getattr(request, "scope", None)) is not None:
            scope["query_string"] = b""  # ASGI: servers write their access log from it
        return view(request, slug=slug, answer=answer)

    return empty


@emptied
@shielded
@require_GET
def callback(request: HttpRequest, *, slug: str, answer: Secret) -> HttpResponse:
    """Complete the authorization that the provider's redirect answers, and go on to a clean address."""
    if _is_prefetch(request):
        # The browser only guesses that the user will come; the code must wait for them.
        return HttpResponse(status=403)
    completion = flows.complete_authorization(
        slug,
        _parameters(answer),
        user=request.user,
        session_auth_hash=session_auth_hash(request),
        cookies=request.COOKIES,
    )
    return _go_on(request, completion)


def _go_on(request: HttpRequest, completion: Completion) -> HttpResponse:
    if completion.kind == "in_progress":
        return page(request, "in_progress.html", {}, status=202)
    if completion.cookie is not None:  # the user has to be asked first
        response = SeeOther(reverse("oauth_flows:parked", args=[completion.request_id]))
        set_cookie(request, response, completion.cookie)
        return response
    response = SeeOther(flows.safe_next_url(completion.next_url) or connections_url(request, completion.connection))
    response.delete_cookie(cookie_name(completion.request_id), path=request.path, samesite="Lax")
    return response


@sensitive_variables()
def _parameters(answer: Secret) -> list[tuple[str, str]]:
    """Return the parameters as sent, duplicates kept. A broken escape reads as U+FFFD, like other broken encodings."""
    query = _BROKEN_ESCAPE.sub("\N{REPLACEMENT CHARACTER}", answer.reveal())
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise AuthorizationError("The service's answer has too many parameters.", code="unexpected_response") from None


def _is_prefetch(request: HttpRequest) -> bool:
    purpose = request.headers.get("Sec-Purpose", "") or request.headers.get("Purpose", "")
    return "prefetch" in purpose.lower()
