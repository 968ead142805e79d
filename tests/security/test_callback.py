"""Group B: the callback. Every refusal has a stable code, sends nothing, and stores nothing but its outcome."""

from __future__ import annotations

import re
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from django.contrib.auth.models import Group, User
from django.db import DatabaseError, IntegrityError, connection
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_oauth_flows import flows
from django_oauth_flows.exceptions import AuthorizationError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Connection, ConnectionEvent, Provider, Revocation
from django_oauth_flows.testing import Answer, Delay
from django_oauth_flows.testing.factories import answer, begin, consent, make_connection, make_provider, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

CALLBACK = "/oauth/callback/fake/"


def refused(response: Any, code: str) -> None:
    """Assert an error page with a stable code that nobody may keep."""
    assert response.status_code == 400, response.content
    assert f"<code>{code}</code>".encode() in response.content
    assert "no-store" in response["Cache-Control"]
    assert response["Referrer-Policy"] == "no-referrer"


def with_query(callback: str, **changes: str | None) -> str:
    """Return the callback's path with parameters replaced, or removed if None."""
    query = {k: v[0] for k, v in parse_qs(urlsplit(callback).query, keep_blank_values=True).items()} | changes
    return f"{urlsplit(callback).path}?{urlencode({k: v for k, v in query.items() if v is not None})}"


def nothing_happened(fake: FakeProvider) -> None:
    assert fake.count("token") == 0
    assert fake.count("token1") == 0
    assert not Connection.objects.exists()


@pytest.fixture(params=["oauth2", "oauth1"])
def either(request: pytest.FixtureRequest, fake: FakeProvider, db: None) -> Provider:
    """Return a provider of each protocol in turn: what holds for one must hold for the other."""
    return make_provider(fake, protocol=request.param)


@pytest.mark.security("B01", "O09")
def test_a_missing_or_empty_state_is_refused(browser: Client, either: Provider, fake: FakeProvider) -> None:
    callback = begin(browser, either)
    refused(browser.get(with_query(callback, state=None)), "state_missing")
    refused(browser.get(with_query(callback, state="")), "state_missing")
    nothing_happened(fake)


@pytest.mark.security("B02", "O09")
@pytest.mark.parametrize("change", ["flip", "huge", "nul", "array"])
def test_an_unknown_state_is_refused_cheaply(
    change: str, browser: Client, either: Provider, fake: FakeProvider
) -> None:
    callback = begin(browser, either)
    state = parse_qs(urlsplit(callback).query)["state"][0]
    forged = {"flip": state[:-1] + ("A" if state[-1] != "A" else "B"), "huge": "x" * 100_000, "nul": state + "\x00"}
    url = with_query(callback, state=forged.get(change)) if change != "array" else f"{CALLBACK}?code=A&state[]={state}"
    browser.get(url)
    started = time.process_time()
    response = browser.get(url)
    assert time.process_time() - started < 0.05
    refused(response, "state_missing" if change == "array" else "state_unknown")
    nothing_happened(fake)


@pytest.mark.security("B01", "B02")
def test_a_refusal_is_one_event_under_the_number_that_the_page_shows(
    browser: Client, provider: Provider, user: User, caplog: pytest.LogCaptureFixture
) -> None:
    for query, code in (("code=A", "state_missing"), ("code=A&state=x", "state_unknown")):
        caplog.clear()
        response = browser.get(f"{CALLBACK}?{query}")
        refused(response, code)
        (record,) = [r for r in caplog.records if r.name == "oauth_flows"]
        facts = vars(record)
        assert (record.getMessage(), facts["provider"], facts["actor"]) == (f"oauth_flows.{code}", "fake", str(user.pk))
        assert re.fullmatch("[0-9a-f]{16}", facts["correlation_id"])
        assert facts["correlation_id"].encode() in response.content


