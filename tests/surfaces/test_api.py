"""The REST API, as a browser's script and a token client use it."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.db import connection as database
from django.test import Client
from django.urls import reverse
from rest_framework import authentication
from rest_framework.settings import api_settings
from rest_framework.test import APIClient

from django_oauth_flows import flows
from django_oauth_flows.api import urls
from django_oauth_flows.exceptions import Disconnected
from django_oauth_flows.models import AuthorizationRequest, Connection, ConnectionEvent, Provider, Revocation, Token
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import make_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django.fixtures import DjangoAssertNumQueries, SettingsWrapper

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db

PROVIDERS, CONNECTIONS = "/api/oauth/v1/providers/", "/api/oauth/v1/connections/"
HEALTH, SCHEMA = "/api/oauth/v1/health/", "/api/oauth/v1/schema/"
MEMBERS = {"type", "title", "status", "detail", "code", "hint", "correlation_id"}


def start_url(slug: str = "fake") -> str:
    return reverse("oauth_flows_api:start", args=[slug])


def one(connection: Connection) -> str:
    return reverse("oauth_flows_api:connection", args=[connection.pk])


def disconnecting(connection: Connection) -> str:
    return reverse("oauth_flows_api:disconnect", args=[connection.pk])


def post(client: Client, url: str, body: Any, **extra: Any) -> Any:
    return client.post(url, json.dumps(body), content_type="application/json", **extra)


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Check that a response is a complete problem document (RFC 9457), and return it."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = json.loads(response.content)
    assert MEMBERS <= document.keys() <= MEMBERS | {"errors"}
    assert (document["status"], document["code"]) == (status, code)
    assert document["detail"]
    assert document["hint"]
    assert re.fullmatch("[0-9a-f]{16}", document["correlation_id"])
    return document


class TokenAuthentication(authentication.BaseAuthentication):
    """A site's own way of authenticating clients without cookies: ``Authorization: User <name>``."""

    def authenticate(self, request: Any) -> Any:
        kind, _, name = request.headers.get("Authorization", "").partition(" ")
        return (User.objects.get(username=name), None) if kind == "User" else None

    def authenticate_header(self, request: Any) -> str:
        return "User"


def with_authentication(monkeypatch: pytest.MonkeyPatch, *classes: type) -> None:
    from django_oauth_flows.api.base import View

    monkeypatch.setattr(View, "authentication_classes", classes)


@pytest.fixture
def stranger(make_user: Callable[..., User]) -> User:
    return make_user("stranger")


# Reading


def test_providers_are_listed_without_their_client(browser: Client, provider: Provider) -> None:
    make_provider_row(slug="closed", enabled=False)
    make_provider_row(slug="paused", paused=True)
    answer = browser.get(PROVIDERS).json()
    assert answer["results"] == [
        {
            "slug": "fake",
            "name": "Fake",
            "protocol": "oauth2",
            "scopes": ["read"],
            "allowed_scopes": ["write"],
            "delegated_calls": [],
            "required_scopes": [],
        }
    ]


@pytest.fixture(autouse=True)
def _unthrottled() -> None:
    cache.clear()


def make_provider_row(**columns: Any) -> Provider:
    endpoints = {
        "authorization_endpoint": "https://as.example/authorize",
        "token_endpoint": "https://as.example/token",
    }
    return Provider.objects.create(**{"client_id": "id", "name": "Other", **endpoints, **columns})


def test_a_provider_for_client_credentials_alone_is_not_offered(browser: Client) -> None:
    make_provider_row(slug="machine", authorization_endpoint="")
    assert browser.get(PROVIDERS).json()["results"] == []
    assert "machine" not in browser.get("/oauth/").content.decode()
    assert browser.post("/oauth/connect/machine/").status_code == 404


