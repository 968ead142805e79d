"""Delegated calls: a front end calls the provider through us, sees no token, and gains nothing else by it."""

from __future__ import annotations

import json
import re
import time
import tracemalloc
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from rest_framework.settings import api_settings

from django_oauth_flows.flows import delegating
from django_oauth_flows.models import Connection, ConnectionEvent, Provider, Token
from django_oauth_flows.protocol.delegation import Mask, spellings
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Answer, Drop, Endless
from django_oauth_flows.testing.factories import make_connection, shift_expiry
from tests.surfaces.test_api import TokenAuthentication, problem, with_authentication

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django.fixtures import DjangoAssertNumQueries, SettingsWrapper

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db

RULES = ["GET,POST,PUT,PATCH,DELETE /echo", "GET /bytes/*", "GET /files/**", "GET /page"]


@pytest.fixture(autouse=True)
def _unthrottled() -> None:
    cache.clear()


@pytest.fixture
def connection(connection: Connection) -> Connection:
    """Return a connection of whose provider something may be called."""
    Provider.objects.update(delegated_calls=RULES)
    connection.provider.refresh_from_db()
    return connection


def call_url(connection: Connection, path: str) -> str:
    """Return the address of a call; ``path`` as it stands in the address."""
    return reverse("oauth_flows_api:call", args=[connection.pk, "x"]).removesuffix("x") + path


