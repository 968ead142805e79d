"""The callback: take the parameters out of the request before anything can print it, then complete."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from django.conf import settings
from django.http import HttpResponse, QueryDict, UnreadablePostError
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from django_oauth_flows import flows
from django_oauth_flows.departing import SeeOther, session_auth_hash, set_cookie
from django_oauth_flows.exceptions import AuthorizationError
from django_oauth_flows.flows.answers import HANDLE, keep_answer
from django_oauth_flows.flows.binding import cookie_name
from django_oauth_flows.protocol.authorization import read_state
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.views.pages import bare_page, page
from django_oauth_flows.views.popup import onward
from django_oauth_flows.views.shielding import shielded

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

    from django_oauth_flows.flows.values import Completion

MAX_PARAMETERS = 50

FORM = "application/x-www-form-urlencoded"

MAX_FORM = 64 * 1024
"""Bytes of a posted answer."""

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def emptied(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Hand the query, or query and form, to ``view`` as the secret ``answer``, and leave nothing of them in the request.

    Whatever fails later, Django's error reports and the host's own logging print the request, not the code in it.
    """

    @csrf_exempt  # a service's form has no token of ours; its answer waits for the browser that was bound at the start
    @wraps(view)
    @sensitive_variables("query")
    def empty(request: HttpRequest, slug: str) -> HttpResponse:
        query = Secret(str(request.META.get("QUERY_STRING", "")))
        request.GET = QueryDict()
        request.META["QUERY_STRING"] = ""
        for name in ("REQUEST_URI", "RAW_URI"):
            if name in request.META:
                request.META[name] = request.path
        request.META.pop("HTTP_REFERER", None)  # the provider's page, perhaps with the state in its address
        if (scope := getattr(request, "scope", None)) is not None:
            scope["query_string"] = b""  # ASGI: servers write their access log from it
        return view(request, slug=slug, answer=Secret("&".join(filter(None, (query.reveal(), _form(request))))))

    return empty


@emptied
@shielded
@require_http_methods(["GET", "POST"])
def callback(request: HttpRequest, *, slug: str, answer: Secret) -> HttpResponse:
    """Complete the authorization that the provider's redirect or form answers, and go on to a clean address."""
    if _is_prefetch(request):
        # The browser only guesses that the user will come; the code must wait for them.
        return HttpResponse(status=403)
    params = _parameters(answer)
    if request.method == "POST" or _lacks_strict_session(request, params):
        return _come_back(request, params, handle=keep_answer(slug, params, posted=request.method == "POST"))
    completion = flows.complete_authorization(
        slug,
        params,
        user=request.user,
        session_auth_hash=session_auth_hash(request),
        cookies=request.COOKIES,
    )
    return go_on(request, completion)


def _come_back(request: HttpRequest, params: list[tuple[str, str]], *, handle: Secret) -> HttpResponse:
    """Let the browser come again from a page of ours: then it sends the cookies that it keeps from other sites' requests.

    The page is bare. The host's ``base.html`` could set cookies, and what it says would be about nobody.
    """
    back = urlencode({"state": read_state(params).reveal(), HANDLE: handle.reveal()})
    response = bare_page("coming_back.html", {"url": f"{request.path}?{back}"})
    response["Refresh"] = f"0; url={request.path}?{back}"
    return response


def _lacks_strict_session(request: HttpRequest, params: list[tuple[str, str]]) -> bool:
    """Tell whether the browser may have a session that it has not sent, since the provider's page led it here."""
    is_strict = str(settings.SESSION_COOKIE_SAMESITE).lower() == "strict"
    return is_strict and not request.user.is_authenticated and all(name != HANDLE for name, _ in params)


def go_on(request: HttpRequest, completion: Completion) -> HttpResponse:
    """Lead on to the page that a completion calls for; the cookie of this page has served."""
    if completion.kind == "in_progress":
        return page(request, "in_progress.html", {}, status=202)
    if completion.cookie is not None:  # the user has to be asked first
        response = SeeOther(reverse("oauth_flows:parked", args=[completion.request_id]))
        set_cookie(request, response, completion.cookie)
        return response
    response = SeeOther(onward(request, completion))
    response.delete_cookie(cookie_name(completion.request_id), path=request.path, samesite="Lax")
    return response


@sensitive_variables()
def _form(request: HttpRequest) -> str:
    """Take the form out of the request; what is no form, or too long to be an answer, reads as a broken one."""
    if request.method != "POST":
        return ""
    length = str(request.META.get("CONTENT_LENGTH") or "")
    is_short = length.isascii() and length.isdigit() and int(length) <= MAX_FORM
    form = ""
    if is_short and request.content_type == FORM:
        with suppress(UnreadablePostError):  # the browser has gone; what there is of it is no answer
            form = request.body.decode("utf-8", "replace")
    request._body = b""  # noqa: SLF001 - error reports print it
    request.POST = QueryDict()
    return form


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
