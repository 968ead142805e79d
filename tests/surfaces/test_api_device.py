"""The API of codes for other devices: started and asked by a client that shows the code itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider
from django_oauth_flows.testing.factories import make_connection, make_provider

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

START = "/api/oauth/v1/providers/fake/device/"


@pytest.fixture
def device_provider(db: None, fake: FakeProvider) -> Provider:
    """Return a provider that knows codes for other devices."""
    fake.oauth2.device_interval = 0
    return make_provider(fake, device_authorization_endpoint=f"{fake.url}/device")


def post(client: Client, url: str, body: dict[str, Any]) -> Any:
    return client.post(url, json.dumps(body), content_type="application/json")


def start(client: Client) -> tuple[dict[str, Any], str]:
    """Start; return the answer and the address to ask at."""
    response = post(client, START, {})
    assert response.status_code == 201, response.content
    return response.json(), f"/api/oauth/v1/device/{response.json()['id']}/"


def let_time_pass() -> None:
    AuthorizationRequest.objects.filter(taken_at=None).update(next_poll_at=DatabaseNow())


def problem(response: Any, status: int, code: str) -> None:
    assert (response.status_code, response["Content-Type"]) == (status, "application/problem+json"), response.content
    assert response.json()["code"] == code


@pytest.mark.security("T20", "P01")
def test_a_client_shows_the_code_asks_and_is_told_of_the_connection(
    device_provider: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    begun, url = start(browser)
    ((device_code, device),) = fake.oauth2.devices.items()
    assert set(begun) == {
        "status", "handle", "id", "user_code", "verification_uri", "verification_uri_complete", "expires_at", "wait",
    }  # fmt: skip
    assert (begun["status"], begun["user_code"], begun["wait"]) == ("pending", device.user_code, 5)
    assert device_code not in json.dumps(begun)
    mine = {"handle": begun["handle"]}
    waiting = post(browser, url, mine)
    assert (waiting.status_code, waiting.json()["status"], waiting["Retry-After"]) == (200, "pending", "5")
    assert "no-store" in waiting["Cache-Control"]
    assert fake.count("token") == 0
    fake.oauth2.decide(device.user_code)
    let_time_pass()
    done = post(browser, url, mine).json()
    connection = user.oauth_connections.get()
    assert (done["status"], done["connection"]["id"]) == ("connected", str(connection.pk))
    assert done["connection"]["grant_type"] == "device_code"
    assert "canary" not in json.dumps(done)
    again = post(browser, url, mine).json()
    assert (again["status"], again["connection"]["id"]) == ("already_connected", str(connection.pk))


@pytest.mark.security("T21", "P02")
def test_nobody_else_can_ask_not_even_the_same_user_without_the_handle(
    device_provider: Provider,
    fake: FakeProvider,
    browser: Client,
    make_user: Callable[..., User],
    client_for: Callable[[User], Client],
    client: Client,
) -> None:
    begun, url = start(browser)
    fake.oauth2.decide(begun["user_code"])
    let_time_pass()
    stranger = client_for(make_user("bob"))
    for action in ("poll", "cancel", "adopt", "drop"):
        problem(post(stranger, url, {"handle": begun["handle"], "action": action}), 404, "not_found")
        problem(post(browser, url, {"handle": "guess", "action": action}), 404, "not_found")
    problem(post(browser, url, {}), 400, "invalid")
    assert post(client, url, {"handle": begun["handle"]}).status_code in (401, 403)
    assert fake.count("token") == 0
    assert post(browser, url, {"handle": begun["handle"]}).json()["status"] == "connected"
    assert not Connection.objects.filter(user__username="bob").exists()


@pytest.mark.security("T20")
def test_the_end_is_a_problem_with_a_code(device_provider: Provider, fake: FakeProvider, browser: Client) -> None:
    begun, url = start(browser)
    fake.oauth2.decide(begun["user_code"], "access_denied")
    let_time_pass()
    for _ in range(2):
        problem(post(browser, url, {"handle": begun["handle"]}), 409, "access_denied")
    begun, url = start(browser)
    assert post(browser, url, {"handle": begun["handle"], "action": "cancel"}).json() == {"status": "cancelled"}
    problem(post(browser, url, {"handle": begun["handle"]}), 409, "access_denied")


@pytest.mark.parametrize("action", ["adopt", "drop"])
def test_an_account_that_somebody_else_has_needs_a_yes(
    action: str,
    device_provider: Provider,
    fake: FakeProvider,
    browser: Client,
    user: User,
    make_user: Callable[..., User],
) -> None:
    make_connection(device_provider, make_user("bob"), fake)
    begun, url = start(browser)
    fake.oauth2.decide(begun["user_code"])
    let_time_pass()
    mine = {"handle": begun["handle"]}
    assert post(browser, url, mine).json() == {"status": "account_shared"}
    answer = post(browser, url, {**mine, "action": action}).json()
    assert answer["status"] == {"adopt": "connected", "drop": "dropped"}[action]
    assert user.oauth_connections.count() == (action == "adopt")


def test_what_cannot_start_says_so(provider: Provider, browser: Client) -> None:
    problem(post(browser, START, {}), 409, "device_flow_unsupported")
    problem(post(browser, "/api/oauth/v1/providers/none/device/", {}), 404, "not_found")
    problem(post(browser, START, {"owner": "x"}), 400, "invalid")
    problem(post(browser, START, {"scopes": ["admin"]}), 409, "device_flow_unsupported")


@pytest.mark.security("P07")
def test_asking_can_be_throttled(
    device_provider: Provider, browser: Client, settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rest_framework.settings import api_settings

    monkeypatch.setattr(api_settings, "DEFAULT_THROTTLE_RATES", {"oauth_flows_device": "1/min"})
    begun, url = start(browser)
    assert post(browser, url, {"handle": begun["handle"]}).status_code == 200
    problem(post(browser, url, {"handle": begun["handle"]}), 429, "throttled")