def test_a_connection_tells_its_state_and_nothing_of_its_token(browser: Client, connection: Connection) -> None:
    answer = browser.get(one(connection)).json()
    assert answer.pop("expires_at") is None
    assert answer.pop("authorized_at")
    assert answer == {
        "id": str(connection.pk),
        "provider": {"slug": "fake", "name": "Fake"},
        "owner_model": "auth.user",
        "owner_id": str(connection.owner_id),
        "subject": "account-1",
        "label": "",
        "grant_type": "imported",
        "requested_scopes": ["read"],
        "granted_scopes": ["read"],
        "missing_scopes": [],
        "missing_required_scopes": [],
        "authorization_details": [],
        "status": "active",
        "reason": "",
        "paused": False,
        "health": "working",
        "renewable": True,
        "revoked_at": None,
        "last_used_at": None,
        "last_purpose": "",
        "shares_grant": False,
    }
    assert browser.get(CONNECTIONS).json()["results"][0]["id"] == str(connection.pk)


def test_times_are_iso_whatever_the_site_prefers(
    browser: Client, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_settings, "DATETIME_FORMAT", "%d.%m.%Y")
    assert re.match(r"\d{4}-\d\d-\d\dT", browser.get(one(connection)).json()["authorized_at"])


def test_lists_cost_the_same_however_long_they_are(
    browser: Client,
    provider: Provider,
    user: User,
    fake: FakeProvider,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    counts = []
    for size in (1, 100):
        for _ in range(Connection.objects.count(), size):
            make_connection(provider, user, fake, subject=str(uuid.uuid4()))
        with django_assert_num_queries(3):  # session, user, connections
            answer = browser.get(f"{CONNECTIONS}?page_size=200").json()
        counts.append(len(answer["results"]))
    assert counts == [1, 100]
    for number in range(5):
        make_provider_row(slug=f"p{number}")
    with django_assert_num_queries(3):
        assert len(browser.get(PROVIDERS).json()["results"]) == 6


def test_lists_have_pages(browser: Client, provider: Provider, user: User, fake: FakeProvider) -> None:
    made = {str(make_connection(provider, user, fake, subject=str(n)).pk) for n in range(5)}
    seen, url, pages = set(), f"{CONNECTIONS}?page_size=2", 0
    while url:
        answer = browser.get(url).json()
        seen |= {row["id"] for row in answer["results"]}
        url, pages = answer["next"], pages + 1
    assert (seen, pages) == (made, 3)
    problem(browser.get(f"{CONNECTIONS}?cursor=nonsense"), 404, "not_found")


def test_disconnected_connections_leave_the_list_and_stay_readable(browser: Client, connection: Connection) -> None:
    browser.post(disconnecting(connection))
    assert browser.get(CONNECTIONS).json()["results"] == []
    assert browser.get(one(connection)).json()["status"] == "revoked"


def test_a_shared_grant_is_told_before_disconnecting(
    browser: Client, connection: Connection, stranger: User, fake: FakeProvider
) -> None:
    make_connection(connection.provider, stranger, fake)
    assert browser.get(one(connection)).json()["shares_grant"] is True


# Starting


@pytest.mark.security("P06", "A14")
def test_a_start_answers_with_a_page_that_needs_the_same_users_login(
    browser: Client, provider: Provider, stranger: User, client_for: Callable[[User], Client]
) -> None:
    answer = post(browser, start_url(), {"scopes": ["read", "write"], "next": "/notes/"})
    assert answer.status_code == 200
    assert answer.json().keys() == {"connect_url"}
    url = answer.json()["connect_url"]
    assert url.startswith("http://testserver/oauth/connect/fake/confirm/?ticket=")
    assert provider.authorization_endpoint not in url
    assert not AuthorizationRequest.objects.exists(), "nothing is pending before the user has confirmed"

    path = url.removeprefix("http://testserver")
    assert Client().get(path)["Location"].startswith("/accounts/login/")
    refused = client_for(stranger).get(path)
    assert refused.status_code == 400
    assert b"user_mismatch" in refused.content
    page = browser.get(path)
    assert page.status_code == 200
    assert b"read write" in page.content
    assert b"/notes/" in page.content
    assert not AuthorizationRequest.objects.exists(), "opening the page is not confirming"


@pytest.mark.security("P06")
def test_a_client_without_cookies_starts_and_the_user_confirms_in_the_browser(
    provider: Provider, user: User, monkeypatch: pytest.MonkeyPatch, browser: Client
) -> None:
    with_authentication(monkeypatch, TokenAuthentication)
    answer = post(Client(), start_url(), {}, headers={"Authorization": f"User {user.username}"})
    path = urlsplit(answer.json()["connect_url"])
    ticket = parse_qs(path.query)["ticket"][0]
    assert Client().get(start_url(), headers={"Authorization": f"Bearer {ticket}"}).status_code == 401
    assert browser.get(f"{path.path}?{path.query}").status_code == 200


@pytest.mark.security("A03")
def test_unknown_disabled_and_forbidden_providers_look_the_same(
    browser: Client, provider: Provider, settings: SettingsWrapper
) -> None:
    unknown = problem(post(browser, start_url("nothing"), {}), 404, "not_found")
    Provider.objects.update(enabled=False)
    disabled = problem(post(browser, start_url(), {}), 404, "not_found")
    Provider.objects.update(enabled=True, paused=True)
    paused = problem(post(browser, start_url(), {}), 404, "not_found")
    Provider.objects.update(paused=False)
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "OWNER_POLICY": f"{__name__}.nobody"}
    forbidden = problem(post(browser, start_url(), {}), 404, "not_found")
    assert browser.get(PROVIDERS).json()["results"] == []
    bodies = [{**body, "correlation_id": ""} for body in (unknown, disabled, paused, forbidden)]
    assert all(body == bodies[0] for body in bodies)