def text_of(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


# What it is for


def test_a_front_end_calls_the_provider_and_sees_no_token(
    browser: Client, connection: Connection, fake: FakeProvider
) -> None:
    answer = browser.get(call_url(connection, "echo?since=1&q=a%20b"), headers={"Accept": "application/vnd.x+json"})
    assert answer.status_code == 200
    assert answer["OAuth-Flows-Source"] == "provider"
    assert answer["Content-Type"] == "application/json"
    said = json.loads(text_of(answer))
    assert (said["method"], said["path"]) == ("GET", "/api/echo")
    assert said["headers"]["accept"] == "application/vnd.x+json"
    (request,) = fake.received("api")
    assert request.query == [("since", "1"), ("q", "a b")]
    token = connection.token.open("access_token")
    assert token is not None
    assert request.headers["authorization"] == f"Bearer {token.reveal()}"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_body_goes_through_as_it_is(browser: Client, connection: Connection, fake: FakeProvider, method: str) -> None:
    body = b'{"a":\n 1, "a": 2}' + b" " * 100_000
    answer = browser.generic(method, call_url(connection, "echo"), body, "application/json")
    assert json.loads(text_of(answer))["size"] == len(body)
    (request,) = fake.received("api")
    assert (request.method, request.body, request.headers["content-type"]) == (method, body, "application/json")


def test_a_form_goes_through_as_it_is_with_the_sessions_csrf_token(
    user: User, connection: Connection, fake: FakeProvider
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    client.get("/accounts/login/")
    headers = {"X-CSRFToken": client.cookies["csrftoken"].value}
    for body, kind in ((b"to=+1&text=hello", "application/x-www-form-urlencoded"), (b"{}", "application/json")):
        answer = client.generic("POST", call_url(connection, "echo"), body, kind, headers=headers)
        assert answer.status_code == 200
        assert fake.received("api")[-1].body == body


@pytest.mark.parametrize("who", ["oauth1", "oauth2"])
def test_both_protocols_are_called(
    browser: Client, connection: Connection, oauth1_connection: Connection, who: str
) -> None:
    Provider.objects.update(delegated_calls=RULES)
    chosen = oauth1_connection if who == "oauth1" else connection
    assert browser.get(call_url(chosen, "echo?a=1")).status_code == 200


def test_an_expired_token_is_refreshed_on_the_way(browser: Client, connection: Connection, fake: FakeProvider) -> None:
    shift_expiry(connection, timedelta(minutes=-1))
    assert browser.get(call_url(connection, "echo")).status_code == 200
    assert (fake.count("token"), fake.count("api")) == (1, 1)


def test_the_use_is_told_in_the_history(browser: Client, connection: Connection) -> None:
    from django_oauth_flows.flows import usage

    browser.get(call_url(connection, "echo"))
    usage.flush()
    connection.refresh_from_db()
    assert connection.last_purpose == "delegated call"


def test_a_call_is_answered_from_the_database_in_four_queries(
    browser: Client, connection: Connection, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    browser.get(call_url(connection, "echo"))
    with django_assert_num_queries(4):  # session, user, the connection for the policy, the token
        browser.get(call_url(connection, "echo"))


def test_head_asks_for_less_than_get(browser: Client, connection: Connection, fake: FakeProvider) -> None:
    fake.script("api", Answer(200, b"", {"Content-Length": "0", "ETag": '"1"'}))
    answer = browser.head(call_url(connection, "echo"))
    assert (answer.status_code, answer["ETag"]) == (200, '"1"')
    assert fake.received("api")[0].method == "HEAD"


@pytest.mark.parametrize("status", [201, 204, 304, 400, 403, 404, 409, 422, 429, 500, 503])
def test_what_the_provider_says_is_passed_on_with_its_status(
    browser: Client, connection: Connection, fake: FakeProvider, status: int
) -> None:
    body = b"" if status in (204, 304) else b'{"code":"not_found"}'
    fake.script("api", Answer(status, body, {"Content-Type": "application/problem+json", "Retry-After": "7"}))
    answer = browser.get(call_url(connection, "echo"))
    assert (answer.status_code, text_of(answer), answer["Retry-After"]) == (status, body, "7")
    assert answer["OAuth-Flows-Source"] == "provider", "ours have no such header, so nobody takes this for ours"


# What may be called


def test_nothing_may_be_called_unless_staff_list_it(
    browser: Client, connection: Connection, fake: FakeProvider
) -> None:
    Provider.objects.update(delegated_calls=[])
    problem(browser.get(call_url(connection, "echo")), 403, "call_not_allowed")
    Provider.objects.update(delegated_calls=["POST /echo", "GET /echo/*", "GET /ech", "GET /Echo"])
    problem(browser.get(call_url(connection, "echo")), 403, "call_not_allowed")
    assert fake.count("api") == 0
    assert Provider._meta.get_field("delegated_calls").get_default() == []


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_do_not_exist(browser: Client, connection: Connection, fake: FakeProvider, method: str) -> None:
    problem(browser.generic(method, call_url(connection, "echo")), 405, "method_not_allowed")
    assert fake.count("api") == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("bytes/7", 200),
        ("bytes/", 403),
        ("bytes", 403),
        ("bytes/7/8", 403),
        ("bytes/7%2F8", 403),
        ("files/a/b/c", 200),
        ("files/", 200),
        ("files", 403),
        ("filesystem", 403),
        ("echo/", 403),
        ("ECHO", 403),
    ],
)
def test_a_rule_means_steps_of_a_path(
    browser: Client, connection: Connection, fake: FakeProvider, path: str, status: int
) -> None:
    answer = browser.get(call_url(connection, path))
    assert answer.status_code == status
    if status == 403:
        problem(answer, 403, "call_not_allowed")
        assert fake.count("api") == 0


HOSTILE_PATHS = [
    "..",
    "files/..",
    "files/../admin",
    "files/%2e%2e/admin",
    "files/.%2e/admin",
    "files/%2E%2E%2Fadmin",
    "files/..%2Fadmin",
    "files/a/../../admin",
    "files/./x",
    "files/.../x",
    "files/..;/admin",
    "files/a;b=1/x",
    "files/..%5Cadmin",
    "files\\..\\admin",
    "files/%252e%252e/admin",
    "files/a%252Fb",
    "files/a%253Fb",
    "files/%00",
    "files/a%0d%0aX-Evil: 1",
    "files/a%09b",
    "files/a%3Fadmin=1",
    "files/a%23b",
    "files/%EF%BC%8E%EF%BC%8E/admin",
    "files/a%EF%BC%8Fb",
    "files/%E2%80%A5/x",
    "files/%e2%80%ae/x",
    "files/.. /x",
    "files//x",
    "/evil.example/x",
    "//evil.example/x",
    "%2F%2Fevil.example/x",
    "%2Fevil.example",
    "https://evil.example/x",
    "https:%2F%2Fevil.example/x",
    "http:%5C%5Cevil.example",
    "%40evil.example/x/..",
    "files/" + "a" * 3000,
]


@pytest.mark.security("H08", "P05")
@pytest.mark.parametrize("path", HOSTILE_PATHS, ids=range(len(HOSTILE_PATHS)))
def test_a_path_that_could_lead_elsewhere_is_refused(
    browser: Client, connection: Connection, fake: FakeProvider, path: str
) -> None:
    Provider.objects.update(delegated_calls=["GET /**"])
    answer = browser.get(call_url(connection, path))
    if "%0a" in path:
        problem(answer, 404, "not_found")  # no address has line breaks
    else:
        problem(answer, 403, "path_not_allowed")
    assert fake.requests == []


@pytest.mark.parametrize(
    "path", ["@evil.example/x", "evil.example:443", "https:", "a b", "ä/ö", "Sheet1!A1:B2", "x.json", ".well-known/x"]
)
def test_an_odd_but_harmless_path_stays_below_the_api(
    browser: Client, connection: Connection, fake: FakeProvider, path: str
) -> None:
    Provider.objects.update(delegated_calls=["GET /**"])
    assert browser.get(call_url(connection, quote(path, safe="/"))).status_code == 200
    (request,) = fake.received("api")
    assert request.url.startswith(f"{fake.url}/api/")
    assert request.headers["host"] == fake.url.removeprefix("http://")
    assert quote(path, safe="/~!$&'()*+,=:@") == request.url.removeprefix(f"{fake.url}/api/")


HOSTILE_QUERIES = [
    "_method=DELETE",
    "method=delete",
    "%5Fmethod=PATCH",
    "a=1&x-http-method-override=PUT",
    "X-HTTP-Method=POST",
    "access_token=stolen",
    ".method=DELETE",
    "_method%00=DELETE",
    "[_method]=DELETE",
    "a=1;_method=DELETE",
    "ACCESS_TOKEN=x",
    "oauth_token=x",
    "oauth_signature=x",
    "a=\xe4",
    "a=" + "b" * 5000,
    "&".join(f"a{n}=1" for n in range(300)),
]


@pytest.mark.security("P05")
@pytest.mark.parametrize("query", HOSTILE_QUERIES, ids=range(len(HOSTILE_QUERIES)))
def test_a_query_that_would_make_another_call_of_it_is_refused(
    browser: Client, connection: Connection, fake: FakeProvider, query: str
) -> None:
    problem(browser.get(call_url(connection, "echo"), QUERY_STRING=query), 403, "query_not_allowed")
    if query.isascii() and len(query) < 100:
        form = {"data": query, "content_type": "application/x-www-form-urlencoded"}
        problem(browser.post(call_url(connection, "echo"), **form), 403, "query_not_allowed")
    assert fake.requests == []


def test_a_word_that_is_no_method_is_a_parameter_like_any_other(browser: Client, connection: Connection) -> None:
    assert browser.get(call_url(connection, "echo?method=flickr.test&token=x")).status_code == 200


@pytest.mark.parametrize(
    "rule",
    ["", "GET", "/x", "GET x", "GET /x y", "FETCH /x", "GET, /x", "GET /a/../b", "GET /**/a", "GET //a", "GET /a?b", "GET /%2e",
     7, None, ["GET /x"], "CONNECT /x", "get /x", "GET https://evil.example/"],
)  # fmt: skip
def test_a_rule_that_could_be_misread_is_not_saved(provider: Provider, rule: Any) -> None:
    provider.delegated_calls = [rule]
    with pytest.raises(ValidationError) as caught:
        provider.clean()
    assert caught.value.message_dict.keys() == {"delegated_calls"}


def test_rules_need_a_place_below_which_they_are() -> None:
    provider = Provider(slug="x", client_id="x", token_endpoint="https://as.example/t", delegated_calls=["GET /x"])
    with pytest.raises(ValidationError) as caught:
        provider.clean()
    assert "api_base_url" in caught.value.message_dict
    provider.api_base_url = "https://api.example/v2"
    provider.clean()
    provider.delegated_calls = {"GET": "/x"}
    with pytest.raises(ValidationError):
        provider.clean()


# Who may call


def viewers_only(user: Any, action: str, target: Any) -> bool:
    return action == "view"


def test_who_may_only_look_may_not_call(
    browser: Client, connection: Connection, fake: FakeProvider, settings: SettingsWrapper
) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "OWNER_POLICY": f"{__name__}.viewers_only"}
    problem(browser.get(call_url(connection, "echo")), 403, "permission_denied")
    assert fake.requests == []


