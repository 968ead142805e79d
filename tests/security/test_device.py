"""The device authorization grant: a code that is entered elsewhere. RFC 8628, and what a server may answer to it."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

from django_oauth_flows import flows
from django_oauth_flows.exceptions import AuthorizationError, ConfigurationError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider, Revocation
from django_oauth_flows.testing import Answer, Delay, Half
from django_oauth_flows.testing.factories import make_connection, make_provider

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

PENDING = Answer(400, {"error": "authorization_pending"})
SLOW_DOWN = Answer(400, {"error": "slow_down"})


@pytest.fixture
def device_provider(db: None, fake: FakeProvider) -> Provider:
    """Return a provider that knows codes for other devices, and lets itself be asked as often as the test likes."""
    fake.oauth2.device_interval = 0
    return make_provider(fake, device_authorization_endpoint=f"{fake.url}/device")


def start(browser: Client, **form: str) -> str:
    """Start at ``fake`` and return the page that shows the code."""
    started: Any = browser.post("/oauth/connect/fake/", {"way": "device", **form})
    assert started.status_code == 303, started.content
    return str(started["Location"])


def let_time_pass() -> None:
    """Let the interval be over."""
    AuthorizationRequest.objects.filter(taken_at=None).update(next_poll_at=DatabaseNow())


def wait_of(request: AuthorizationRequest) -> float:
    """Return the seconds until the provider may be asked."""
    request.refresh_from_db()
    now = AuthorizationRequest.objects.filter(pk=request.pk).values_list(DatabaseNow(), flat=True).get()
    assert request.next_poll_at is not None
    return float((request.next_poll_at - now).total_seconds())


def refused(response: Any, code: str) -> None:
    assert response.status_code == 400, response.content
    assert f"<code>{code}</code>".encode() in response.content


@pytest.mark.rfc("8628", "3.1")
@pytest.mark.rfc("8628", "3.5")
@pytest.mark.security("T20", "S01")
def test_a_code_is_shown_entered_elsewhere_and_becomes_a_connection(
    device_provider: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    page = start(browser, next="/after/")
    shown = browser.get(page)
    ((device_code, device),) = fake.oauth2.devices.items()
    text = shown.content.decode()
    assert device.user_code in text
    assert f'href="{fake.url}/activate"' in text
    assert device_code not in text
    pause, _, address = shown["Refresh"].partition("; url=")
    assert address == page
    assert 1 <= int(pause) <= 5, "a machine may be slow"
    assert fake.count("token") == 0, "too early to ask"
    asked = fake.received("device")[0].form
    assert (asked["client_id"], asked["scope"]) == (fake.oauth2.client_id, "read")
    row = AuthorizationRequest.objects.get()
    assert device_code not in str(row.device_authorization and row.device_authorization.value)

    let_time_pass()
    assert browser.get(page).status_code == 200
    assert fake.received("token")[0].form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "device_code": device_code,
    }
    fake.oauth2.decide(device.user_code)
    let_time_pass()
    done = browser.get(page)
    assert (done.status_code, done["Location"]) == (303, "/after/")
    connection = user.oauth_connections.get()
    assert (connection.subject, connection.grant_type) == ("account-1", "device_code")
    with flows.session(connection) as http:
        assert http.get("/echo").status_code == 200
    assert flows.refresh(connection).refreshed
    row.refresh_from_db()
    assert (row.outcome, row.device_authorization) == ("connected", None)
    again = browser.get(page)
    assert again.status_code == 400, "the cookie has served"


@pytest.mark.security("T20")
def test_every_slow_down_makes_the_interval_five_seconds_longer_for_good(
    device_provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    page = start(browser)
    request = AuthorizationRequest.objects.get()
    fake.script("token", SLOW_DOWN, SLOW_DOWN, SLOW_DOWN, PENDING)
    for interval in (10, 15, 20, 20):
        let_time_pass()
        assert browser.get(page).status_code == 200
        assert interval - 2 < wait_of(request) <= interval
        assert request.poll_interval == interval


@pytest.mark.security("T20")
@pytest.mark.parametrize(
    ("said", "taken"), [(None, 5), (0, 5), (-1, 5), ("x", 5), (True, 5), (1, 5), (7, 7), (1e9, 60), ("10", 10)]
)
def test_an_interval_is_five_seconds_at_least_and_a_minute_at_most(
    said: Any, taken: int, device_provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    def change(body: dict[str, Any]) -> None:
        body["interval"] = said
        if said is None:
            del body["interval"]

    fake.oauth2.change_device = change
    start(browser)
    request = AuthorizationRequest.objects.get()
    assert request.poll_interval == taken
    assert taken - 2 < wait_of(request) <= taken


@pytest.mark.security("T20")
def test_ten_pages_are_one_poller(device_provider: Provider, fake: FakeProvider, browser: Client) -> None:
    page = start(browser)
    let_time_pass()
    fake.script("token", Delay(seconds=0.3))
    statuses: list[int] = []
    barrier = threading.Barrier(10)

    def look() -> None:
        barrier.wait()
        try:
            statuses.append(browser.get(page).status_code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=look) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 10
    assert fake.count("token") == 1
    browser.get(page)
    assert fake.count("token") == 1


@pytest.mark.security("T20")
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(400, {"error": "access_denied"}), "access_denied"),
        (Answer(400, {"error": "authorization_declined"}), "access_denied"),
        (Answer(400, {"error": "expired_token"}), "device_code_expired"),
        (Answer(400, {"error": "invalid_grant"}), "invalid_grant"),
        (Answer(401, {"error": "invalid_client"}), "invalid_client"),
        (Answer(200, "<html>"), "bad_response"),
        (Answer(200, {"access_token": ["x"]}), "bad_token"),
        (Answer(200, {"access_token": "x", "token_type": "mac"}), "token_type_unsupported"),
        (Answer(302, headers={"Location": "https://attacker.example"}), "provider_redirect"),
    ],
    ids=str,
)
def test_an_answer_that_ends_it_is_told_once_more_and_nobody_is_asked_again(
    answer: Answer, code: str, device_provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    page = start(browser)
    fake.script("token", answer)
    let_time_pass()
    refused(browser.get(page), code)
    let_time_pass()
    refused(browser.get(page), code)
    assert fake.count("token") == 1
    row = AuthorizationRequest.objects.get()
    assert (row.outcome, row.failure, row.device_authorization) == ("failed", code, None)
    assert not Connection.objects.exists()


@pytest.mark.security("T20")
def test_a_service_that_is_down_is_asked_again_more_slowly(
    device_provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    page = start(browser)
    request = AuthorizationRequest.objects.get()
    wrong = (Answer(500), Answer(503), Answer(429, headers={"Retry-After": "50"}), Answer(502), Answer(500))
    fake.script("token", *wrong)
    for interval, wait in ((10, 10), (20, 20), (40, 50), (60, 60), (60, 60)):
        let_time_pass()
        assert browser.get(page).status_code == 200
        assert wait - 2 < wait_of(request) <= wait
        assert request.poll_interval == interval
    fake.oauth2.decide(next(iter(fake.oauth2.devices.values())).user_code)
    let_time_pass()
    assert browser.get(page).status_code == 303


@pytest.mark.security("T20", "T15")
def test_tokens_that_were_lost_on_the_way_are_no_expired_code(
    device_provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    page = start(browser)
    fake.oauth2.decide(next(iter(fake.oauth2.devices.values())).user_code)
    fake.script("token", Half())
    let_time_pass()
    assert browser.get(page).status_code == 200
    assert not fake.oauth2.devices, "given out"
    let_time_pass()
    refused(browser.get(page), "outcome_unknown")


@pytest.mark.security("T20")
def test_after_its_time_nobody_is_asked(device_provider: Provider, fake: FakeProvider, browser: Client) -> None:
    page = start(browser)
    AuthorizationRequest.objects.update(expires_at=DatabaseNow(), next_poll_at=DatabaseNow())
    refused(browser.get(page), "device_code_expired")
    assert fake.count("token") == 0


@pytest.mark.security("T21", "T24")
@pytest.mark.parametrize(("said", "lasts"), [(1800, 1800), (1e9, 3600), ("900", 900)])
def test_a_code_lasts_as_long_as_the_service_says_and_an_hour_at_most(
    said: Any, lasts: int, device_provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    fake.oauth2.change_device = lambda body: body.update(expires_in=said)
    start(browser)
    row: Any = AuthorizationRequest.objects.annotate(now=DatabaseNow()).get()
    assert timedelta(seconds=lasts - 10) < row.expires_at - row.now <= timedelta(seconds=lasts)


HOSTILE: dict[str, Any] = {
    "script": {"verification_uri": "javascript:alert(1)"},
    "script in the second": {"verification_uri_complete": "javascript:alert(1)"},
    "data": {"verification_uri": "data:text/html,x"},
    "plain http": {"verification_uri": "http://service.example/"},
    "user info": {"verification_uri": "https://bank.example@attacker.example/"},
    "no page": {"verification_uri": None},
    "a list": {"verification_uri": ["https://service.example/"]},
    "other letters": {"verification_uri": "https://bаnk.example/"},
    "endless page": {"verification_uri": "https://service.example/" + "x" * 2000},
    "no code": {"user_code": None},
    "empty code": {"user_code": ""},
    "endless code": {"user_code": "X" * 101},
    "turned code": {"user_code": "A\u202eB"},
    "lines": {"user_code": "A\nB"},
    "number": {"user_code": 7},
    "no device code": {"device_code": None},
    "odd device code": {"device_code": "a b"},
    "number as device code": {"device_code": 7},
    "no time": {"expires_in": None},
    "zero": {"expires_in": 0},
    "before": {"expires_in": -1},
    "not a number": {"expires_in": "NaN"},
}


@pytest.mark.security("T21")
@pytest.mark.rfc("8628", "3.2")
@pytest.mark.parametrize("changed", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_code_and_no_page_ends_the_start(
    changed: dict[str, Any], device_provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    fake.oauth2.change_device = lambda body: body.update(changed)
    refused(browser.post("/oauth/connect/fake/", {"way": "device"}), "device_authorization_failed")
    assert not AuthorizationRequest.objects.exists()
    fake.oauth2.change_device = lambda _: None
    start(browser)


@pytest.mark.security("T21")
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(400, {"error": "invalid_scope"}), "device_authorization_failed"),
        (Answer(401), "device_authorization_failed"),
        (Answer(200, "<html>"), "device_authorization_failed"),
        (Answer(302, headers={"Location": "https://attacker.example"}), "device_authorization_failed"),
        (Answer(503), "provider_unreachable"),
    ],
    ids=str,
)
def test_a_refused_start_leaves_nothing(
    answer: Answer, code: str, device_provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    fake.script("device", answer)
    refused(browser.post("/oauth/connect/fake/", {"way": "device"}), code)
    assert not AuthorizationRequest.objects.exists()


def test_googles_older_name_of_the_page_is_understood(
    device_provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    fake.oauth2.change_device = lambda body: body.update(verification_url=body.pop("verification_uri"))
    assert f"{fake.url}/activate" in browser.get(start(browser)).content.decode()


@pytest.mark.security("T21", "B07")
def test_nobody_else_sees_polls_or_cancels_it(
    device_provider: Provider,
    fake: FakeProvider,
    browser: Client,
    make_user: Callable[..., User],
    client_for: Callable[[User], Client],
    user: User,
    client: Client,
) -> None:
    page = start(browser)
    fake.oauth2.decide(next(iter(fake.oauth2.devices.values())).user_code)
    let_time_pass()
    stranger = client_for(make_user("bob"))
    same_user_elsewhere = client_for(user)
    for other in (stranger, same_user_elsewhere):
        refused(other.get(page), "session_mismatch")
        refused(other.post(page, {"action": "cancel"}), "session_mismatch")
    assert client.get(page).status_code == 302, "to the login"
    browser.force_login(make_user("eve"))
    refused(browser.get(page), "user_mismatch")
    browser.force_login(user)
    assert fake.count("token") == 0
    assert browser.get(page).status_code == 303
    assert Connection.objects.get().user == user


@pytest.mark.security("T21", "B07")
def test_a_password_that_was_changed_ends_it(device_provider: Provider, browser: Client, user: User) -> None:
    page = start(browser)
    user.set_password("another")
    user.save()
    browser.force_login(user)
    refused(browser.get(page), "session_mismatch")


@pytest.mark.security("T21")
def test_what_comes_for_a_cancelled_code_is_given_back(
    device_provider: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    page = start(browser)
    fake.oauth2.decide(next(iter(fake.oauth2.devices.values())).user_code)
    let_time_pass()
    fake.script("token", Delay(seconds=1.0))
    answers: list[Any] = []

    def look() -> None:
        try:
            answers.append(browser.get(page))
        finally:
            connections.close_all()

    poller = threading.Thread(target=look)
    poller.start()
    while not fake.count("token"):
        pass
    request = AuthorizationRequest.objects.get()
    cookies = {name: morsel.value for name, morsel in browser.cookies.items()}
    who = {"user": user, "session_auth_hash": user.get_session_auth_hash(), "cookies": cookies}
    flows.cancel_device_authorization(request.pk, **who)  # type: ignore[arg-type]
    poller.join()
    refused(answers[0], "access_denied")
    assert not Connection.objects.exists()
    assert Revocation.objects.get().outcome == "revoked"
    assert not fake.oauth2.grants[0].alive


def test_cancelling_ends_the_waiting(device_provider: Provider, fake: FakeProvider, browser: Client) -> None:
    page = start(browser)
    done = browser.post(page, {"action": "cancel"})
    assert (done.status_code, done["Location"]) == (303, "/oauth/")
    row = AuthorizationRequest.objects.get()
    assert (row.outcome, row.device_authorization) == ("failed", None)


@pytest.mark.security("B24")
def test_a_provider_that_was_changed_or_paused_meanwhile_is_not_asked(
    device_provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    for change in ({"token_endpoint": f"{fake.url}/elsewhere"}, {"paused": True}):
        page = start(browser)
        let_time_pass()
        Provider.objects.update(**change)
        refused(browser.get(page), "provider_changed")
        Provider.objects.update(paused=False, token_endpoint=device_provider.token_endpoint)
    assert fake.count("token") == 0


@pytest.mark.security("B25")
def test_another_account_than_the_reconnected_one_is_asked_about(
    device_provider: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    Provider.objects.update(authorization_endpoint="")  # the only way left
    device_provider.refresh_from_db()
    connection = make_connection(device_provider, user, fake, subject="another")
    page = browser.post(f"/oauth/connections/{connection.pk}/reconnect/")["Location"]
    assert "/device/" in page
    fake.oauth2.decide(next(iter(fake.oauth2.devices.values())).user_code)
    let_time_pass()
    parked = browser.get(page)["Location"]
    assert "/parked/" in parked
    assert browser.post(parked, {"action": "adopt"}).status_code == 303
    assert set(user.oauth_connections.values_list("subject", flat=True)) == {"another", "account-1"}


def test_a_provider_without_a_page_for_browsers_is_offered_and_connected_by_code(
    device_provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    Provider.objects.update(authorization_endpoint="")
    assert b"Connect Fake" in browser.get("/oauth/").content
    assert b"on any device" in browser.get("/oauth/connect/fake/confirm/").content
    assert "/device/" in browser.post("/oauth/connect/fake/")["Location"]


def test_the_second_way_is_offered_where_staff_have_switched_it_on(device_provider: Provider, browser: Client) -> None:
    for page in ("/oauth/", "/oauth/connect/fake/confirm/"):
        Provider.objects.update(offers_device_flow=False)
        assert b"another device" not in browser.get(page).content
        Provider.objects.update(offers_device_flow=True)
        assert b'name="way" value="device"' in browser.get(page).content


def test_a_provider_without_the_endpoint_says_so(provider: Provider, browser: Client, user: User) -> None:
    refused(browser.post("/oauth/connect/fake/", {"way": "device"}), "device_flow_unsupported")
    with pytest.raises(ConfigurationError) as caught:
        flows.start_device_authorization(provider, user=user, session_auth_hash="")
    assert caught.value.code == "device_flow_unsupported"
    Provider.objects.update(offers_device_flow=True)
    assert b"another device" not in browser.get("/oauth/").content


@pytest.mark.security("H06")
def test_where_codes_come_from_is_vetted_at_use_as_well(device_provider: Provider, user: User) -> None:
    device_provider.device_authorization_endpoint = "file:///etc/passwd"
    with pytest.raises(ConfigurationError) as caught:
        flows.start_device_authorization(device_provider, user=user, session_auth_hash="")
    assert caught.value.code == "endpoint_not_allowed"


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
def test_the_client_is_named_and_authenticates_once(
    method: str, device_provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    Provider.objects.update(token_endpoint_auth_method=method)
    fake.oauth2.public = method == "none"
    page = start(browser)
    body = fake.received("device")[0].body.decode()
    assert body.count("client_id=") == 1
    fake.oauth2.decide(next(iter(fake.oauth2.devices.values())).user_code)
    let_time_pass()
    assert browser.get(page).status_code == 303


@pytest.mark.rfc("8628", "3.4")
def test_an_id_token_that_comes_with_the_tokens_is_verified(fake: FakeProvider, browser: Client, user: User) -> None:
    fake.oauth2.device_interval = 0
    make_provider(
        fake, device_authorization_endpoint=f"{fake.url}/device", scopes=("openid", "read"), identity_source="id_token"
    )
    page = start(browser)
    fake.oauth2.decide(next(iter(fake.oauth2.devices.values())).user_code)
    let_time_pass()
    assert browser.get(page).status_code == 303
    assert user.oauth_connections.get().subject == "account-1"


@pytest.mark.security("A16")
def test_the_page_is_framed_by_nobody_has_no_script_and_draws_its_own_code(
    device_provider: Provider, browser: Client
) -> None:
    shown = browser.get(start(browser))
    assert shown["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in shown["Content-Security-Policy"]
    text = shown.content.decode()
    assert "<svg" in text
    for loose in ("<script", "style=", "onload", "http-equiv"):
        assert loose not in text


@pytest.mark.security("S05")
def test_unknown_and_other_requests_are_nobodys_code(device_provider: Provider, browser: Client, user: User) -> None:
    browser.post("/oauth/connect/fake/")
    request = AuthorizationRequest.objects.get()
    who = {"user": user, "session_auth_hash": user.get_session_auth_hash(), "cookies": {}}
    with pytest.raises(AuthorizationError) as caught:
        flows.poll_device_authorization(request.pk, **who)  # type: ignore[arg-type]
    assert caught.value.code == "state_unknown"
    refused(browser.get("/oauth/device/00000000-0000-0000-0000-000000000000/"), "state_unknown")


def test_too_many_starts_are_refused_before_the_provider_is_asked(
    device_provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    for _ in range(60):
        start(browser)
    response = browser.post("/oauth/connect/fake/", {"way": "device"})
    assert response.status_code == 429
    assert fake.count("device") == 60
