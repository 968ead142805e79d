"""Group A: starting an authorization."""

from __future__ import annotations

import base64
import hashlib
import random
import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import translation

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ConfigurationError, ScopeNotAllowed
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Provider
from django_oauth_flows.models.provider_rules import dangers
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import answer, begin, make_connection, make_provider, walk
from django_oauth_flows.tickets import connect_ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from django_oauth_flows.testing import FakeProvider

CONNECT = "/oauth/connect/fake/"


def start_query(browser: Client, **form: str) -> dict[str, list[str]]:
    """Start, and return the query that the browser is sent to the provider with."""
    response = browser.post(CONNECT, form)
    assert response.status_code == 303, response.content
    return parse_qs(urlsplit(response["Location"]).query, keep_blank_values=True)


@pytest.mark.security("A01")
def test_a_start_is_a_post_with_a_csrf_token_from_our_own_origin(user: User, provider: Provider) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.get(CONNECT).status_code == 405
    assert client.post(CONNECT).status_code == 403
    token = "a" * 32
    client.cookies["csrftoken"] = token
    foreign = client.post(CONNECT, {"csrfmiddlewaretoken": token}, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    assert not AuthorizationRequest.objects.exists()
    own = client.post(CONNECT, {"csrfmiddlewaretoken": token}, headers={"Origin": "http://testserver"})
    assert own.status_code == 303


@pytest.mark.security("A02")
def test_anonymous_and_inactive_users_are_sent_to_log_in(user: User, browser: Client, provider: Provider) -> None:
    anonymous = Client().post(CONNECT)
    assert (anonymous.status_code, anonymous["Location"]) == (302, f"/accounts/login/?next={CONNECT}confirm/")
    user.is_active = False
    user.save()
    assert browser.post(CONNECT).status_code == 302
    assert not AuthorizationRequest.objects.exists()


@pytest.mark.security("A02")
def test_an_inactive_user_whom_the_sites_login_lets_pass_starts_nothing(
    user: User, browser: Client, provider: Provider, settings: Any
) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    browser.force_login(user)
    user.is_active = False
    user.save()
    assert browser.post(CONNECT).status_code == 404
    assert not AuthorizationRequest.objects.exists()


def only_enabled_for_ada(user: Any, action: str, target: Any) -> bool:
    """Say, as a host's policy might, that only Ada's tenant has providers."""
    return target._meta.model_name != "provider" or user.username == "ada"


@pytest.mark.security("A03")
def test_a_foreign_a_disabled_and_an_unknown_provider_are_the_same_404(
    provider: Provider, client_for: Callable[[User], Client], make_user: Callable[..., User], settings: Any
) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "OWNER_POLICY": f"{__name__}.only_enabled_for_ada"}
    browser = client_for(make_user("eve"))
    foreign = browser.post(CONNECT)
    settings.OAUTH_FLOWS.pop("OWNER_POLICY")
    Provider.objects.update(enabled=False)
    disabled, unknown = browser.post(CONNECT), browser.post("/oauth/connect/nosuch/")
    Provider.objects.update(enabled=True, paused=True)
    paused = browser.post(CONNECT)
    assert [r.status_code for r in (foreign, disabled, unknown, paused)] == [404] * 4
    assert foreign.content == disabled.content == unknown.content == paused.content
    assert not AuthorizationRequest.objects.exists()


@pytest.mark.security("A04")
@pytest.mark.django_db
def test_the_row_holds_only_the_hash_of_a_256_bit_state(browser: Client, provider: Provider, user: User) -> None:
    states = [start_query(browser, next="/private/")["state"][0] for _ in range(15)]
    assert len(set(states)) == 15
    for state in states:
        assert len(base64.urlsafe_b64decode(state + "=")) == 32
        assert "private" not in state
        assert user.username not in state
    hashes = set(AuthorizationRequest.objects.values_list("state_hash", flat=True))
    assert hashes == {hashlib.sha256(state.encode()).hexdigest() for state in states}


@pytest.mark.security("A04", "A05")
def test_whoever_knows_the_seed_of_pythons_random_can_guess_nothing(user: User, provider: Provider) -> None:
    def secrets_of_a_start() -> set[str]:
        random.seed(7)
        started = flows.start_authorization(provider, user=user, session_auth_hash="")
        query = parse_qs(urlsplit(started.authorization_url).query)
        return {query["state"][0], query["code_challenge"][0], started.cookie.value.reveal()}

    assert len(secrets_of_a_start() | secrets_of_a_start()) == 6