@pytest.mark.security("P01", "D02")
def test_a_strangers_connection_does_not_exist(
    connection: Connection, make_user: Callable[..., User], client_for: Callable[[User], Client], fake: FakeProvider
) -> None:
    stranger = make_user("stranger")
    stranger.groups.add(Group.objects.create(name="team"))
    problem(client_for(stranger).get(call_url(connection, "echo")), 404, "not_found")
    problem(Client().get(call_url(connection, "echo")), 403, "not_authenticated")
    assert fake.requests == []


@pytest.mark.security("P05", "D01")
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_session_needs_the_csrf_token_for_an_unsafe_call(
    user: User, connection: Connection, fake: FakeProvider, method: str
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain"):
        answer = client.generic(method, call_url(connection, "echo"), b"{}", kind)
        problem(answer, 403, "permission_denied")
    assert fake.requests == []


@pytest.mark.security("P05")
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "style"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "serviceworker"},
    ],
)
def test_no_page_makes_a_browser_call_or_render_with_the_users_session(
    browser: Client, connection: Connection, fake: FakeProvider, headers: dict[str, str]
) -> None:
    problem(browser.get(call_url(connection, "echo"), headers=headers), 403, "permission_denied")
    assert fake.requests == []
    fine = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"}
    assert browser.get(call_url(connection, "echo"), headers=fine).status_code == 200