def nobody(user: Any, action: str, target: Any) -> bool:
    """Deny everything."""
    return False


@pytest.mark.parametrize("scopes", [["admin"], ["read", "admin"], ["read write"], ['re"ad'], [""], ["\ud800"]])
@pytest.mark.security("A09")
def test_scopes_that_the_provider_does_not_list_are_refused(
    browser: Client, provider: Provider, scopes: list[str]
) -> None:
    odd = any(not scope or not scope.isascii() or {*scope} & {*'" '} for scope in scopes)
    refused = post(browser, start_url(), {"scopes": scopes})
    problem(refused, *((400, "invalid") if odd else (403, "scope_not_allowed")))


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "\ud800"])
def test_a_foreign_next_is_dropped(browser: Client, provider: Provider, target: str) -> None:
    url = post(browser, start_url(), {"next": target}).json()["connect_url"]
    page = browser.get(url.removeprefix("http://testserver"))
    assert page.status_code == 200
    assert b"evil" not in page.content
    assert b"javascript" not in page.content


@pytest.mark.security("A07")
def test_an_untrusted_host_header_names_no_site(browser: Client, provider: Provider, settings: SettingsWrapper) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    url = post(browser, start_url(), {}, headers={"Host": "evil.example"}).json()["connect_url"]
    assert url.startswith("http://testserver/")
    settings.OAUTH_FLOWS = {}
    problem(post(browser, start_url(), {}, headers={"Host": "evil.example"}), 409, "base_url_required")


# Disconnecting


@pytest.mark.security("D05")
def test_disconnecting_ten_times_is_disconnecting_once(
    browser: Client, connection: Connection, fake: FakeProvider, django_capture_on_commit_callbacks: Any
) -> None:
    for _ in range(10):
        with django_capture_on_commit_callbacks(execute=True):
            answer = browser.post(disconnecting(connection))
        assert answer.status_code == 200
        assert answer.json()["status"] == "revoked"
    assert answer.json()["revocation"] == "revoked"
    assert not Token.objects.exists()
    assert Revocation.objects.count() == 1
    assert len({request.form["token"] for request in fake.received("revoke")}) == fake.count("revoke") == 2
    assert ConnectionEvent.objects.filter(kind="revoked").count() == 1


@pytest.mark.django_db(transaction=True)
def test_disconnecting_tells_the_outcome_at_the_provider(
    browser: Client, connection: Connection, fake: FakeProvider
) -> None:
    fake.script("revoke", Answer(503))
    assert browser.post(disconnecting(connection)).json() == {
        "id": str(connection.pk),
        "status": "revoked",
        "revocation": "pending",
    }