@pytest.mark.security("B03", "B04", "O09")
def test_the_same_user_in_another_browser_cannot_finish(
    either: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    callback = begin(browser, either)
    other = Client()
    other.force_login(user)
    refused(answer(other, callback), "session_mismatch")
    nothing_happened(fake)
    assert answer(browser, callback).status_code == 303


@pytest.mark.security("B03", "O09")
@pytest.mark.parametrize("engine", ["db", "cache", "signed_cookies", "cached_db"])
def test_a_victim_cannot_be_made_to_finish_an_attackers_flow(
    engine: str, either: Provider, fake: FakeProvider, make_user: Callable[..., User], settings: Any
) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    attacker, victim = Client(), Client()
    attacker.force_login(make_user("mallory"))
    victim.force_login(make_user("victim"))
    callback = begin(attacker, either)
    refused(answer(victim, callback), "session_mismatch")
    nothing_happened(fake)
    assert answer(attacker, callback).status_code == 303  # the attacker's own request was not burnt by a stranger


@pytest.mark.security("B04", "O09")
def test_an_authorization_url_sent_to_a_victim_is_worth_nothing(
    either: Provider, fake: FakeProvider, browser: Client, make_user: Callable[..., User]
) -> None:
    started = browser.post("/oauth/connect/fake/")
    victims_callback = consent(started["Location"])
    victim = Client()
    victim.force_login(make_user("victim"))
    refused(answer(victim, victims_callback), "session_mismatch")
    refused(answer(Client(), victims_callback), "session_mismatch")
    nothing_happened(fake)


@pytest.mark.security("B05", "O09")
def test_another_user_in_the_same_browser_cannot_finish(
    either: Provider, fake: FakeProvider, browser: Client, make_user: Callable[..., User]
) -> None:
    callback = begin(browser, either)
    browser.post("/accounts/logout/")  # as a browser would: our cookie stays
    browser.force_login(make_user("bob"))
    refused(answer(browser, callback), "user_mismatch")
    nothing_happened(fake)
    assert AuthorizationRequest.objects.get().taken_at is None


@pytest.mark.security("B05")
def test_the_browsers_cookie_alone_does_not_make_another_user_the_starter(
    either: Provider, fake: FakeProvider, browser: Client, user: User, make_user: Callable[..., User]
) -> None:
    callback = begin(browser, either)
    other, bob = Client(), make_user("bob")
    bob.password = user.password  # or none at all: what ties a session to a password is then the same
    bob.save()
    other.force_login(bob)
    for name, morsel in browser.cookies.items():
        if name.startswith("oauth_flows"):
            other.cookies[name] = morsel.value
    refused(answer(other, callback), "user_mismatch")
    nothing_happened(fake)
    assert answer(browser, callback).status_code == 303


@pytest.mark.security("B03", "O09")
def test_a_browser_with_an_authorization_of_its_own_cannot_finish_another_ones(
    either: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    callback = begin(browser, either)
    other = Client()
    other.force_login(user)
    begin(other, either)
    refused(answer(other, callback), "session_mismatch")
    nothing_happened(fake)
    assert answer(browser, callback).status_code == 303


@pytest.mark.security("B06", "O09")
def test_a_lost_session_or_a_changed_password_ends_the_flow_but_a_new_session_key_does_not(
    either: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    callback = begin(browser, either)
    session = browser.session
    session.cycle_key()
    browser.cookies["sessionid"] = session.session_key
    user.set_password("new")
    user.save()
    relogged = Client()
    relogged.cookies = browser.cookies
    relogged.force_login(User.objects.get(pk=user.pk))
    refused(answer(relogged, callback), "session_mismatch")
    nothing_happened(fake)
    assert AuthorizationRequest.objects.get().taken_at is None


@pytest.mark.security("B06", "O09")
def test_a_session_that_ended_meanwhile_is_refused_and_the_code_is_not_kept_for_after_the_login(
    either: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    callback = begin(browser, either)
    browser.session.flush()
    response = answer(browser, callback)
    refused(response, "session_mismatch")
    assert b"Log in and start again" in response.content
    code = re.findall(r"(?:code|oauth_verifier)=(\w+)", callback)[0]
    assert code not in f"{response.content!r} {response.headers}"
    nothing_happened(fake)
    browser.force_login(user)
    assert code not in str(dict(browser.session))
    assert answer(browser, callback).status_code == 303


@pytest.mark.security("B06")
def test_a_new_session_key_alone_ends_nothing(either: Provider, browser: Client) -> None:
    callback = begin(browser, either)
    session = browser.session
    before = session.session_key
    session.cycle_key()
    assert session.session_key != before
    browser.cookies["sessionid"] = session.session_key
    assert answer(browser, callback).status_code == 303


@pytest.mark.security("B06")
def test_the_same_user_logged_in_again_passes(either: Provider, browser: Client, user: User) -> None:
    callback = begin(browser, either)
    browser.force_login(user)
    assert answer(browser, callback).status_code == 303
    assert user.oauth_connections.count() == 1


@pytest.mark.security("B07", "O09")
def test_the_same_callback_again_leads_to_what_is_connected_and_sends_nothing(
    either: Provider, fake: FakeProvider, browser: Client, user: User, make_user: Callable[..., User]
) -> None:
    callback = begin(browser, either)
    assert answer(browser, callback).status_code == 303
    before = len(fake.requests)
    assert answer(browser, callback).status_code == 303
    AuthorizationRequest.objects.update(expires_at=DatabaseNow())  # much later, in a browser without the cookie
    later = Client()
    later.force_login(user)
    assert answer(later, callback)["Location"] == "/oauth/"
    stranger = Client()
    stranger.force_login(make_user("eve"))
    refused(answer(stranger, callback), "state_used")
    refused(answer(Client(), callback), "state_used")
    assert len(fake.requests) == before
    assert Connection.objects.count() == 1


@pytest.mark.security("B07", "O09")
def test_the_same_callback_again_leads_back_to_a_grant_that_waits_for_a_yes(
    either: Provider, fake: FakeProvider, browser: Client, make_user: Callable[..., User]
) -> None:
    make_connection(either, make_user("bob"), fake)
    callback = begin(browser, either)
    parked = answer(browser, callback)["Location"]
    before = len(fake.requests)
    again = answer(browser, callback)
    assert (again.status_code, again["Location"]) == (303, parked)
    assert b"Ada Lovelace" in browser.get(parked).content
    stranger = Client()
    stranger.force_login(make_user("eve"))
    refused(answer(stranger, callback), "state_used")
    assert len(fake.requests) == before
    assert browser.post(parked, {"action": "drop"}).status_code == 303
    refused(answer(browser, callback), "state_used")


@pytest.mark.security("B08", "O09")
def test_of_two_requests_at_once_one_exchanges_and_the_other_says_so(
    either: Provider, fake: FakeProvider, browser: Client
) -> None:
    endpoint = "token1" if either.protocol == "oauth1" else "token"
    callback = begin(browser, either)
    go, reached = threading.Event(), threading.Event()
    fake.script(endpoint, Delay(until=go, reached=reached))
    first: list[Any] = []

    def run() -> None:
        first.append(answer(browser, callback))
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert reached.wait(10)
    second = Client()
    second.cookies = browser.cookies
    replay = answer(second, callback)
    go.set()
    thread.join()
    assert replay.status_code == 202
    assert b"being completed" in replay.content
    assert first[0].status_code == 303
    assert fake.count(endpoint) == 1


@pytest.mark.security("B08", "O09")
def test_two_that_have_both_found_the_request_untaken_exchange_once(
    either: Provider, fake: FakeProvider, browser: Client
) -> None:
    callback, both = begin(browser, either), threading.Barrier(2, timeout=20)
    statuses: list[int] = []

    def meet(execute: Any, sql: str, *args: Any) -> Any:
        if (
            sql.startswith("UPDATE")
            and "oauth_flows_authorizationrequest" in sql
            and "taken_at" in sql.partition("WHERE")[0]
        ):
            both.wait()
        return execute(sql, *args)

    def run() -> None:
        copy = Client()
        copy.cookies = browser.cookies
        with connection.execute_wrapper(meet):
            statuses.append(answer(copy, callback).status_code)
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fake.count("token") + fake.count("token1") == 1
    assert 303 in statuses
    assert set(statuses) <= {202, 303}
    assert Connection.objects.count() == 1


@pytest.mark.security("B09")
@pytest.mark.parametrize("minutes", [-5, 5])
def test_a_process_whose_clock_is_wrong_does_not_decide(
    minutes: int, provider: Provider, fake: FakeProvider, browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: right() + timedelta(minutes=minutes))
    early, late = begin(browser, provider), begin(browser, provider)
    rows = list(AuthorizationRequest.objects.annotate(now=DatabaseNow()).order_by("created_at"))
    assert all(timedelta(seconds=590) < row.expires_at - row.now <= timedelta(seconds=600) for row in rows)
    AuthorizationRequest.objects.filter(pk=rows[0].pk).update(expires_at=DatabaseNow() + timedelta(seconds=5))
    AuthorizationRequest.objects.filter(pk=rows[1].pk).update(expires_at=DatabaseNow() - timedelta(seconds=1))
    refused(answer(browser, late), "state_expired")
    assert fake.count("token") == 0
    assert answer(browser, early).status_code == 303


@pytest.mark.security("B09", "O09")
def test_ten_minutes_by_the_databases_clock(either: Provider, fake: FakeProvider, browser: Client) -> None:
    early, late = begin(browser, either), begin(browser, either)
    rows = list(AuthorizationRequest.objects.annotate(now=DatabaseNow()).order_by("created_at"))
    assert all(timedelta(seconds=590) < row.expires_at - row.now <= timedelta(seconds=600) for row in rows)
    AuthorizationRequest.objects.filter(pk=rows[0].pk).update(expires_at=DatabaseNow() + timedelta(seconds=5))
    AuthorizationRequest.objects.filter(pk=rows[1].pk).update(expires_at=DatabaseNow() - timedelta(seconds=1))
    refused(answer(browser, late), "state_expired")
    nothing_happened(fake)
    assert answer(browser, early).status_code == 303


@pytest.mark.security("B10", "O09")
def test_an_answer_is_only_taken_by_the_provider_it_belongs_to(
    either: Provider, fake: FakeProvider, browser: Client
) -> None:
    make_provider(fake, slug="honest", protocol=either.protocol)
    callback = begin(browser, either)
    path = "/oauth/callback/honest/"
    cookie = next(m for n, m in browser.cookies.items() if n.startswith("oauth_flows"))
    cookie["path"] = path  # a browser would not even send it there
    refused(browser.get(f"{path}?{urlsplit(callback).query}"), "provider_mismatch")
    nothing_happened(fake)
    refused(answer(browser, callback), "state_used")


@pytest.mark.security("B11")
@pytest.mark.rfc("9207", "2.4")
@pytest.mark.parametrize(
    "change",
    [
        lambda i: "https://attacker.example",
        lambda i: i + "/",
        str.upper,
        lambda i: i.replace("h", "%68", 1),
        lambda i: "",
        lambda i: i + ":443",
    ],
)
def test_another_spelling_of_the_issuer_is_another_issuer(
    change: Callable[[str], str], provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    callback = begin(browser, provider)
    refused(browser.get(with_query(callback, iss=change(fake.url))), "issuer_mismatch")
    nothing_happened(fake)


@pytest.mark.security("B12")
@pytest.mark.rfc("9207", "2.4")
def test_a_stripped_issuer_is_noticed_and_an_unannounced_one_must_match(
    provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    provider.authorization_response_iss_parameter_supported = True
    provider.save()
    refused(answer(browser, begin(browser, provider)), "issuer_missing")
    nothing_happened(fake)
    fake.oauth2.sends_iss = True
    assert answer(browser, begin(browser, provider)).status_code == 303
    provider.authorization_response_iss_parameter_supported = False
    provider.save()
    assert answer(browser, begin(browser, provider)).status_code == 303
    provider.issuer = ""
    provider.save()
    refused(answer(browser, begin(browser, provider)), "issuer_mismatch")


@pytest.mark.security("B13", "O09")
def test_a_user_who_denies_is_told_so_kindly(
    either: Provider, fake: FakeProvider, browser: Client, caplog: pytest.LogCaptureFixture
) -> None:
    fake.oauth1.denies = fake.oauth2.denies = True
    response = answer(browser, begin(browser, either))
    refused(response, "access_denied")
    assert b"Cancelled" in response.content
    ours = [(r.getMessage(), r.levelname) for r in caplog.records if r.name == "oauth_flows"]
    assert ours == [("oauth_flows.access_denied", "INFO")]
    nothing_happened(fake)
    row = AuthorizationRequest.objects.get()
    assert (row.outcome, row.failure) == ("failed", "access_denied")


@pytest.mark.security("B14")
def test_a_providers_error_text_is_shown_as_harmless_text_only_to_who_started(
    provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    callback = begin(browser, provider)
    text = "<script>alert(1)</script>\u202e\u200b\r\nSet-Cookie:a=b" + "x" * 10_000
    url = with_query(
        callback, code=None, error="server_error\x00", error_description=text, error_uri="javascript:alert(1)"
    )
    stranger = Client().get(url)
    assert b"alert" not in stranger.content
    response = browser.get(url)
    refused(response, "provider_error")
    html = response.content.decode()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "javascript:" not in html
    assert "\u202e" not in html
    assert "\u200b" not in html
    assert "x" * 250 not in html
    assert "a" not in [name for name in response.cookies if not name.startswith("oauth_flows")]


@pytest.mark.security("B15")
def test_an_error_wins_over_a_code(provider: Provider, fake: FakeProvider, browser: Client) -> None:
    callback = begin(browser, provider)
    refused(browser.get(with_query(callback, error="server_error")), "provider_error")
    nothing_happened(fake)


@pytest.mark.security("B16")
@pytest.mark.rfc("6749", "3.1")
@pytest.mark.parametrize("name", ["code", "state", "iss"])
def test_a_repeated_parameter_is_refused(name: str, provider: Provider, fake: FakeProvider, browser: Client) -> None:
    fake.oauth2.sends_iss = True
    callback = begin(browser, provider)
    value = parse_qs(urlsplit(callback).query)[name][0]
    refused(browser.get(f"{with_query(callback)}&{name}={quote(value)}"), "duplicate_parameter")
    nothing_happened(fake)


@pytest.mark.security("B16")
@pytest.mark.parametrize("name", ["error", "error_description", "error_uri"])
def test_a_repeated_refusal_is_refused_as_such(
    name: str, provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    callback = with_query(begin(browser, provider), code=None, error="access_denied")
    refused(browser.get(f"{callback}&{name}=access_denied&{name}=access_denied"), "duplicate_parameter")
    nothing_happened(fake)


@pytest.mark.security("B16", "O09")
def test_a_parameter_in_query_and_body_is_refused(either: Provider, fake: FakeProvider, browser: Client) -> None:
    callback = begin(browser, either)
    query = {name: values[0] for name, values in parse_qs(urlsplit(callback).query).items()}
    form = urlencode(query)
    response = browser.post(with_query(callback), form, content_type="application/x-www-form-urlencoded")
    refused(response, "duplicate_parameter")
    nothing_happened(fake)
    assert answer(browser, callback).status_code == 303


@pytest.mark.security("B17")
@pytest.mark.parametrize(
    "code", ["", "+", "%20a%20", "x" * 65_536, "A%00B", "%ED%A0%80", "%C0%80", "%zz", "%zz%00", "A%4", "A%", "%C3%A9"]
)
def test_a_hostile_code_is_refused(code: str, provider: Provider, fake: FakeProvider, browser: Client) -> None:
    callback = with_query(begin(browser, provider), code=None)
    refused(browser.get(f"{callback}&code={code}"), "invalid_code")
    nothing_happened(fake)


@pytest.mark.security("B18")
@pytest.mark.parametrize("extra", ["access_token=x", "id_token=x", "response=x", "token_type=Bearer"])
def test_a_token_in_the_front_channel_is_refused(
    extra: str, provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    callback = with_query(begin(browser, provider))
    refused(browser.get(f"{callback}&{extra}"), "unexpected_response")
    nothing_happened(fake)


@pytest.mark.security("B19", "O09")
def test_other_methods_prefetches_and_bots_do_not_consume_the_request(
    either: Provider, fake: FakeProvider, browser: Client
) -> None:
    callback = begin(browser, either)
    url = with_query(callback)
    for method in ("head", "put", "delete", "patch"):
        assert getattr(browser, method)(url).status_code == 405
    refused(browser.post(url), "unexpected_response")
    for guess in ({"Sec-Purpose": "prefetch;prerender"}, {"Sec-Purpose": "prefetch"}, {"Purpose": "prefetch"}):
        assert browser.get(url, headers=guess).status_code == 403
    refused(Client().get(url), "session_mismatch")
    nothing_happened(fake)
    state = parse_qs(urlsplit(callback).query)["state"][0]
    impostor = Client()
    impostor.cookies["sessionid"] = state
    assert impostor.get("/oauth/").status_code == 302
    assert answer(browser, callback).status_code == 303


@pytest.mark.security("B23", "O09")
@pytest.mark.parametrize("how", ["deactivated", "deleted", "forbidden"])
def test_a_user_who_may_no_longer_connect_does_not(
    how: str, either: Provider, fake: FakeProvider, browser: Client, user: User, settings: Any
) -> None:
    callback = begin(browser, either)
    if how == "deactivated":
        User.objects.update(is_active=False)
    elif how == "deleted":
        user.delete()
    else:
        settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "OWNER_POLICY": f"{__name__}.nobody"}
    code = {"deactivated": "session_mismatch", "deleted": "state_unknown", "forbidden": "not_allowed"}[how]
    refused(answer(browser, callback), code)
    nothing_happened(fake)


def nobody(user: Any, action: str, target: Any) -> bool:
    """Allow nobody anything."""
    return False


def nobody_may_use(user: Any, action: str, target: Any) -> bool:
    """Take the permission to use providers away from everybody."""
    return action != "use"


def members_manage(user: Any, action: str, target: Any) -> bool:
    """Let a group's members manage what it has."""
    return target._meta.model_name != "group" or user.groups.filter(pk=target.pk).exists()


@pytest.mark.security("B23")
def test_a_user_who_may_no_longer_use_the_provider_does_not_connect(
    either: Provider, fake: FakeProvider, browser: Client, settings: Any
) -> None:
    callback = begin(browser, either)
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "OWNER_POLICY": f"{__name__}.nobody_may_use"}
    refused(answer(browser, callback), "not_allowed")
    nothing_happened(fake)


@pytest.mark.security("B23")
@pytest.mark.parametrize("how", ["left", "dissolved"])
def test_a_user_whose_membership_ended_does_not_connect_for_the_group(
    how: str, either: Provider, fake: FakeProvider, browser: Client, user: User, settings: Any
) -> None:
    policy = {"OWNER_MODELS": ["auth.Group"], "OWNER_POLICY": f"{__name__}.members_manage"}
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, **policy}
    group = Group.objects.create(name="Engine room")
    user.groups.add(group)
    callback = begin(browser, either, owner=f"auth.group:{group.pk}")
    if how == "left":
        user.groups.clear()
    else:
        group.delete()
    refused(answer(browser, callback), "not_allowed")
    nothing_happened(fake)


@pytest.mark.security("B23")
def test_a_deactivated_user_whom_the_sites_login_lets_pass_does_not_connect(
    either: Provider, fake: FakeProvider, browser: Client, user: User, settings: Any
) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    browser.force_login(user)
    callback = begin(browser, either)
    User.objects.update(is_active=False)
    refused(answer(browser, callback), "not_allowed")
    nothing_happened(fake)


@pytest.mark.security("B24", "O09")
@pytest.mark.parametrize("change", ["token_endpoint", "client_id", "issuer", "enabled", "paused", "deleted"])
def test_a_provider_that_was_edited_meanwhile_does_not_get_the_code(
    change: str, either: Provider, fake: FakeProvider, browser: Client
) -> None:
    callback = begin(browser, either)
    if change == "deleted":
        either.delete()
    else:
        values = {"enabled": False, "paused": True}
        setattr(either, change, values.get(change, f"{fake.url}/elsewhere"))
        either.save()
    refused(answer(browser, callback), "state_unknown" if change == "deleted" else "provider_changed")
    nothing_happened(fake)
    assert "/elsewhere" not in [r.path for r in fake.requests]


@pytest.mark.security("B25", "O09")
def test_nothing_of_the_dance_stays_in_the_browser(either: Provider, browser: Client) -> None:
    callback = begin(browser, either, next="/notes/")
    response = answer(browser, callback)
    assert (response.status_code, response["Location"]) == (303, "/notes/")
    assert response["Referrer-Policy"] == "no-referrer"
    assert "no-store" in response["Cache-Control"]
    values = [v[0] for v in parse_qs(urlsplit(callback).query).values()]
    page = browser.get("/oauth/").content.decode()
    assert not any(value in page or value in str(response.headers) for value in values)


@pytest.mark.security("B26")
def test_an_account_that_somebody_else_holds_is_refused_where_it_must_be_unique(
    provider: Provider, fake: FakeProvider, browser: Client, make_user: Callable[..., User]
) -> None:
    provider.unique_subject, provider.revocation_effect = True, "token"
    provider.save()
    make_connection(provider, make_user("bob"), fake)
    refused(walk(browser, provider), "account_in_use")
    assert Connection.objects.count() == 1
    assert Revocation.objects.get().outcome == Revocation.Outcome.REVOKED
    assert fake.count("revoke") == 2


@pytest.mark.security("B26")
def test_an_account_that_somebody_else_holds_is_connected_after_a_yes(
    either: Provider, fake: FakeProvider, browser: Client, user: User, make_user: Callable[..., User]
) -> None:
    make_connection(either, make_user("bob"), fake)
    parked = walk(browser, either)
    assert parked.status_code == 303
    assert parked["Location"].startswith("/oauth/parked/")
    assert not user.oauth_connections.exists()
    assert b"Ada Lovelace" in browser.get(parked["Location"]).content
    assert Client().get(parked["Location"]).status_code == 302
    assert browser.post(parked["Location"], {"action": "adopt"}).status_code == 303
    assert user.oauth_connections.count() == 1
    assert ConnectionEvent.objects.filter(kind="shared").count() == 1
    with flows.session(user.oauth_connections.get()) as http:
        assert http.get("/echo").status_code == 200
    assert browser.post(parked["Location"], {"action": "adopt"}).status_code == 303  # the second click of a double one
    assert user.oauth_connections.count() == 1
    stranger = Client()
    stranger.force_login(make_user("eve"))
    refused(stranger.post(parked["Location"], {"action": "adopt"}), "state_unknown")


@pytest.fixture
def parked(either: Provider, fake: FakeProvider, browser: Client, make_user: Callable[..., User]) -> str:
    """Return the page of a grant that waits for the yes of the browser's user."""
    make_connection(either, make_user("bob"), fake)
    return walk(browser, either, next="/notes/")["Location"]


@pytest.mark.security("B26", "B27")
@pytest.mark.parametrize("action", ["", "adopt", "drop"])
def test_only_the_user_and_browser_that_started_answer_for_a_parked_grant(
    action: str, parked: str, browser: Client, user: User, make_user: Callable[..., User]
) -> None:
    def attempt(client: Client) -> Any:
        return client.post(parked, {"action": action}) if action else client.get(parked)

    elsewhere, eve = Client(), Client()
    elsewhere.force_login(user)
    refused(attempt(elsewhere), "session_mismatch")
    eve.force_login(make_user("eve"))
    for name, morsel in browser.cookies.items():
        if name.startswith("oauth_flows"):
            eve.cookies[name] = morsel.value
    refused(attempt(eve), "user_mismatch")
    assert AuthorizationRequest.objects.get().outcome == "parked"
    assert Connection.objects.count() == 1


@pytest.mark.security("B26")
def test_a_parked_account_that_must_be_unique_by_now_is_not_adopted(
    parked: str, either: Provider, browser: Client
) -> None:
    either.unique_subject = True
    either.save()
    refused(browser.post(parked, {"action": "adopt"}), "account_in_use")
    assert Connection.objects.count() == 1


@pytest.mark.security("B24")
def test_a_grant_that_was_parked_before_the_provider_was_edited_is_not_adopted(
    parked: str, either: Provider, fake: FakeProvider, browser: Client
) -> None:
    either.token_endpoint = f"{fake.url}/elsewhere"
    either.save()
    refused(browser.post(parked, {"action": "adopt"}), "provider_changed")
    assert Connection.objects.count() == 1


@pytest.mark.security("A12")
def test_a_foreign_next_falls_back_to_the_default_page_after_the_yes(parked: str, browser: Client) -> None:
    AuthorizationRequest.objects.update(next_url="//evil.example")  # as if something else had written the row
    assert browser.post(parked, {"action": "adopt"})["Location"] == "/oauth/"


@pytest.mark.security("B27", "O09")
@pytest.mark.parametrize("decision", ["adopt", "drop"])
def test_reconnecting_with_another_account_asks_first_and_overwrites_nothing(
    decision: str, either: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    either.revocation_effect = "token"
    either.save()
    mine = make_connection(either, user, fake)
    before = mine.token.access_token
    fake.oauth1.subject = fake.oauth2.subject = "account-2"
    started = browser.post(f"/oauth/connections/{mine.pk}/reconnect/")
    parked = answer(browser, consent(started["Location"]))
    assert parked["Location"].startswith("/oauth/parked/")
    mine.token.refresh_from_db()
    assert mine.token.access_token == before
    assert Connection.objects.count() == 1
    assert browser.post(parked["Location"], {"action": decision}).status_code == 303
    mine.token.refresh_from_db()
    assert mine.token.access_token == before
    subjects = set(user.oauth_connections.values_list("subject", flat=True))
    assert subjects == ({"account-1", "account-2"} if decision == "adopt" else {"account-1"})
    assert AuthorizationRequest.objects.get().parked_grant is None
    if decision == "drop":
        assert fake.count("revoke") + fake.count("revoke1") >= 1


@pytest.mark.security("B29")
def test_a_parked_grant_that_cannot_be_stored_goes_on_waiting(
    provider: Provider, fake: FakeProvider, browser: Client, user: User, make_user: Callable[..., User]
) -> None:
    make_connection(provider, make_user("bob"), fake)
    page = walk(browser, provider)["Location"]

    def broken(execute: Any, sql: str, *args: Any) -> Any:
        if "INSERT INTO" in sql and "oauth_flows_token" in sql:
            raise DatabaseError("disk full")
        return execute(sql, *args)

    with connection.execute_wrapper(broken):
        assert browser.post(page, {"action": "adopt"}).status_code == 503
    assert not user.oauth_connections.exists()
    assert browser.post(page, {"action": "adopt"}).status_code == 303
    with flows.session(user.oauth_connections.get()) as http:
        assert http.get("/echo").status_code == 200


@pytest.mark.security("B23", "B24")
@pytest.mark.parametrize(("change", "code"), [("forbidden", "not_allowed"), ("disabled", "provider_changed")])
def test_a_parked_grant_that_may_no_longer_be_kept_can_only_be_given_back(
    change: str,
    code: str,
    provider: Provider,
    fake: FakeProvider,
    browser: Client,
    user: User,
    make_user: Callable[..., User],
    settings: Any,
) -> None:
    provider.revocation_effect = "token"
    provider.save()
    make_connection(provider, make_user("bob"), fake)
    page = walk(browser, provider)["Location"]
    if change == "disabled":
        Provider.objects.update(enabled=False)
    else:
        settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "OWNER_POLICY": f"{__name__}.nobody"}
    refused(browser.get(page), code)
    refused(browser.post(page, {"action": "adopt"}), code)
    assert not user.oauth_connections.exists()
    assert browser.post(page, {"action": "drop"}).status_code == 303
    assert not fake.oauth2.grants[-1].alive


def test_reconnecting_with_the_same_account_replaces_its_tokens(
    either: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    mine = make_connection(either, user, fake)
    before = mine.token.access_token
    started = browser.post(f"/oauth/connections/{mine.pk}/reconnect/")
    assert answer(browser, consent(started["Location"])).status_code == 303
    fresh = Connection.objects.get()
    assert fresh.pk == mine.pk
    assert fresh.token.access_token != before
    assert fresh.token.generation == 2


@pytest.mark.security("B29")
def test_a_database_that_is_down_before_the_claim_leaves_the_request_usable(
    provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    callback = begin(browser, provider)

    def broken(execute: Any, sql: str, *args: Any) -> Any:
        if "oauth_flows_authorizationrequest" in sql:
            raise DatabaseError("the database is gone")
        return execute(sql, *args)

    with connection.execute_wrapper(broken):
        response = answer(browser, callback)
    assert response.status_code == 503
    assert b"storage_unavailable" in response.content
    nothing_happened(fake)
    assert answer(browser, callback).status_code == 303


@pytest.mark.security("B29", "T16")
@pytest.mark.parametrize("error", [DatabaseError("disk full"), IntegrityError("constraint")])
def test_a_database_that_fails_after_the_exchange_leaves_no_half_connection_and_gives_the_grant_back(
    error: DatabaseError, provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    provider.revocation_effect = "token"
    provider.save()
    callback = begin(browser, provider)

    def broken(execute: Any, sql: str, *args: Any) -> Any:
        if "INSERT INTO" in sql and "oauth_flows_token" in sql:
            raise error
        return execute(sql, *args)

    with connection.execute_wrapper(broken):
        response = answer(browser, callback)
    assert response.status_code == 503
    assert not Connection.objects.exists()
    assert not fake.oauth2.grants[0].alive
    assert walk(browser, provider).status_code == 303


@pytest.mark.security("T15")
def test_a_lost_answer_to_the_code_is_said_so_and_never_repeated(
    provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    from django_oauth_flows.testing import Drop

    callback = begin(browser, provider)
    fake.script("token", Drop())
    refused(answer(browser, callback), "outcome_unknown")
    assert fake.count("token") == 1
    assert not Connection.objects.exists()
    refused(answer(browser, callback), "state_used")
    assert fake.count("token") == 1


def test_an_unavailable_identity_gives_the_grant_back(provider: Provider, fake: FakeProvider, browser: Client) -> None:
    provider.revocation_effect = "token"
    provider.save()
    fake.script("userinfo", Answer(500))
    refused(walk(browser, provider), "identity_unavailable")
    assert not Connection.objects.exists()
    assert not fake.oauth2.grants[0].alive


@pytest.mark.security("V02")
@hypothesis_settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    query=st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass")))
)
def test_no_callback_query_crashes_the_page(query: bytes, browser: Client, provider: Provider) -> None:
    response = browser.generic("GET", CALLBACK, QUERY_STRING=query.decode("latin-1"))
    assert response.status_code == 400


@pytest.mark.security("V02")
@pytest.mark.parametrize("count", [50, 51, 20_000])
def test_any_number_of_parameters_is_answered_and_cheaply(
    count: int, browser: Client, either: Provider, fake: FakeProvider
) -> None:
    callback = begin(browser, either)
    url = f"{with_query(callback)}{''.join(f'&x{number}=1' for number in range(count))}"
    started = time.process_time()
    refused(browser.get(url), "unexpected_response")
    assert time.process_time() - started < 0.5
    nothing_happened(fake)
    assert answer(browser, callback).status_code == 303


def test_a_connection_without_identity_needs_no_userinfo(
    provider: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    provider.identity_source = "none"
    provider.save()
    assert walk(browser, provider).status_code == 303
    assert walk(browser, provider).status_code == 303
    assert fake.count("userinfo") == 0
    assert list(user.oauth_connections.values_list("subject", flat=True)) == [None, None]


def test_a_parked_grant_that_nobody_answers_for_is_given_back(
    provider: Provider, fake: FakeProvider, browser: Client, make_user: Callable[..., User]
) -> None:
    provider.revocation_effect = "token"
    provider.save()
    make_connection(provider, make_user("bob"), fake)
    walk(browser, provider)
    assert flows.drop_expired_parked() == 0
    AuthorizationRequest.objects.update(parked_until=DatabaseNow())
    assert flows.drop_expired_parked() == 1
    assert not fake.oauth2.grants[-1].alive
    with pytest.raises(AuthorizationError):
        flows.parked(AuthorizationRequest.objects.get().pk, user=User.objects.first(), session_auth_hash="", cookies={})


@pytest.mark.security("O14")
def test_a_request_token_is_sealed_lives_ten_minutes_and_is_blanked_with_its_first_use(
    oauth1_provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    callback = begin(browser, oauth1_provider)
    row = AuthorizationRequest.objects.select_related("provider").annotate(now=DatabaseNow()).get()
    token, issued = next(iter(fake.oauth1.temporary_credentials.items()))
    secret = row.open("temporary_token_secret")
    assert secret is not None
    assert secret.reveal() == issued.secret
    assert token not in str(vars(row))
    assert issued.secret not in str(vars(row))
    assert (row.expires_at - row.now).total_seconds() <= 600
    assert answer(browser, callback).status_code == 303
    row.refresh_from_db()
    assert row.temporary_token is None
    assert row.temporary_token_secret is None
    fake.oauth1.token_credentials.clear()
    assert answer(browser, callback).status_code == 303  # the truth about the first time; nothing is exchanged again
    assert fake.count("token1") == 1