def test_a_client_without_cookies_may_come_from_anywhere(
    connection: Connection, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_authentication(monkeypatch, TokenAuthentication)
    headers = {"Authorization": f"User {user.username}", "Sec-Fetch-Site": "cross-site"}
    answer = Client().post(call_url(connection, "echo"), {}, content_type="application/json", headers=headers)
    assert answer.status_code == 200


@pytest.mark.security("P07")
def test_calls_are_throttled_unless_the_site_says_otherwise(
    browser: Client, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = {browser.get(call_url(connection, "nothing")).status_code for _ in range(120)}
    assert statuses == {403}
    refused = browser.get(call_url(connection, "echo"))
    problem(refused, 429, "throttled")
    assert int(refused["Retry-After"]) <= 60
    monkeypatch.setattr(api_settings, "DEFAULT_THROTTLE_RATES", {"oauth_flows_call": None})
    assert browser.get(call_url(connection, "echo")).status_code == 200


# What goes out


@pytest.mark.security("P05", "H10")
def test_only_a_few_headers_reach_the_provider(
    browser: Client, connection: Connection, fake: FakeProvider, user: User
) -> None:
    headers = {
        "Authorization": "Bearer mine", "X-CSRFToken": "t", "X-Forwarded-For": "1.2.3.4", "Referer": "http://testserver/x",
        "Origin": "http://testserver", "X-HTTP-Method-Override": "DELETE", "Connection": "keep-alive, Accept", "TE": "trailers",
        "Upgrade": "h2c", "Proxy-Authorization": "Basic x", "X-Evil": "1", "Expect": "100-continue", "Range": "bytes=0-1",
        "Accept-Encoding": "gzip, br", "If-None-Match": '"1"', "Accept-Language": "de", "Prefer": "return=minimal", "Idempotency-Key": "k",
    }  # fmt: skip
    browser.cookies["secret"] = "1"
    browser.post(call_url(connection, "echo"), {}, content_type="application/json", headers=headers)
    (request,) = fake.received("api")
    assert request.headers.keys() <= {
        "host", "user-agent", "accept-encoding", "accept", "connection", "content-length", "content-type", "authorization",
        "if-none-match", "accept-language", "prefer", "idempotency-key",
    }  # fmt: skip
    assert request.headers["authorization"] != "Bearer mine"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["connection"] == "keep-alive"
    assert (request.headers["if-none-match"], request.headers["accept-language"]) == ('"1"', "de")


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\x00", "\xe4", "x" * 5000])
@pytest.mark.security("H10")
def test_an_odd_header_is_left_out(browser: Client, connection: Connection, fake: FakeProvider, value: str) -> None:
    assert browser.get(call_url(connection, "echo"), headers={"Prefer": value}).status_code == 200
    assert "prefer" not in fake.received("api")[0].headers
    assert "x-evil" not in fake.received("api")[0].headers


def test_the_providers_own_headers_win_over_an_accept_that_says_nothing(
    browser: Client, connection: Connection, fake: FakeProvider
) -> None:
    Provider.objects.update(dialect={"api_headers": {"Accept": "application/vnd.api+json", "X-Version": "7"}})
    browser.get(call_url(connection, "echo"), headers={"Accept": "*/*"})
    assert fake.received("api")[0].headers["accept"] == "application/vnd.api+json"
    assert fake.received("api")[0].headers["x-version"] == "7"


@pytest.mark.security("P04")
def test_a_body_that_is_too_large_is_refused_before_it_is_read(
    browser: Client, connection: Connection, fake: FakeProvider
) -> None:
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        answer = browser.post(call_url(connection, "echo"), b"x" * (delegating.MAX_SENT + 1), content_type=kind)
        problem(answer, 413, "request_too_large")
    problem(browser.post(call_url(connection, "echo"), {"file": "x"}), 415, "unsupported_media_type")
    assert fake.requests == []


# What comes back

PAGES = [
    ("text/html", b"<script>alert(document.domain)</script>"),
    ("text/html; charset=utf-7", b"+ADw-script+AD4-"),
    ("TEXT/HTML", b"<script>"),
    ("application/xhtml+xml", b"<html/>"),
    ("image/svg+xml", b"<svg onload='alert(1)'/>"),
    ("text/xml", b"<x/>"),
    ("application/javascript", b"alert(1)"),
    ("text/javascript", b"alert(1)"),
    ("text/css", b"a{}"),
    ("application/x-shockwave-flash", b"x"),
    ("multipart/x-mixed-replace; boundary=x", b"--x"),
    ("text/plain\x0b<", b"x"),
    ("", b"<script>"),
    ("nonsense", b"<script>"),
]


@pytest.mark.security("M06", "P05")
@pytest.mark.parametrize(("kind", "body"), PAGES, ids=range(len(PAGES)))
def test_a_hostile_page_is_passed_on_as_bytes_that_no_browser_runs(
    browser: Client, connection: Connection, fake: FakeProvider, kind: str, body: bytes
) -> None:
    fake.script("api", Answer(200, body, {"Content-Type": kind}))
    answer = browser.get(call_url(connection, "page"))
    assert text_of(answer) == body
    assert answer["Content-Type"] == "application/octet-stream"
    assert_isolated(answer)


@pytest.mark.parametrize(
    "kind",
    [
        "application/json; charset=utf-8",
        "text/plain",
        "image/png",
        "application/pdf",
        "text/csv",
        "application/vnd.api+json",
    ],
)
def test_data_keeps_its_type_and_is_isolated_all_the_same(
    browser: Client, connection: Connection, fake: FakeProvider, kind: str
) -> None:
    fake.script("api", Answer(200, b"data", {"Content-Type": kind}))
    answer = browser.get(call_url(connection, "page"))
    assert answer["Content-Type"] == kind
    assert_isolated(answer)


def assert_isolated(answer: Any) -> None:
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["Cache-Control"] == "private, no-store"


@pytest.mark.security("P05", "M06")
def test_only_a_few_headers_come_back(browser: Client, connection: Connection, fake: FakeProvider) -> None:
    hostile = {
        "Set-Cookie": "sessionid=evil", "Set-Cookie2": "x=1", "Authorization": "Bearer x", "WWW-Authenticate": "Basic realm=x",
        "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true", "Location": "https://evil.example/",
        "Refresh": "0; url=https://evil.example/", "Clear-Site-Data": '"*"', "Service-Worker-Allowed": "/", "SourceMap": "/x",
        "Content-Security-Policy": "default-src *", "X-Frame-Options": "ALLOWALL", "Strict-Transport-Security": "max-age=0",
        "Content-Disposition": "attachment; filename=x.html", "X-Evil": "1", "Public-Key-Pins": "x", "Alt-Svc": "h2=evil:443",
        "Keep-Alive": "timeout=5", "Trailer": "X", "Upgrade": "h2c", "Proxy-Authenticate": "Basic", "Server": "evil",
        "Cache-Control": "public, max-age=31536000", "Vary": "*", "OAuth-Flows-Source": "us", "Report-To": "x", "NEL": "x",
        "ETag": '"1"', "Link": '<https://api.example/?page=2>; rel="next"', "X-RateLimit-Remaining": "7", "RateLimit": "x",
    }  # fmt: skip
    fake.script("api", Answer(200, b"{}", {"Content-Type": "application/json", **hostile}))
    answer = browser.get(call_url(connection, "echo"))
    ours = {
        "content-type", "content-length", "cache-control", "vary", "content-security-policy", "cross-origin-resource-policy",
        "cross-origin-opener-policy", "referrer-policy", "x-content-type-options", "x-frame-options", "oauth-flows-source", "allow", "content-language",
    }  # fmt: skip
    theirs = {name.lower() for name in answer.headers} - ours
    assert theirs == {"etag", "link", "x-ratelimit-remaining", "ratelimit"}
    assert not answer.cookies
    assert_isolated(answer)
    assert answer["OAuth-Flows-Source"] == "provider"
    assert answer["Vary"] != "*"


@pytest.mark.security("P02")
def test_a_token_that_the_provider_repeats_is_blacked_out(
    browser: Client, connection: Connection, fake: FakeProvider
) -> None:
    token = connection.token.open("access_token")
    assert token is not None
    secret = token.reveal()
    next_page = f"https://api.example/?access_token={secret}&after=1"
    body = json.dumps({"data": "x" * 70_000, "paging": {"next": next_page}, "again": [secret, quote(secret)]}).encode()
    headers = {"Content-Type": "application/json", "Link": f"<{next_page}>", "X-Request-Id": "1"}
    fake.script("api", Answer(200, body, headers))
    answer = browser.get(call_url(connection, "echo"))
    said = text_of(answer)
    assert secret.encode() not in said
    assert len(said) == len(body) == int(answer["Content-Length"])
    assert json.loads(said)["paging"]["next"] == f"https://api.example/?access_token={'*' * len(secret)}&after=1"
    assert not answer.has_header("Link")
    assert answer["X-Request-Id"] == "1"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.security("H09")
def test_no_redirect_is_followed_or_passed_on(
    browser: Client, connection: Connection, fake: FakeProvider, status: int
) -> None:
    for target in ("https://evil.example/", "/api/admin", f"{fake.url}/api/echo"):
        fake.script("api", Answer(status, b"", {"Location": target}))
        answer = browser.get(call_url(connection, "echo"))
        problem(answer, 502, "provider_redirect")
        assert not answer.has_header("Location")
    assert fake.count("api") == 3


@pytest.mark.security("P04")
def test_the_body_of_a_redirect_is_not_read(browser: Client, connection: Connection, fake: FakeProvider) -> None:
    fake.script("api", Endless(head=b"HTTP/1.1 302 Found\r\nLocation: /api/other\r\n\r\n", limit=64_000_000))
    tracemalloc.start()
    try:
        problem(browser.get(call_url(connection, "echo")), 502, "provider_redirect")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("status", [600, 999])
def test_a_status_that_there_is_not_is_a_bad_answer(
    browser: Client, connection: Connection, fake: FakeProvider, status: int
) -> None:
    fake.script("api", Answer(status, b"x"))
    problem(browser.get(call_url(connection, "echo")), 502, "bad_response")


@pytest.mark.security("P05")
@pytest.mark.parametrize(
    "kind",
    ["", "application/x-www-form-urlencoded;\tcharset=utf-8", "application/x-www-form-urlencoded, x",
     "text/plain; x=application/x-www-form-urlencoded"],
)  # fmt: skip
def test_what_could_be_read_as_a_form_is_looked_at(
    browser: Client, connection: Connection, fake: FakeProvider, kind: str
) -> None:
    answer = browser.generic("POST", call_url(connection, "echo"), b"_method=DELETE", content_type=kind)
    problem(answer, 403, "query_not_allowed")
    assert fake.requests == []


def test_a_body_of_unknown_length_is_not_sent_as_an_empty_one(
    browser: Client, connection: Connection, fake: FakeProvider
) -> None:
    pieces = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
    answer = browser.generic("PUT", call_url(connection, "echo"), b"{}", "application/json", **pieces)
    problem(answer, 411, "length_required")
    assert fake.requests == []


@pytest.mark.security("M06", "P05")
@pytest.mark.parametrize(
    "kind", ["text/plain;, text/html", "application/json;,text/javascript", "image/png;x, text/html"]
)
def test_an_answer_of_several_types_is_of_none(
    browser: Client, connection: Connection, fake: FakeProvider, kind: str
) -> None:
    fake.script("api", Answer(200, b"<script>", {"Content-Type": kind}))
    assert browser.get(call_url(connection, "echo"))["Content-Type"] == "application/octet-stream"


@pytest.mark.security("P02")
def test_a_token_is_blacked_out_in_every_usual_spelling() -> None:
    token = "abcdefgh+ijkl/mn=="
    said = [
        "abcdefgh\\u002Bijkl\\u002Fmn\\u003D\\u003D", "abcdefgh\\u002bijkl\\u002fmn\\u003d\\u003d",
        "abcdefgh%2bijkl%2fmn%3d%3d", "abcdefgh%2Bijkl%2Fmn%3D%3D", "abcdefgh+ijkl\\/mn==", token,
    ]  # fmt: skip
    mask = Mask(spellings([Secret(token)]))
    out = mask.feed(" ".join(said).encode()) + mask.rest()
    assert set(out) == set(b"* ")


def test_an_answer_that_is_too_large_is_refused_by_its_length(
    browser: Client, connection: Connection, fake: FakeProvider
) -> None:
    for length in (delegating.MAX_RECEIVED + 1, 10**30):
        fake.script("api", Answer(200, b"x", {"Content-Length": str(length)}))
        problem(browser.get(call_url(connection, "echo")), 502, "answer_too_large")
    answer = browser.get(call_url(connection, "bytes/3000000"))
    assert len(text_of(answer)) == int(answer["Content-Length"]) == 3_000_000


class Streamed:
    """An answer in pieces, of a length that it does not say."""

    def __init__(self, pieces: int, *, pause: float = 0.0, head: bytes = b"") -> None:
        self.pieces, self.pause, self.sent, self.head = pieces, pause, 0, head

    def play(self, handler: Any, normal: Any) -> None:
        normal()
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + self.head + b"\r\n")
        for _ in range(self.pieces):
            handler.wfile.write(b"x" * 65536)
            handler.wfile.flush()
            self.sent += 65536
            time.sleep(self.pause)


def test_an_answer_without_end_is_cut_off(browser: Client, connection: Connection, fake: FakeProvider) -> None:
    endless = Streamed(5000)
    fake.script("api", endless)
    answer = browser.get(call_url(connection, "echo"))
    assert answer.status_code == 200
    seen: list[int] = []
    with pytest.raises(Exception, match="too large"):
        seen.extend(len(piece) for piece in answer.streaming_content)
    assert delegating.MAX_RECEIVED - 65536 <= sum(seen) <= delegating.MAX_RECEIVED
    answer.close()
    assert endless.sent < 3 * delegating.MAX_RECEIVED


def test_an_answer_is_passed_on_while_it_comes(browser: Client, connection: Connection, fake: FakeProvider) -> None:
    slow = Streamed(8, pause=0.2)
    fake.script("api", slow)
    answer = browser.get(call_url(connection, "echo"))
    first = next(iter(answer.streaming_content))
    assert first
    assert slow.sent < 8 * 65536, "the first piece has come before the last was sent"
    answer.close()


def test_a_dripping_answer_ends_with_the_deadline(
    browser: Client, connection: Connection, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delegating, "DEADLINE", 1.0)
    fake.script("api", Streamed(100, pause=0.3))
    answer = browser.get(call_url(connection, "echo"))
    begun = time.monotonic()
    with pytest.raises(Exception, match="broke off"):
        text_of(answer)
    assert time.monotonic() - begun < 5


def test_a_bomb_is_measured_unpacked(browser: Client, connection: Connection, fake: FakeProvider) -> None:
    import gzip

    fake.script("api", Answer(200, gzip.compress(b"0" * 30_000_000), {"Content-Encoding": "gzip"}))
    answer = browser.get(call_url(connection, "echo"))
    assert not answer.has_header("Content-Encoding")
    with pytest.raises(Exception, match="too large"):
        text_of(answer)
    fake.script("api", Answer(200, gzip.compress(b"plain"), {"Content-Encoding": "gzip", "Content-Type": "text/plain"}))
    assert text_of(browser.get(call_url(connection, "echo"))) == b"plain"


# What goes wrong


def test_a_provider_that_is_down_is_a_problem(browser: Client, connection: Connection, fake: FakeProvider) -> None:
    with fake.down():
        problem(browser.get(call_url(connection, "echo")), 502, "provider_unreachable")
    fake.script("api", Drop(), Drop())
    problem(browser.get(call_url(connection, "echo")), 502, "provider_unreachable")


def test_a_token_that_the_provider_refuses_is_a_problem_and_no_401(
    browser: Client, connection: Connection, fake: FakeProvider
) -> None:
    fake.script("api", *[Answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})] * 2)
    answer = browser.get(call_url(connection, "echo"))
    document = problem(answer, 409, "token_refused")
    assert "connect" in document["hint"]
    assert not answer.has_header("WWW-Authenticate")