@pytest.mark.security("D01", "P05")
def test_a_session_needs_the_csrf_token(provider: Provider, connection: Connection, user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    problem(client.post(disconnecting(connection)), 403, "permission_denied")
    problem(post(client, start_url(), {}), 403, "permission_denied")
    connection.refresh_from_db()
    assert connection.status == "active"

    client.get("/accounts/login/")
    token = client.cookies["csrftoken"].value
    foreign = client.post(disconnecting(connection), headers={"X-CSRFToken": token, "Origin": "https://evil.example"})
    problem(foreign, 403, "permission_denied")
    assert post(client, disconnecting(connection), {}, headers={"X-CSRFToken": token}).status_code == 200


@pytest.mark.security("D01")
def test_looking_disconnects_nothing(browser: Client, connection: Connection) -> None:
    for url in (one(connection), f"{one(connection)}?_method=DELETE&status=revoked"):
        assert browser.get(url, headers={"X-HTTP-Method-Override": "DELETE"}).status_code == 200
    problem(post(browser, one(connection), {"_method": "DELETE"}), 405, "method_not_allowed")
    assert Token.objects.exists()


# Who


WHO = ["anonymous", "stranger", "staff", "superuser", "inactive", "teammate", "owner"]
READS = [("get", "connections"), ("get", "connection"), ("get", "events"), ("get", "call")]
UNSAFE = [("post", "disconnect"), ("post", "pause"), ("post", "resume"), ("patch", "connection"), ("post", "call")]


def address(name: str, connection: Connection) -> str:
    arguments = {"connections": [], "call": [connection.pk, "echo"]}.get(name, [connection.pk])
    return reverse(f"oauth_flows_api:{name}", args=arguments)


@pytest.mark.security("P01", "D02")
@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize(("method", "what"), READS + UNSAFE)
def test_only_the_owner_sees_changes_calls_and_disconnects(
    *, connection: Connection, make_user: Callable[..., User], user: User, who: str, method: str, what: str
) -> None:
    Provider.objects.update(delegated_calls=["GET,POST /**"])
    client = Client()
    if who == "owner":
        client.force_login(user)
    elif who != "anonymous":
        other = make_user(who, is_staff=who != "stranger", is_superuser=who == "superuser")
        user.groups.add(group := Group.objects.create(name="team"))
        other.groups.add(group)
        client.force_login(other)
        if who == "inactive":
            User.objects.filter(pk=other.pk).update(is_active=False)
    body = {} if method == "get" else {"data": json.dumps({"label": "Mine"}), "content_type": "application/json"}
    answer = getattr(client, method)(address(what, connection), **body)

    connection.refresh_from_db()
    by_owner = who == "owner"
    assert connection.status == ("revoked" if by_owner and what == "disconnect" else "active")
    assert connection.label == ("Mine" if by_owner and method == "patch" else "")
    assert connection.paused == (by_owner and what == "pause")
    if who in ("anonymous", "inactive"):
        problem(answer, 403, "not_authenticated")
    elif by_owner:
        assert answer.status_code == 200
    elif what == "connections":
        assert answer.json()["results"] == []
    else:
        problem(answer, 404, "not_found")


@pytest.mark.security("P01")
def test_a_strangers_connection_and_no_connection_have_the_same_answer(
    connection: Connection, stranger: User, client_for: Callable[[User], Client]
) -> None:
    client = client_for(stranger)
    nothing = Connection(pk=uuid.uuid4())
    for method, what in READS[1:] + UNSAFE:
        urls = [address(what, row) for row in (connection, nothing)]
        answers = [problem(getattr(client, method)(url), 404, "not_found") for url in urls]
        assert {**answers[0], "correlation_id": ""} == {**answers[1], "correlation_id": ""}


@pytest.mark.security("P01", "A02")
@pytest.mark.parametrize("who", ["anonymous", "inactive"])
@pytest.mark.parametrize("url", [PROVIDERS, CONNECTIONS, "start"])
def test_without_a_login_nothing_is_answered(
    provider: Provider, user: User, who: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client()
    if who == "inactive":
        User.objects.update(is_active=False)
    for classes, status in (((authentication.SessionAuthentication,), 403), ((TokenAuthentication,), 401)):
        with_authentication(monkeypatch, *classes)
        if who == "inactive":
            client.force_login(user)
        answer = post(client, start_url(), {}) if url == "start" else client.get(url)
        problem(answer, status, "not_authenticated")
        assert answer.has_header("WWW-Authenticate") == (status == 401)
    assert not AuthorizationRequest.objects.exists()


@pytest.mark.security("P01")
def test_an_inactive_user_whom_the_sites_authentication_lets_pass_is_refused(
    connection: Connection, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_authentication(monkeypatch, TokenAuthentication)
    User.objects.update(is_active=False)
    answer = Client().post(disconnecting(connection), headers={"Authorization": f"User {user.username}"})
    problem(answer, 403, "permission_denied")
    assert Token.objects.exists()


def team_policy(user: Any, action: str, target: Any) -> bool:
    """Let members of a group see the group's connections, and staff manage them."""
    if getattr(target, "owner_model", "") == "auth.group":
        member = user.groups.filter(pk=target.owner_id).exists()
        return member and (action == "view" or user.is_staff)
    return True


@pytest.mark.security("P01")
def test_the_sites_policy_decides_about_an_organisations_connection(
    *, provider: Provider, user: User, stranger: User, fake: FakeProvider, settings: SettingsWrapper, client_for: Any
) -> None:
    settings.OAUTH_FLOWS = {
        **settings.OAUTH_FLOWS,
        "OWNER_MODELS": ["auth.Group"],
        "OWNER_POLICY": f"{__name__}.team_policy",
    }
    team = Group.objects.create(name="team")
    connection = make_connection(provider, team, fake)
    problem(client_for(stranger).get(one(connection)), 404, "not_found")
    user.groups.add(team)
    assert client_for(user).get(one(connection)).json()["owner_id"] == str(team.pk)
    problem(client_for(user).post(disconnecting(connection)), 403, "permission_denied")
    User.objects.filter(pk=user.pk).update(is_staff=True)
    assert client_for(user).post(disconnecting(connection)).status_code == 200


# What goes in


FORBIDDEN = (
    "owner",
    "owner_id",
    "owner_model",
    "user",
    "status",
    "provider",
    "subject",
    "access_token",
    "tenant",
    "id",
)


@pytest.mark.security("P03")
@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_start_refuses_members_it_has_no_use_for(browser: Client, provider: Provider, name: str) -> None:
    document = problem(post(browser, start_url(), {"scopes": ["read"], name: "1"}), 400, "invalid")
    assert [(error["pointer"], error["code"]) for error in document["errors"]] == [(f"#/{name}", "unknown_field")]


@pytest.mark.security("P03")
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
def test_nothing_about_a_connection_but_its_label_can_be_assigned(
    browser: Client, connection: Connection, stranger: User, method: str
) -> None:
    before = Connection.objects.values().get()
    everything = json.dumps(dict.fromkeys([*FORBIDDEN, "scopes", "granted_scopes"], str(stranger.pk)) | {"label": "x"})
    for url in (CONNECTIONS, one(connection), address("events", connection)):
        answer = browser.generic(method, url, everything, "application/json")
        is_change = method == "PATCH" and url == one(connection)
        assert answer.status_code == (200 if method == "GET" else 400 if is_change else 405)
        assert Connection.objects.values().get() == before
    if method == "POST":  # it has no body to speak of
        assert browser.generic(method, disconnecting(connection), everything, "application/json").status_code == 200
        after = Connection.objects.values().get()
        assert {name for name in before if before[name] != after[name]} == {"status", "revoked_at"}


@pytest.mark.security("P03")
@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_change_refuses_members_it_has_no_use_for(browser: Client, connection: Connection, name: str) -> None:
    answer = browser.patch(one(connection), {"label": "Mine", name: "1"}, content_type="application/json")
    document = problem(answer, 400, "invalid")
    assert [(error["pointer"], error["code"]) for error in document["errors"]] == [(f"#/{name}", "unknown_field")]
    connection.refresh_from_db()
    assert connection.label == ""


@pytest.mark.security("P04")
@pytest.mark.parametrize(
    "query", ["user=2", "owner_id=2", "ordering=token", "token__access_token__gt=", "status=revoked", "format=html"]
)
def test_query_parameters_filter_nothing(browser: Client, connection: Connection, query: str) -> None:
    answer = browser.get(f"{CONNECTIONS}?{query}")
    if query == "format=html":
        problem(answer, 404, "not_found")
    else:
        assert [row["id"] for row in answer.json()["results"]] == [str(connection.pk)]


@pytest.mark.security("P04")
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{" * 10, 400, "parse_error"),
        (b"[" * 15_000, 400, "parse_error"),
        (b'{"scopes": NaN}', 400, "parse_error"),
        (b'{"\xff": 1}', 400, "parse_error"),
        (b'{"next": "' + b"a" * 10_000_000 + b'"}', 413, "request_too_large"),
        (b'{"next": "' + b"a" * 20_000 + b'"}', 413, "request_too_large"),
        (b"[]", 400, "invalid"),
        (b'"text"', 400, "invalid"),
        (b"1", 400, "invalid"),
        (b'{"scopes": "read"}', 400, "invalid"),
        (b'{"scopes": [["read"]]}', 400, "invalid"),
        (b'{"scopes": [null]}', 400, "invalid"),
        (b'{"next": {}}', 400, "invalid"),
        (b'{"next": null}', 400, "invalid"),
        (b'{"\\ud800\\u0000": 1}', 400, "invalid"),
        (b'{"scopes": ["' + b"a" * 300 + b'"]}', 400, "invalid"),
    ],
    ids=lambda value: value[:24].decode("latin-1") if isinstance(value, bytes) else None,
)
def test_a_hostile_body_is_a_problem_and_not_a_crash(
    browser: Client, provider: Provider, body: bytes, status: int, code: str
) -> None:
    problem(browser.post(start_url(), body, content_type="application/json"), status, code)


def test_a_body_says_where_it_is_wrong(browser: Client, provider: Provider) -> None:
    document = problem(post(browser, start_url(), {"scopes": ["read", []], "a/b~c": 1}), 400, "invalid")
    assert document["errors"][0]["pointer"] == "#/a~1b~0c"
    document = problem(post(browser, start_url(), {"scopes": ["read", []], "next": []}), 400, "invalid")
    assert {error["pointer"] for error in document["errors"]} == {"#/scopes/1", "#/next"}


def test_no_scopes_means_the_providers(browser: Client, provider: Provider) -> None:
    for body in ({}, {"scopes": None}, {"scopes": []}, None):
        answer = browser.post(start_url()) if body is None else post(browser, start_url(), body)
        assert answer.status_code == (415 if body is None else 200), answer.content


# What comes out


@pytest.mark.security("P02", "P09")
def test_no_answer_holds_a_secret_or_its_ciphertext(
    browser: Client, provider: Provider, connection: Connection, oauth1_connection: Connection
) -> None:
    sealed = [str(v) for row in Token.objects.values_list("access_token", "refresh_token") for v in row if v]
    with database.cursor() as cursor:
        cursor.execute("SELECT access_token, refresh_token, token_secret FROM oauth_flows_token")
        sealed = [value for row in cursor.fetchall() for value in row if value]
        cursor.execute("SELECT client_secret FROM oauth_flows_provider")
        sealed += [row[0] for row in cursor.fetchall()]
    assert len(sealed) >= 6
    secrets = [connection.token.open("access_token"), connection.token.open("refresh_token")]
    secrets += [oauth1_connection.token.open("token_secret"), provider.open("client_secret")]
    Provider.objects.update(delegated_calls=["GET,POST,PUT,PATCH,DELETE /**"])
    names = {pattern.name for pattern in urls.urlpatterns if pattern.name} - {
        "provider",
        "start",
        "start_device",
        "health",
        "schema",
    }
    walked = [address(name, row) for name in sorted(names - {"providers"}) for row in (connection, oauth1_connection)]
    walked += [
        PROVIDERS,
        f"{PROVIDERS}fake/",
        start_url(),
        f"{HEALTH}",
        f"{HEALTH}?owner=x:1",
        SCHEMA,
        "/api/oauth/v1/",
    ]
    walked.sort(key=lambda url: "disconnect" in url)  # last: then there is nothing left to tell
    for url in walked:
        for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "TRACE", "DELETE"):
            for accept in ("application/json", "text/html", "*/*"):
                answer = browser.generic(method, url, b"{}", "application/json", headers={"Accept": accept})
                body = b"".join(answer.streaming_content) if answer.streaming else answer.content
                text = body.decode() + str(answer.headers)
                assert not any(value in text for value in sealed)
                assert not any(secret is not None and secret.reveal() in text for secret in secrets)


@pytest.mark.security("P08")
def test_no_cache_may_keep_an_answer(browser: Client, provider: Provider, connection: Connection) -> None:
    answers = [
        browser.get(PROVIDERS),
        browser.get(CONNECTIONS),
        browser.get(one(connection)),
        browser.get(address("events", connection)),
        browser.get(HEALTH),
        browser.get(SCHEMA),
        Client().get(CONNECTIONS),
    ]
    answers += [post(browser, start_url(), {}), post(browser, start_url("no"), {}), browser.put(CONNECTIONS)]
    for answer in answers:
        assert answer["Cache-Control"] == "private, no-store"
        assert {"Accept", "Authorization", "Cookie"} <= {name.strip() for name in answer["Vary"].split(",")}
        assert not answer.has_header("Access-Control-Allow-Origin")


def test_every_refusal_is_a_problem_document(browser: Client, provider: Provider, connection: Connection) -> None:
    problem(Client().get(CONNECTIONS), 403, "not_authenticated")
    problem(browser.get(reverse("oauth_flows_api:connection", args=[uuid.uuid4()])), 404, "not_found")
    allowed = browser.put(CONNECTIONS)
    problem(allowed, 405, "method_not_allowed")
    assert "GET" in allowed["Allow"]
    problem(browser.options(CONNECTIONS), 405, "method_not_allowed")
    problem(browser.get(CONNECTIONS, headers={"Accept": "text/html"}), 406, "not_acceptable")
    for nowhere in ("", "nothing/", "providers", "connections/7/", f"connections/{connection.pk}/token/"):
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            problem(browser.generic(method, f"/api/oauth/v1/{nowhere}"), 404, "not_found")
            problem(Client().generic(method, f"/api/oauth/v1/{nowhere}"), 404, "not_found")
    problem(browser.post(start_url(), {"scopes": "read"}), 415, "unsupported_media_type")
    problem(browser.post(start_url(), b"{", content_type="application/json"), 400, "parse_error")
    problem(post(browser, start_url(), {"scopes": ["no"]}), 403, "scope_not_allowed")


@pytest.mark.security("P07", "A11")
@pytest.mark.parametrize(
    ("scope", "method", "what"),
    [
        ("read", "get", "connections"),
        ("read", "get", "events"),
        ("change", "patch", "connection"),
        ("change", "post", "pause"),
        ("disconnect", "post", "disconnect"),
        ("call", "get", "call"),
        ("start", "post", "start"),
    ],
)
def test_a_site_may_throttle_each_endpoint_by_name(
    *, browser: Client, connection: Connection, monkeypatch: pytest.MonkeyPatch, scope: str, method: str, what: str
) -> None:
    Provider.objects.update(delegated_calls=["GET /**"])
    url = start_url() if what == "start" else address(what, connection)
    monkeypatch.setattr(api_settings, "DEFAULT_THROTTLE_RATES", {f"oauth_flows_{scope}": "2/hour"})
    body = {} if method == "get" else {"data": "{}", "content_type": "application/json"}
    answers = [getattr(browser, method)(url, **body) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    problem(answers[2], 429, "throttled")
    assert 0 < int(answers[2]["Retry-After"]) <= 3600
    other = CONNECTIONS if scope != "read" else address("call", connection)
    assert browser.get(other).status_code == 200


def test_a_paused_connection_rests_until_it_is_resumed(browser: Client, connection: Connection) -> None:
    pause, resume = address("pause", connection), address("resume", connection)
    for _ in range(2):
        answer = browser.post(pause).json()
        assert (answer["paused"], answer["health"]) == (True, "paused")
    with pytest.raises(Disconnected, match="paused"):
        flows.access_token(connection)
    for _ in range(2):
        answer = browser.post(resume).json()
        assert (answer["paused"], answer["health"]) == (False, "working")
    assert flows.access_token(connection)
    history = browser.get(address("events", connection)).json()["results"]
    assert [(event["kind"], event["by"]) for event in history[:2]] == [("resumed", "you"), ("paused", "you")]
    browser.post(disconnecting(connection))
    for url in (pause, resume):
        problem(browser.post(url), 409, "disconnected")


@pytest.mark.security("A01", "D01")
def test_a_start_or_disconnect_by_get_does_not_exist(
    browser: Client, provider: Provider, connection: Connection
) -> None:
    for url in (start_url(), disconnecting(connection), address("pause", connection), address("resume", connection)):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            answer = browser.generic(method, f"{url}?_method=POST", headers={"X-HTTP-Method-Override": "POST"})
            assert answer.status_code == 405
    assert Connection.objects.get().status == "active"
    assert not AuthorizationRequest.objects.exists()


@pytest.mark.security("P05")
def test_no_other_site_is_let_in_by_a_header(browser: Client, provider: Provider, connection: Connection) -> None:
    Provider.objects.update(delegated_calls=["GET /**"])
    urls_ = [CONNECTIONS, address("call", connection), "/oauth/callback/fake/?code=x&state=y", "/api/oauth/v1/nothing/"]
    for url in urls_:
        for method in ("GET", "OPTIONS"):
            answer = browser.generic(method, url, headers={"Origin": "https://evil.example"})
            assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.django_db(transaction=True)
def test_a_broken_database_is_a_503(browser: Client, connection: Connection) -> None:
    with database.cursor() as cursor:
        cursor.execute("ALTER TABLE oauth_flows_connection RENAME TO elsewhere")
    try:
        problem(browser.get(CONNECTIONS), 503, "storage_unavailable")
    finally:
        with database.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO oauth_flows_connection")


def test_errors_are_logged_by_code_with_the_same_correlation_id(
    browser: Client, provider: Provider, user: User, caplog: pytest.LogCaptureFixture
) -> None:
    document = problem(post(browser, start_url(), {"scopes": ["forged"]}), 403, "scope_not_allowed")
    (record,) = [r for r in caplog.records if r.name == "oauth_flows"]
    assert record.getMessage() == "oauth_flows.scope_not_allowed"
    assert record.__dict__["correlation_id"] == document["correlation_id"]
    assert record.__dict__["actor"] == user.pk
    assert "forged" not in str(record.__dict__)


def test_the_sites_own_framework_settings_do_not_break_the_api(
    settings: SettingsWrapper, browser: Client, provider: Provider, connection: Connection
) -> None:
    settings.REST_FRAMEWORK = {
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.BrowsableAPIRenderer"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.DjangoModelPermissions"],
        "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
        "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning",
        "ALLOWED_VERSIONS": ["v9"],
        "EXCEPTION_HANDLER": "tests.surfaces.test_api.nobody",
        "COERCE_DECIMAL_TO_STRING": False,
    }
    assert browser.get(CONNECTIONS).json()["results"][0]["id"] == str(connection.pk)
    problem(browser.put(CONNECTIONS), 405, "method_not_allowed")


def test_requests_of_the_frameworks_own_client_work(user: User, provider: Provider) -> None:
    client = APIClient()
    client.force_authenticate(user)
    assert client.post(start_url(), {"scopes": ["read"]}, format="json").status_code == 200
