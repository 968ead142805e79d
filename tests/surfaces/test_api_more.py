"""The REST API's lists, labels, history and health; whose they are; and what a site may replace."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.core.checks import run_checks
from django.test import Client
from django.urls import reverse
from rest_framework.permissions import BasePermission

from django_oauth_flows import flows
from django_oauth_flows.api.finding import connections
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import Connection, ConnectionEvent, Provider
from django_oauth_flows.testing.factories import make_connection, walk
from tests.surfaces.test_api import CONNECTIONS, HEALTH, PROVIDERS, disconnecting, make_provider_row, one, problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_django.fixtures import DjangoAssertNumQueries, SettingsWrapper

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _unthrottled() -> None:
    cache.clear()


def events_url(connection: Connection) -> str:
    return reverse("oauth_flows_api:events", args=[connection.pk])


def relabel(client: Client, connection: Connection, label: Any) -> Any:
    return client.patch(one(connection), json.dumps({"label": label}), content_type="application/json")


# Providers


def test_one_provider_is_shown_as_in_the_list(browser: Client, provider: Provider) -> None:
    assert browser.get(f"{PROVIDERS}fake/").json() == browser.get(PROVIDERS).json()["results"][0]
    make_provider_row(slug="closed", enabled=False)
    make_provider_row(slug="machine", authorization_endpoint="")
    for slug in ("closed", "machine", "nothing"):
        problem(browser.get(f"{PROVIDERS}{slug}/"), 404, "not_found")


# Labels


def test_a_label_is_the_owners_to_choose_and_stays_when_the_account_is_connected_again(
    browser: Client, provider: Provider, user: User
) -> None:
    walk(browser, provider)
    connection = Connection.objects.get()
    assert connection.label == "Ada Lovelace"
    assert relabel(browser, connection, "Work \N{BRIEFCASE}").json()["label"] == "Work \N{BRIEFCASE}"
    walk(browser, provider)
    connection.refresh_from_db()
    assert connection.label == "Work \N{BRIEFCASE}"
    assert relabel(browser, connection, "").json()["label"] == "Work \N{BRIEFCASE}", "until the service says it again"
    walk(browser, provider)
    connection.refresh_from_db()
    assert connection.label == "Ada Lovelace"


@pytest.mark.security("P04", "M06")
@pytest.mark.parametrize(
    "label", ["a\nb", "a\x00b", "a\u202eb", "\u2028", "a\x1b[31m", "a" * 256, 7, None, ["a"], {"a": 1}, True, "\ud800"]
)
def test_a_label_is_one_line_of_text(browser: Client, connection: Connection, label: Any) -> None:
    document = problem(relabel(browser, connection, label), 400, "invalid")
    assert document["errors"][0]["pointer"] == "#/label"
    connection.refresh_from_db()
    assert connection.label == ""
    if isinstance(label, str) and "\ud800" not in label:
        with pytest.raises(ValueError, match="one line"):
            flows.relabel(connection, label)


def test_nothing_to_change_changes_nothing(browser: Client, connection: Connection) -> None:
    before = Connection.objects.values().get()
    answer = browser.patch(one(connection), {}, content_type="application/json")
    assert answer.json() == browser.get(one(connection)).json()
    assert Connection.objects.values().get() == before


# History


def test_the_history_says_what_happened_and_whether_it_was_you(
    browser: Client, connection: Connection, user: User, make_user: Callable[..., User]
) -> None:
    staff = make_user("staff", is_staff=True)
    ConnectionEvent.objects.create(provider=connection.provider, connection=connection, kind="paused", actor=staff)
    browser.post(disconnecting(connection), content_type="application/json")
    answer = browser.get(events_url(connection)).json()
    seen = [(event["kind"], event["by"]) for event in answer["results"]]
    assert ("paused", "somebody") in seen
    assert ("revoked", "you") in seen
    assert seen[-1] == ("imported", "")
    assert answer["results"][0].keys() == {"kind", "outcome", "by", "correlation_id", "created_at"}
    assert "staff" not in json.dumps(answer)


def test_the_history_has_pages_and_costs_the_same_however_long_it_is(
    browser: Client, connection: Connection, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(120):
        ConnectionEvent.objects.create(provider=connection.provider, connection=connection, kind="paused")
    with django_assert_num_queries(4):  # session, user, connection, events
        answer = browser.get(f"{events_url(connection)}?page_size=100").json()
    assert len(answer["results"]) == 100
    assert len(browser.get(answer["next"]).json()["results"]) == 21


# Health


def test_health_counts_connections_and_names_what_stands_still(
    browser: Client, connection: Connection, user: User, fake: FakeProvider
) -> None:
    assert browser.get(HEALTH).json() == {
        "status": "ok",
        "connections": {"active": 1, "paused": 0, "reauthorization_required": 0},
        "providers": [],
    }
    for number, (slug, trouble) in enumerate(
        [
            ("p", {"paused": True}),
            ("q", {"alarm": "invalid_client"}),
            ("r", {"circuit_open_until": DatabaseNow() + timedelta(minutes=1)}),
            ("s", {"circuit_open_until": DatabaseNow() - timedelta(minutes=1)}),
        ]
    ):
        other = make_provider_row(slug=slug, name=slug.upper())
        for subject in range(number + 1):
            make_connection(other, user, fake, subject=f"{subject}")
        Provider.objects.filter(pk=other.pk).update(**trouble)
    Connection.objects.filter(provider__slug="p").update(paused=True)
    Connection.objects.filter(provider__slug="s", subject="0").update(
        status="reauthorization_required", reason="invalid_grant"
    )
    flows.revoke(Connection.objects.get(provider__slug="s", subject="1"))
    assert browser.get(HEALTH).json() == {
        "status": "attention",
        "connections": {"active": 1 + 2 + 3 + 2, "paused": 1, "reauthorization_required": 1},
        "providers": [
            {"slug": "p", "name": "P", "problem": "paused", "connections": 1},
            {"slug": "q", "name": "Q", "problem": "misconfigured", "connections": 2},
            {"slug": "r", "name": "R", "problem": "unreachable", "connections": 3},
        ],
    }


def test_health_is_one_question_to_the_database_and_none_to_providers(
    browser: Client,
    connection: Connection,
    user: User,
    fake: FakeProvider,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(5):
        make_connection(make_provider_row(slug=f"p{number}"), user, fake)
    before = len(fake.requests)
    with django_assert_num_queries(3):  # session, user, connections by state
        assert browser.get(HEALTH).json()["connections"]["active"] == 6
    assert len(fake.requests) == before


# Owners


def members(user: Any, action: str, target: Any) -> bool:
    """Let members of a group do everything with what is the group's, and everybody with their own."""
    label = target._meta.label_lower
    if label == "auth.group":
        return bool(user.groups.filter(pk=target.pk).exists())
    if getattr(target, "owner_model", "") == "auth.group":
        return bool(user.groups.filter(pk=target.owner_id).exists())
    return label in ("oauth_flows.provider", "auth.user") or target.owner_id == str(user.pk)


