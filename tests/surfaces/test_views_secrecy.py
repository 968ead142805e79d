"""What a crash or a hostile callback leaves behind: no code, no state, no forged line."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection as database
from django.http import HttpResponse

from django_oauth_flows.testing.factories import answer, begin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import Client
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


SEEN: list[Any] = []


def crash(get_response: Callable[[Any], HttpResponse]) -> Callable[[Any], HttpResponse]:
    """Keep the request, as an error reporter would."""

    def middleware(request: Any) -> HttpResponse:
        SEEN.append(request)
        return get_response(request)

    return middleware


@pytest.mark.security("L02")
@pytest.mark.parametrize("debug", [True, False])
def test_a_crash_in_the_callback_shows_a_number_and_keeps_no_code(
    debug: bool,
    browser: Client,
    provider: Provider,
    fake: FakeProvider,
    settings: SettingsWrapper,
    caplog: pytest.LogCaptureFixture,
    mailoutbox: list[Any],
) -> None:
    settings.DEBUG = debug
    settings.ADMINS = [("Root", "root@example.com")]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.crash"]
    SEEN.clear()
    callback = begin(browser, provider)
    code = re.findall(r"code=(\w+)", callback)[0]
    state = re.findall(r"state=([\w-]+)", callback)[0]

    def broken(execute: Any, sql: str, *args: Any) -> Any:
        if "oauth_flows_authorizationrequest" in sql:
            raise ZeroDivisionError(code)  # nobody expects it, and it carries the code
        return execute(sql, *args)

    path_, _, query = callback.partition("?")
    with database.execute_wrapper(broken):
        response = browser.get(
            path_, QUERY_STRING=query, RAW_URI=callback, REQUEST_URI=callback, HTTP_REFERER=f"{fake.url}/?state={state}"
        )
    assert response.status_code == 500
    assert b"internal_error" in response.content
    (record,) = [r for r in caplog.records if r.name == "oauth_flows"]
    assert "ZeroDivisionError" in record.getMessage()
    assert "complete_authorization" in record.getMessage()
    request = SEEN[-1]
    held = f"{request.GET!r} {request.META!r} {request.get_full_path()} {request.build_absolute_uri()}"
    said = f"{response.content!r} {[vars(r) for r in caplog.records]} {[str(m.message()) for m in mailoutbox]}"
    for secret in (code, state):
        assert secret not in held
        assert secret not in said


@pytest.mark.security("L02")
def test_an_asgi_request_is_emptied_too(provider: Provider) -> None:
    from django.core.handlers.asgi import ASGIRequest

    from django_oauth_flows.views.callback import emptied

    scope: dict[str, Any] = {
        "type": "http", "method": "GET", "path": "/oauth/callback/fake/", "query_string": b"code=SECRET", "headers": [],
    }  # fmt: skip
    request = ASGIRequest(scope, None)  # type: ignore[arg-type]
    got: list[str] = []

    def view(request: Any, *, slug: str, answer: Any) -> HttpResponse:
        got.append(answer.reveal())
        return HttpResponse()

    emptied(view)(request, "fake")
    assert got == ["code=SECRET"]
    assert "SECRET" not in f"{scope} {request.META} {request.GET} {request.get_full_path()}"


@pytest.mark.security("B25")
def test_a_sites_own_frame_finds_nothing_of_a_failed_callback_to_print(
    browser: Client, provider: Provider, fake: FakeProvider, settings: SettingsWrapper, tmp_path: Path
) -> None:
    (tmp_path / "base.html").write_text(
        "<title>{% block title %}{% endblock %}</title><!-- {{ request.get_full_path }} {{ request.build_absolute_uri }}"
        " {{ request.GET }} {{ request.META }} -->{% block content %}{% endblock %}"
    )
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    callback = begin(browser, provider)
    provider.token_endpoint = f"{fake.url}/nowhere"
    provider.save()
    refused = answer(browser, callback)
    assert refused.status_code == 400
    assert refused["Referrer-Policy"] == "no-referrer"
    assert refused["Cache-Control"] == "no-store, private"
    html = refused.content.decode()
    assert "<!-- /oauth/callback/fake/ http://testserver/oauth/callback/fake/ " in html
    for secret in re.findall(r"(?:code|state)=([\w-]+)", callback):
        assert secret not in html


@pytest.mark.security("L04")
@pytest.mark.parametrize("forged", ["%0aWARNING%20oauth_flows%20forged", "%1b[31mred", "%0d%0a%0d%0a", "x" * 100_000])
def test_nothing_of_a_callback_can_write_a_line_into_the_log(
    forged: str, browser: Client, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    callback = begin(browser, provider)
    state = re.findall(r"state=([\w-]+)", callback)[0]
    for query in (f"state={forged}", f"state={state}&code={forged}", f"{forged}&state={state}"):
        browser.get(f"/oauth/callback/fake/?{query}")
    browser.get(f"/oauth/callback/{forged[:2000]}/")
    for record in caplog.records:
        if record.name.startswith(("oauth_flows", "django.request")):
            line = record.getMessage()
            assert "\n" not in line
            assert "\x1b" not in line
            assert len(line) < 3000
    ours = [record for record in caplog.records if record.name == "oauth_flows"]
    assert ours
    for record in ours:
        assert re.fullmatch(r"fake|x{64}", record.provider)  # type: ignore[attr-defined]
        assert "forged" not in str(vars(record))


@pytest.mark.security("B02")
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("&" * 100_000, "unexpected_response"),
        ("a=1&" * 60 + "state=x", "unexpected_response"),
        ("%" * 100_000, "state_missing"),
        ("state=" + "%41" * 30_000, "state_unknown"),
    ],
)
def test_an_overlong_or_overfull_query_is_refused_cheaply(
    query: str, code: str, browser: Client, provider: Provider
) -> None:
    browser.get(f"/oauth/callback/fake/?{query}")
    started = time.process_time()
    response = browser.get(f"/oauth/callback/fake/?{query}")
    assert time.process_time() - started < 0.1
    assert response.status_code == 400
    assert code.encode() in response.content
