"""The leanest hand-written OAuth 2 dance we could write: what a busy team would do without a library.

Signed-cookie state, PKCE, one pooled HTTP client, one sealed upsert. No history, no replay answers, no one-use state, no
browser binding beyond the cookie, no address guard, no identity. It is the yardstick of ``dance.py``, at most 150 lines.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import requests
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core import signing
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.urls import path
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_GET, require_POST

COOKIE = "dance"
client = requests.Session()
client.trust_env = False
client.verify = settings.CA_BUNDLE or True
cipher = AESGCM(hashlib.sha256(settings.SECRET_KEY.encode()).digest())

TABLE = (
    "CREATE TABLE IF NOT EXISTS baseline_token (user_id integer PRIMARY KEY, access_token text NOT NULL,"
    " refresh_token text NOT NULL, expires_at timestamp NOT NULL)"
)
UPSERT = (
    "INSERT INTO baseline_token (user_id, access_token, refresh_token, expires_at) VALUES (%s, %s, %s, %s)"
    " ON CONFLICT (user_id) DO UPDATE SET access_token = excluded.access_token,"
    " refresh_token = excluded.refresh_token, expires_at = excluded.expires_at"
)


def seal(value: str, user_id: int) -> str:
    nonce = os.urandom(12)
    return base64.b64encode(nonce + cipher.encrypt(nonce, value.encode(), str(user_id).encode())).decode()


def authorization_url(state: str, verifier: str) -> str:
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = urlencode(
        {
            "response_type": "code",
            "client_id": settings.CLIENT_ID,
            "redirect_uri": settings.BASELINE_CALLBACK,
            "scope": "read",
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
    )
    return f"{settings.PROVIDER_URL}/authorize?{query}"


def remembered(request: HttpRequest) -> list[Any] | None:
    try:
        user_id, state, *more = signing.loads(request.COOKIES.get(COOKIE, ""), max_age=600)
    except signing.BadSignature:
        return None
    if user_id != request.user.pk or not constant_time_compare(state, request.GET.get("state", "")):
        return None
    return [user_id, state, *more]


def ask_for_tokens(code: str, verifier: str) -> dict[str, Any]:
    answer = client.post(
        f"{settings.PROVIDER_URL}/token",
        data={
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": settings.BASELINE_CALLBACK,
            "code_verifier": verifier,
        },
        auth=(settings.CLIENT_ID, settings.CLIENT_SECRET),
        timeout=10,
        allow_redirects=False,
    )
    answer.raise_for_status()
    token: dict[str, Any] = answer.json()
    return token


@login_required
@require_POST
def start(request: HttpRequest) -> HttpResponse:
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    response = HttpResponseRedirect(authorization_url(state, verifier))
    value = signing.dumps([request.user.pk, state, verifier])
    response.set_cookie(COOKIE, value, max_age=600, httponly=True, samesite="Lax")
    return response


@login_required
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    if (pending := remembered(request)) is None:
        return HttpResponseBadRequest("bad state")
    _, _, verifier = pending
    token = ask_for_tokens(request.GET["code"], verifier)
    expires_at = timezone.now() + timedelta(seconds=token["expires_in"])
    with connection.cursor() as cursor:
        sealed = [seal(token[name], request.user.pk) for name in ("access_token", "refresh_token")]
        cursor.execute(UPSERT, [request.user.pk, *sealed, expires_at])
    response = HttpResponseRedirect("/")
    response.delete_cookie(COOKIE)
    return response


urlpatterns = [path("baseline/start/", start), path("baseline/callback/", callback)]