@pytest.fixture
def team(settings: SettingsWrapper) -> Group:
    settings.OAUTH_FLOWS = {
        **settings.OAUTH_FLOWS,
        "OWNER_MODELS": ["auth.Group"],
        "OWNER_POLICY": f"{__name__}.members",
    }
    return Group.objects.create(name="team")


@pytest.mark.security("P01")
def test_an_organisations_connections_are_listed_to_its_members_alone(
    *, browser: Client, connection: Connection, user: User, team: Group, fake: FakeProvider
) -> None:
    shared = make_connection(connection.provider, team, fake, subject="team")
    query = "?" + urlencode({"owner": f"auth.group:{team.pk}"})
    nobody = problem(browser.get(CONNECTIONS + query), 404, "not_found")
    assert {**nobody, "correlation_id": ""} == {
        **problem(browser.get(f"{CONNECTIONS}?owner=auth.group:999"), 404, "not_found"),
        "correlation_id": "",
    }
    problem(browser.get(HEALTH + query), 404, "not_found")
    user.groups.add(team)
    assert [row["id"] for row in browser.get(CONNECTIONS + query).json()["results"]] == [str(shared.pk)]
    assert [row["id"] for row in browser.get(CONNECTIONS).json()["results"]] == [str(connection.pk)]
    assert browser.get(HEALTH + query).json()["connections"]["active"] == 1
    assert relabel(browser, shared, "Ours").status_code == 200
    assert browser.get(events_url(shared)).json()["results"][0]["kind"] == "imported"


@pytest.mark.security("P01", "P04")
@pytest.mark.parametrize(
    "owner", ["2", "auth.user:1", "auth.Group", "auth.group:", "auth.group:x", "auth.group:1' OR 1=1", "sessions.session:1",
              "auth.group:\x00", "auth.group:" + "9" * 40, "nothing.at:1", "auth.group:-1", ":", "\ud83d"]
)  # fmt: skip
def test_an_owner_that_there_is_not_is_not_found(
    browser: Client, connection: Connection, team: Group, owner: str
) -> None:
    for url in (CONNECTIONS, HEALTH):
        answer = browser.get(url, QUERY_STRING=urlencode({"owner": owner}, errors="surrogatepass"))
        problem(answer, 404, "not_found")
    document = problem(browser.get(f"{CONNECTIONS}?owner=auth.group:1&owner=auth.user:1"), 400, "invalid")
    assert document["errors"][0]["code"] == "repeated"


# Pages