@pytest.mark.rfc("7636", "appendix B")
@pytest.mark.security("A05")
def test_the_verifier_of_the_rfc_has_the_challenge_of_the_rfc(
    browser: Client, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier, random_text = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", secrets.token_urlsafe
    monkeypatch.setattr(secrets, "token_urlsafe", lambda size: verifier if size == 48 else random_text(size))
    assert start_query(browser)["code_challenge"] == ["E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"]


@pytest.mark.security("A05")
def test_plain_is_what_staff_have_chosen_and_a_check_reports_or_nothing(browser: Client, provider: Provider) -> None:
    assert Provider().code_challenge_method == "S256"
    provider.code_challenge_method = "PLAIN"
    with pytest.raises(ValidationError) as caught:
        provider.full_clean()
    assert "code_challenge_method" in caught.value.message_dict
    provider.code_challenge_method = "plain"
    provider.full_clean()
    provider.save()
    assert dangers(provider) == ["plain_pkce", "internal"]
    query = start_query(browser)
    assert query["code_challenge_method"] == ["plain"]
    verifier = AuthorizationRequest.objects.get().open("code_verifier")
    assert verifier is not None
    assert query["code_challenge"] == [verifier.reveal()]


@pytest.mark.security("A05")
def test_pkce_is_s256_with_a_fresh_verifier_each_time(browser: Client, provider: Provider) -> None:
    first, second = start_query(browser), start_query(browser)
    assert first["code_challenge_method"] == ["S256"]
    assert first["code_challenge"] != second["code_challenge"]
    for request in AuthorizationRequest.objects.select_related("provider"):
        verifier = request.open("code_verifier")
        assert verifier is not None
        assert 43 <= len(verifier.reveal()) <= 128
        assert set(verifier.reveal()) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
        digest = hashlib.sha256(verifier.reveal().encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert challenge in {first["code_challenge"][0], second["code_challenge"][0]}


@pytest.mark.security("A06")
def test_every_provider_has_its_own_redirect_uri_and_keeps_its_slug(
    browser: Client, provider: Provider, fake: FakeProvider
) -> None:
    other = make_provider(fake, slug="other")
    uris = {flows.redirect_uri(p) for p in (provider, other)}
    assert uris == {"http://testserver/oauth/callback/fake/", "http://testserver/oauth/callback/other/"}
    assert start_query(browser)["redirect_uri"] == ["http://testserver/oauth/callback/fake/"]


@pytest.mark.security("A07")
@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host"])
def test_a_forged_host_header_never_reaches_the_redirect_uri(
    header: str, browser: Client, provider: Provider, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    settings.USE_X_FORWARDED_HOST = True
    configured = browser.post(CONNECT, headers={header: "evil.example"})
    assert parse_qs(urlsplit(configured["Location"]).query)["redirect_uri"] == [
        "http://testserver/oauth/callback/fake/"
    ]
    settings.OAUTH_FLOWS = {}
    refused = browser.post(CONNECT, headers={header: "evil.example"})
    assert refused.status_code == 400
    assert b"base_url_required" in refused.content


@pytest.mark.security("A08")
@pytest.mark.parametrize(
    "name",
    [
        "state",
        "redirect_uri",
        "response_type",
        "client_id",
        "code_challenge_method",
        "nonce",
        "request_uri",
        "iss",
        "STATE",
        "oauth_token",
    ],
)
def test_a_reserved_parameter_cannot_be_configured_nor_take_effect(
    name: str, browser: Client, provider: Provider
) -> None:
    provider.dialect = {"authorization_parameters": {name: "evil"}}
    with pytest.raises(ValidationError) as caught:
        provider.full_clean()
    assert "dialect" in caught.value.message_dict
    provider.save()  # whatever let it into the row
    response = browser.post(CONNECT)
    assert response.status_code == 400
    assert b"provider_misconfigured" in response.content


@pytest.mark.security("A08")
def test_what_the_protocol_sets_cannot_be_set_by_the_form(browser: Client, provider: Provider) -> None:
    names = (
        "state",
        "redirect_uri",
        "response_type",
        "client_id",
        "code_challenge_method",
        "nonce",
        "request_uri",
        "iss",
    )
    query = start_query(browser, **dict.fromkeys(names, "https://evil.example"))
    assert "evil" not in str(query)
    assert all(len(values) == 1 for values in query.values())


@pytest.mark.security("A08", "A10")
@pytest.mark.parametrize("protocol", ["oauth2", "oauth1"])
@pytest.mark.parametrize("name", ["state", "redirect_uri", "response_type", "client_id", "request_uri", "oauth_token"])
def test_a_reserved_parameter_in_the_authorization_endpoint_is_refused_on_save_and_before_the_redirect(
    name: str, protocol: str, browser: Client, fake: FakeProvider, db: None
) -> None:
    provider = make_provider(fake, protocol=protocol)
    provider.authorization_endpoint += f"?tenant=1&{name}=https://evil.example"
    with pytest.raises(ValidationError) as caught:
        provider.full_clean()
    assert "authorization_endpoint" in caught.value.message_dict
    provider.save()
    response = browser.post(CONNECT)
    assert response.status_code == 400
    assert b"endpoint_not_allowed" in response.content


@pytest.mark.security("A08")
def test_other_extra_parameters_are_sent(browser: Client, provider: Provider) -> None:
    provider.dialect = {"authorization_parameters": {"access_type": "offline"}}
    provider.full_clean()
    provider.save()
    assert start_query(browser)["access_type"] == ["offline"]


@pytest.mark.security("A09")
@pytest.mark.parametrize("scopes", ["admin", "read admin", "re\u00a0ad", 'read"', "read,admin"])
def test_a_caller_cannot_ask_for_a_scope_that_the_row_does_not_list(
    scopes: str, browser: Client, provider: Provider
) -> None:
    response = browser.post(CONNECT, {"scopes": scopes})
    assert response.status_code == 400
    assert b"scope_not_allowed" in response.content
    assert not AuthorizationRequest.objects.exists()
    assert start_query(browser, scopes="write")["scope"] == ["write"]


@pytest.mark.security("A09")
def test_a_scope_that_was_withdrawn_is_not_asked_for_again(
    browser: Client, provider: Provider, user: User, fake: FakeProvider
) -> None:
    mine = make_connection(provider, user, fake, scopes=["read", "write"])
    provider.allowed_scopes = ()
    provider.save()
    started = browser.post(f"/oauth/connections/{mine.pk}/reconnect/")
    assert parse_qs(urlsplit(started["Location"]).query)["scope"] == ["read"]


@pytest.mark.security("A09")
def test_the_sites_own_session_cannot_ask_for_a_scope_that_the_row_does_not_list(
    provider: Provider, fake: FakeProvider
) -> None:
    with pytest.raises(ScopeNotAllowed):
        flows.client_session(provider, scopes=["read", "admin"])
    assert not fake.requests


def test_a_scope_with_a_blank_inside_is_refused_as_one_scope(user: User, provider: Provider) -> None:
    with pytest.raises(ScopeNotAllowed):
        flows.start_authorization(provider, user=user, session_auth_hash="", scopes=["read write"])


@pytest.mark.security("A10")
@pytest.mark.parametrize(
    "url",
    [
        "https://as.example/a#frag",
        "http://as.example/a",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://me@as.example/a",
        "//as.example/a",
        "https:///a",
        "https://as.example:22/a",
    ],
)
@pytest.mark.parametrize("protocol", ["oauth2", "oauth1"])
def test_an_odd_authorization_endpoint_is_refused_on_save_and_before_the_redirect(
    protocol: str, url: str, browser: Client, fake: FakeProvider, db: None
) -> None:
    provider = make_provider(fake, protocol=protocol)
    provider.authorization_endpoint = url
    with pytest.raises(ValidationError) as caught:
        provider.full_clean()
    assert "authorization_endpoint" in caught.value.message_dict
    provider.save()
    response = browser.post(CONNECT)
    assert response.status_code == 400
    assert b"endpoint_not_allowed" in response.content


@pytest.mark.security("C01")
@pytest.mark.parametrize("endpoint", ["authorization_endpoint", "token_endpoint"])
def test_oauthlibs_switch_for_plain_http_is_not_obeyed(
    endpoint: str, browser: Client, provider: Provider, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = begin(browser, provider)
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    provider.internal = False
    with pytest.raises(ValidationError) as caught:
        provider.full_clean()
    assert endpoint in caught.value.message_dict
    provider.save()
    refused = browser.post(CONNECT) if endpoint == "authorization_endpoint" else answer(browser, callback)
    assert refused.status_code == 400
    assert fake.count("token") == 0


@pytest.mark.security("C01")
@pytest.mark.parametrize("value", ["", "1"])
@pytest.mark.parametrize("name", ["OAUTHLIB_RELAX_TOKEN_SCOPE", "OAUTHLIB_STRICT_TOKEN_TYPE"])
def test_oauthlibs_other_switches_change_nothing(
    name: str, value: str, browser: Client, provider: Provider, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    access, _ = fake.oauth2.issue()
    fake.script("token", Answer(200, {"access_token": access, "token_type": "bEARER", "scope": "another"}))
    assert walk(browser, provider).status_code == 303
    fake.script("token", Answer(200, {"access_token": access, "token_type": "mac"}))
    assert b"token_type_unsupported" in walk(browser, provider).content


@pytest.mark.security("A10")
def test_the_query_of_the_authorization_endpoint_survives(browser: Client, provider: Provider) -> None:
    provider.authorization_endpoint += "?tenant=1&b=%20x&empty="
    provider.full_clean()
    provider.save()
    response = browser.post(CONNECT)
    pairs = parse_qsl(urlsplit(response["Location"]).query, keep_blank_values=True)
    assert [pair for pair in pairs if pair[0] in ("tenant", "b", "empty")] == [
        ("tenant", "1"),
        ("b", " x"),
        ("empty", ""),
    ]
    assert dict(pairs)["response_type"] == "code"


@pytest.mark.security("A11")
def test_a_flood_of_starts_leaves_at_most_twenty_live_requests_and_is_slowed(
    browser: Client, provider: Provider
) -> None:
    session_size = len(str(dict(browser.session)))
    statuses = [browser.post(CONNECT).status_code for _ in range(70)]
    live = AuthorizationRequest.objects.filter(taken_at=None, expires_at__gt=DatabaseNow())
    assert live.count() <= 20
    assert statuses.count(303) == 60
    assert statuses[-1] == 429
    assert browser.post(CONNECT)["Retry-After"] == "60"
    assert len(str(dict(browser.session))) == session_size


@pytest.mark.security("A11")
def test_a_flood_ends_the_oldest_requests_of_its_own_user_and_provider_only(
    browser: Client,
    provider: Provider,
    user: User,
    fake: FakeProvider,
    make_user: Callable[..., User],
    client_for: Callable[[User], Client],
) -> None:
    make_provider(fake, slug="other")
    bystanders = [browser.post("/oauth/connect/other/"), client_for(make_user("bob")).post(CONNECT)]
    assert [response.status_code for response in bystanders] == [303, 303]
    for _ in range(25):
        start_query(browser)
    ours = AuthorizationRequest.objects.filter(user=user, provider=provider)
    ended = set(ours.filter(expires_at__lte=DatabaseNow()).values_list("pk", flat=True))
    assert ended == set(ours.order_by("created_at").values_list("pk", flat=True)[:5])
    assert AuthorizationRequest.objects.filter(expires_at__gt=DatabaseNow()).count() == 22


@pytest.mark.security("A12")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "target", ["//evil.example", "/%09/evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_a_foreign_next_falls_back_to_the_default_page_at_start_and_at_the_end(
    target: str, browser: Client, provider: Provider
) -> None:
    callback = begin(browser, provider, next=target)
    assert AuthorizationRequest.objects.get().next_url == ""
    AuthorizationRequest.objects.update(next_url=target)  # as if something else had written the row
    assert answer(browser, callback)["Location"] == "/oauth/"


@pytest.mark.security("A13")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_tabs_both_succeed_in_any_order(
    order: tuple[int, int], browser: Client, provider: Provider, fake: FakeProvider, user: User
) -> None:
    callbacks = []
    for subject in ("account-1", "account-2"):
        fake.oauth2.subject = subject
        callbacks.append((subject, begin(browser, provider)))
    for index in order:
        fake.oauth2.subject, callback = callbacks[index]
        fake.oauth2.grants.clear()
        assert answer(browser, callback).status_code == 303
    assert set(user.oauth_connections.values_list("subject", flat=True)) == {"account-1", "account-2"}
    assert AuthorizationRequest.objects.filter(outcome="connected").count() == 2


@pytest.mark.security("A14")
def test_a_connect_link_works_for_its_user_only_after_login_and_a_yes(
    browser: Client,
    user: User,
    provider: Provider,
    make_user: Callable[..., User],
    client_for: Callable[[User], Client],
) -> None:
    url = reverse("oauth_flows:confirm_connect", args=["fake"]) + f"?ticket={connect_ticket(user, provider, ['write'])}"
    anonymous = Client().get(url)
    assert anonymous.status_code == 302
    assert anonymous["Location"].startswith("/accounts/login/?next=")
    other = client_for(make_user("eve")).get(url)
    assert other.status_code == 400
    assert b"user_mismatch" in other.content
    key = browser.session.session_key
    page = browser.get(url)
    assert page.status_code == 200
    assert b"Fake" in page.content
    assert b"ada" in page.content
    assert b'value="write"' in page.content
    assert browser.session.session_key == key
    assert not AuthorizationRequest.objects.exists()
    tampered = browser.get(url[:-2] + "xx")
    assert b"ticket_invalid" in tampered.content


@pytest.mark.security("A16")
def test_no_page_can_be_framed_or_cached_and_none_loads_foreign_assets(browser: Client, provider: Provider) -> None:
    pages = [browser.get("/oauth/"), browser.get("/oauth/connect/fake/confirm/"), browser.get("/oauth/callback/fake/")]
    for response in pages:
        assert response["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in response["Content-Security-Policy"]
        # With "no-referrer" a browser sends "Origin: null" with the page's own forms, and Django refuses them.
        assert response["Referrer-Policy"] == ("same-origin" if response.status_code == 200 else "no-referrer")
        assert "no-store" in response["Cache-Control"]
        html = response.content.decode()
        assert "<script" not in html
        assert "http://" not in html
        assert "https://" not in html


@pytest.mark.security("A16")
def test_a_site_that_lets_itself_be_framed_does_not_let_our_pages(
    browser: Client, provider: Provider, fake: FakeProvider, make_user: Callable[..., User], settings: Any
) -> None:
    settings.X_FRAME_OPTIONS = "SAMEORIGIN"
    make_connection(provider, make_user("bob"), fake)
    parked = walk(browser, provider)["Location"]
    for address in ("/oauth/", "/oauth/connect/fake/confirm/", "/oauth/callback/fake/", parked):
        assert browser.get(address)["X-Frame-Options"] == "DENY", address


@pytest.mark.security("A17")
@pytest.mark.urls("tests.localised_urls")
def test_the_redirect_uri_is_the_same_in_every_language_and_resolves_without_a_redirect(
    browser: Client, provider: Provider, settings: Any
) -> None:
    settings.LANGUAGE_CODE = "en"
    uris = set()
    for language in ("en", "de", "fr"):
        with translation.override(language):
            uris.add(flows.redirect_uri(provider))
    assert uris == {"http://testserver/en/oauth/callback/fake/"}
    assert browser.get(uris.pop(), headers={"Accept-Language": "de"}).status_code == 400  # answered, not redirected


@pytest.mark.security("A17")
def test_the_redirect_uri_includes_the_script_name(provider: Provider) -> None:
    from django.urls import get_script_prefix, set_script_prefix

    before = get_script_prefix()
    set_script_prefix("/app/")
    try:
        assert flows.redirect_uri(provider) == "http://testserver/app/oauth/callback/fake/"
    finally:
        set_script_prefix(before)


def test_the_base_url_comes_from_provider_then_settings_then_request(provider: Provider, settings: Any) -> None:
    provider.redirect_base_url = "https://callbacks.example/"
    assert (
        flows.redirect_uri(provider, site_url="https://request.example")
        == "https://callbacks.example/oauth/callback/fake/"
    )
    provider.redirect_base_url = ""
    settings.OAUTH_FLOWS = {}
    assert (
        flows.redirect_uri(provider, site_url="https://request.example")
        == "https://request.example/oauth/callback/fake/"
    )
    with pytest.raises(ConfigurationError) as caught:
        flows.redirect_uri(provider)
    assert caught.value.code == "base_url_required"


@pytest.mark.security("V08")
@pytest.mark.parametrize(
    "text", ["a" * 100_000, "%" * 100_000, "/" * 100_000, "a." * 50_000, "[" * 100_000, "1." * 50_000]
)
def test_checking_a_huge_endpoint_is_cheap(text: str) -> None:
    from django_oauth_flows.protocol.urls import check_endpoint

    started = time.process_time()
    for url in (text, f"https://{text}", f"https://a.example/{text}"):
        with pytest.raises(ValueError, match=r"URL|host"):
            check_endpoint(url)
    assert time.process_time() - started < 0.05


def test_secret_type_is_used_for_the_browser_cookie(user: User, provider: Provider) -> None:
    started = flows.start_authorization(provider, user=user, session_auth_hash="x")
    assert isinstance(started.cookie.value, Secret)
    assert started.cookie.path == "/oauth/callback/fake/"
    assert started.cookie.max_age == 600
    assert "state" not in repr(started)
