"""The leanest dance of ``baseline.py``, with one difference: it reads and stores what the package reads and stores.

It sends the SQL that one dance of the package's own has sent, with new values in it, and does nothing else that the
package does: no guard, no policy, no sealed column but the tokens, no instance of a model.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import uuid
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.contrib.auth.decorators import login_required
from django.core import signing
from django.db import connection
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from benchmarks.baseline import COOKIE, ask_for_tokens, authorization_url, remembered, seal

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDED = "BENCHMARK_RECORDED"
"""Environment variable: the file that the statements are in."""

PROVIDER, REQUEST, FIND, TAKE, STORE = range(5)
"""The statements of a first connect on PostgreSQL, besides the four that read session and user."""


def record(dance: Callable[[], None], file: Path) -> None:
    """Write down what ``dance``, a user's first, sends, with names in place of all that differs from dance to dance."""
    from django_oauth_flows.models import AuthorizationRequest, Connection, Token

    with CaptureQueriesContext(connection) as captured:
        dance()
    request, account, token = AuthorizationRequest.objects.get(), Connection.objects.get(), Token.objects.get()
    names = {
        request.pk.hex: "request", request.state_hash: "state_hash", str(request.user_id): "user",
        account.pk.hex: "connection", str(account.subject): "subject", token.pk.hex: "token",
        token.access_token.value: "access_token", token.refresh_token.value: "refresh_token",
    }  # fmt: skip
    statements = [query["sql"] for query in captured if "oauth_flows_" in query["sql"]]
    assert len(statements) == STORE + 1, statements
    for value, name in names.items():
        statements = [sql.replace(value, f"@{name}@") for sql in statements]
    file.write_text(json.dumps(statements), encoding="utf-8")


@lru_cache
def recorded() -> list[str]:
    statements: list[str] = json.loads(Path(os.environ[RECORDED]).read_text(encoding="utf-8"))
    return statements


def send(statement: int, **values: Any) -> None:
    """Send a recorded statement with these values; it finds or writes its one row."""
    sql = recorded()[statement]
    for name, value in values.items():
        sql = sql.replace(f"@{name}@", str(value))
    with connection.cursor() as cursor:
        cursor.execute(sql)
        assert cursor.rowcount == 1, sql


@login_required
@require_POST
def start(request: HttpRequest) -> HttpResponse:
    send(PROVIDER)
    state, verifier, pk = secrets.token_urlsafe(32), secrets.token_urlsafe(32), uuid.uuid4().hex
    send(REQUEST, request=pk, state_hash=hashlib.sha256(state.encode()).hexdigest(), user=request.user.pk)
    response = HttpResponseRedirect(authorization_url(state, verifier))
    value = signing.dumps([request.user.pk, state, verifier, pk])
    response.set_cookie(COOKIE, value, max_age=600, httponly=True, samesite="Lax")
    return response


@login_required
@require_GET
def callback(request: HttpRequest) -> HttpResponse:
    if (pending := remembered(request)) is None:
        return HttpResponseBadRequest("bad state")
    user_id, state, verifier, pk = pending
    send(FIND, state_hash=hashlib.sha256(state.encode()).hexdigest())
    send(TAKE, request=pk)
    token = ask_for_tokens(request.GET["code"], verifier)
    sealed = {name: seal(token[name], user_id) for name in ("access_token", "refresh_token")}
    new = {"connection": uuid.uuid4().hex, "token": uuid.uuid4().hex}
    send(STORE, request=pk, user=user_id, subject=token["sub"], **new, **sealed)
    response = HttpResponseRedirect("/")
    response.delete_cookie(COOKIE)
    return response


urlpatterns = [path("floor/start/", start), path("floor/callback/", callback)]