def test_a_connection_that_needs_its_user_says_so(browser: Client, connection: Connection, fake: FakeProvider) -> None:
    shift_expiry(connection, timedelta(minutes=-1))
    fake.script("token", Answer(400, {"error": "invalid_grant"}))
    problem(browser.get(call_url(connection, "echo")), 409, "reauthorization_required")
    assert fake.count("api") == 0
    assert ConnectionEvent.objects.filter(kind="needs_reauthorization").exists()


def test_a_paused_or_disconnected_one_is_not_called(
    browser: Client, connection: Connection, fake: FakeProvider
) -> None:
    Connection.objects.update(paused=True)
    problem(browser.get(call_url(connection, "echo")), 409, "connection_paused")
    Connection.objects.update(paused=False)
    browser.post(reverse("oauth_flows_api:disconnect", args=[connection.pk]), content_type="application/json")
    problem(browser.get(call_url(connection, "echo")), 409, "disconnected")
    assert fake.count("api") == 0


def test_an_outage_of_the_token_endpoint_is_transient(
    browser: Client, connection: Connection, fake: FakeProvider
) -> None:
    shift_expiry(connection, timedelta(minutes=-1))
    fake.script("token", *[Answer(503, b"", {"Retry-After": "30"})] * 5)
    refused = browser.get(call_url(connection, "echo"))
    assert refused.status_code in (502, 503)
    assert json.loads(refused.content)["code"] in ("token_unavailable", "provider_unreachable")
    assert Token.objects.exists()


def test_an_organisations_connection_is_called_by_its_members(
    *,
    connection: Connection,
    user: User,
    fake: FakeProvider,
    settings: SettingsWrapper,
    client_for: Any,
    provider: Provider,
) -> None:
    settings.OAUTH_FLOWS = {
        **settings.OAUTH_FLOWS,
        "OWNER_MODELS": ["auth.Group"],
        "OWNER_POLICY": f"{__name__}.members",
    }
    team = Group.objects.create(name="team")
    shared = make_connection(connection.provider, team, fake, subject="team")
    problem(client_for(user).get(call_url(shared, "echo")), 404, "not_found")
    user.groups.add(team)
    assert client_for(user).get(call_url(shared, "echo")).status_code == 200


def members(user: Any, action: str, target: Any) -> bool:
    return bool(user.groups.filter(pk=target.owner_id).exists())


def test_problems_have_no_source_header(browser: Client, connection: Connection) -> None:
    answer = browser.get(call_url(connection, "nothing"))
    assert not answer.has_header("OAuth-Flows-Source")
    assert re.fullmatch("[0-9a-f]{16}", answer.json()["correlation_id"])