def cursor(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.security("P04")
@pytest.mark.parametrize(
    "query",
    [
        {"cursor": "nonsense"},
        {"cursor": cursor("p=nonsense")},
        {"cursor": cursor("p=99999-01-01")},
        {"cursor": cursor("p=2026-13-45T00:00:00Z")},
        {"cursor": cursor("p=\x00")},
        {"cursor": cursor("p=0001-01-01T00:00:00%2B23:59")},
        {"cursor": cursor("o=99999999999999")},
        {"cursor": cursor("r=1&p=2026-01-01 00:00:00%2B00:00'--")},
        {"cursor": "\x00"},
        {"cursor": "\xff"},
    ],
    ids=range(10),
)
def test_a_cursor_that_we_have_not_made_leads_nowhere(
    browser: Client, connection: Connection, query: dict[str, str]
) -> None:
    for url in (CONNECTIONS, PROVIDERS, events_url(connection)):
        answer = browser.get(f"{url}?{urlencode(query)}")
        assert answer.status_code in (200, 404), answer.content
        if answer.status_code == 404:
            problem(answer, 404, "not_found")


@pytest.mark.security("P04")
@pytest.mark.parametrize("size", ["0", "-1", "201", "1000000", "x", "", "1e9", "1&page_size=2"])
def test_a_page_has_a_size_within_bounds(browser: Client, connection: Connection, size: str) -> None:
    for url in (CONNECTIONS, PROVIDERS, events_url(connection)):
        problem(browser.get(f"{url}?page_size={size}"), 400, "invalid")


def test_what_a_list_says_of_shared_grants_is_what_disconnecting_goes_by(
    user: User, make_user: Callable[..., User], fake: FakeProvider, provider: Provider
) -> None:
    others = [make_user("bert"), make_user("carl")]
    kinds = [make_provider_row(slug=effect, revocation_effect=effect) for effect in ("token", "grant", "unknown")]
    for kind in kinds:
        for owner, subject in [(user, "a"), (user, "b"), (others[0], "a"), (others[1], "c"), (others[0], "b")]:
            make_connection(kind, owner, fake, subject=subject)
        for owner in (user, user, others[0]):  # whom the provider does not name
            make_connection(kind, owner, fake, subject=None)
    for ended in Connection.objects.filter(subject="b", owner_id=others[0].pk):
        Connection.objects.filter(pk=ended.pk).update(status="revoked")
    rows = list(connections())
    live = [row for row in rows if row.status != "revoked"]
    said = {row.pk for row in rows if row.shares_grant}  # type: ignore[attr-defined]
    assert said == flows.shares_grant(live)
    assert 0 < len(said) < len(live)


# What a site may replace


class OnlyAda(BasePermission):
    """Let in one user, and who is nobody."""

    def has_permission(self, request: Any, view: Any) -> bool:
        return not request.user.is_authenticated or request.user.username == "ada"


def test_a_site_may_put_its_own_permissions_in_place_of_ours(
    browser: Client, connection: Connection, make_user: Callable[..., User], settings: SettingsWrapper, client_for: Any
) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "API_PERMISSION_CLASSES": [f"{__name__}.OnlyAda"]}
    assert browser.get(CONNECTIONS).status_code == 200
    bert = client_for(make_user("bert"))
    for url in (CONNECTIONS, PROVIDERS, one(connection), HEALTH, "/api/oauth/v1/schema/"):
        problem(bert.get(url), 403, "permission_denied")


@pytest.mark.security("P01")
def test_permissions_that_let_anybody_in_show_nobodys_connections(
    connection: Connection, settings: SettingsWrapper
) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "API_PERMISSION_CLASSES": [f"{__name__}.OnlyAda"]}
    Provider.objects.update(delegated_calls=["GET /**"])
    call = reverse("oauth_flows_api:call", args=[connection.pk, "echo"])
    for url in (CONNECTIONS, HEALTH, one(connection), events_url(connection), call):
        problem(Client().get(url), 403, "not_authenticated")
    assert Client().get(PROVIDERS).json()["results"] == []
    problem(Client().post(disconnecting(connection), content_type="application/json"), 403, "not_authenticated")
    assert Connection.objects.get().status == "active"


def test_a_permission_that_there_is_not_is_found_by_check(settings: SettingsWrapper) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "API_PERMISSION_CLASSES": ["nothing.at.all"]}
    assert "oauth_flows.E033" in {message.id for message in run_checks()}
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "API_PERMISSION_CLASSES": [f"{__name__}.OnlyAda"]}
    assert "oauth_flows.E033" not in {message.id for message in run_checks()}


# A fault of ours


class Broken(BasePermission):
    """Fail, with a secret in hand."""

    def has_permission(self, request: Any, view: Any) -> bool:
        secret = "not to be told"
        raise RuntimeError(secret)


@pytest.mark.security("P02", "L03")
def test_a_fault_of_ours_is_a_problem_without_its_values(
    browser: Client, settings: SettingsWrapper, caplog: pytest.LogCaptureFixture
) -> None:
    for is_debugging in (False, True):
        settings.DEBUG = is_debugging
        settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "API_PERMISSION_CLASSES": [f"{__name__}.Broken"]}
        document = problem(browser.get(CONNECTIONS), 500, "internal_error")
        record = next(r for r in caplog.records[::-1] if r.name == "oauth_flows")
        assert record.__dict__["correlation_id"] == document["correlation_id"]
        assert "has_permission" in record.getMessage()
        assert "not to be told" not in record.getMessage() + json.dumps(document)
