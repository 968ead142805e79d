"""*Test connection*: the whole dance as a member of staff, and each deliberate mistake named with its fix."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from django.contrib.auth.models import Permission

from django_oauth_flows.models import AuthorizationRequest, Connection, ConnectionEvent, Provider, Revocation, Token
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Answer, FakeProvider
from django_oauth_flows.testing.factories import answer, consent, make_connection, make_provider, walk
from tests.surfaces.reading import text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.contrib.auth.models import User
    from django.test import Client

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tester(make_user: Callable[..., User]) -> User:
    """Return a member of staff who may look at providers and test them, and nothing else."""
    user = make_user("tess", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=("view_provider", "test_provider")))
    return user


@pytest.fixture
def office(tester: User, client_for: Callable[[User], Client]) -> Client:
    """Return the tester's browser."""
    return client_for(tester)


def page_of(provider: Provider) -> str:
    return f"/admin/oauth_flows/provider/{provider.pk}/test/"


def run(client: Client, provider: Provider, **form: str) -> str:
    """Test; return what the page says afterwards."""
    started: Any = client.post(page_of(provider), form)
    assert started.status_code == 303, started.content
    if started["Location"] == page_of(provider):
        return text_of(client.get(page_of(provider)))
    back: Any = answer(client, consent(started["Location"]))
    assert (back.status_code, back["Location"]) == (303, page_of(provider))
    return text_of(client.get(page_of(provider)))


@pytest.mark.parametrize("protocol", ["oauth2", "oauth1"])
def test_a_test_passes_and_leaves_nothing_behind(protocol: str, office: Client, fake: FakeProvider) -> None:
    provider = make_provider(fake, protocol=protocol)
    said = run(office, provider)
    assert "The test has passed." in said
    assert "Ada Lovelace (id account-1)" in said
    assert "revoked at the service" in said
    for model in (Connection, Token, ConnectionEvent):
        assert not model._default_manager.exists()
    assert "no refresh token" not in said
    if protocol == "oauth2":
        assert fake.count("token") == 2  # the code, and one refresh
        assert not fake.oauth2.grants[0].alive
    else:
        assert "access lasts until it is ended" in said


def test_a_disabled_provider_can_be_tested_before_anybody_sees_it(office: Client, fake: FakeProvider) -> None:
    assert "The test has passed." in run(office, make_provider(fake, enabled=False))


def test_a_paused_provider_is_not_asked(office: Client, fake: FakeProvider) -> None:
    assert "paused" in run(office, make_provider(fake, paused=True))
    assert fake.requests == []


def test_with_openid_connect_the_id_token_is_verified(office: Client, fake: FakeProvider) -> None:
    provider = make_provider(fake, scopes=("openid", "read"), identity_source="id_token")
    assert "The test has passed." in run(office, provider)


def test_a_real_connection_of_the_same_account_is_not_touched(
    office: Client, tester: User, provider: Provider, fake: FakeProvider
) -> None:
    real = make_connection(provider, tester, fake)
    before = Connection.objects.values().get(), Token.objects.values().get()
    said = run(office, provider)
    assert "The test has passed." in said
    assert (Connection.objects.values().get(), Token.objects.values().get()) == before
    assert fake.oauth2.grants[0].alive  # revoking could have ended it, for all we know of this service
    assert Revocation.objects.get().outcome == Revocation.Outcome.NOT_REVOKED_SHARED
    assert list(tester.oauth_connections.all()) == [real]


def wrong_secret(provider: Provider, fake: FakeProvider) -> None:
    provider.seal("client_secret", Secret("not-the-secret"))
    provider.save()


def wrong_redirect_uri(provider: Provider, fake: FakeProvider) -> None:
    def elsewhere(back: dict[str, str]) -> None:
        registered = {"redirect_uri": "https://elsewhere.example/callback/"}
        fake.oauth2._codes[back["code"]] = fake.oauth2._codes[back["code"]] | registered

    fake.oauth2.change_response = elsewhere


def refused_scope(provider: Provider, fake: FakeProvider) -> None:
    def refuse(back: dict[str, str]) -> None:
        back.pop("code")
        back["error"] = "invalid_scope"

    fake.oauth2.change_response = refuse


def narrower_scope(provider: Provider, fake: FakeProvider) -> None:
    Provider.objects.update(scopes=("read", "write"))
    fake.oauth2.granted_scopes = "read"


def denied(provider: Provider, fake: FakeProvider) -> None:
    fake.oauth2.denies = True


def clock(provider: Provider, fake: FakeProvider) -> None:
    Provider.objects.update(scopes=("openid",), jwks_uri=f"{fake.url}/jwks", identity_source="id_token")
    fake.openid.change_claims = lambda claims: claims.update(iat=int(time.time()) + 4000, exp=int(time.time()) + 5000)


def no_refresh(provider: Provider, fake: FakeProvider) -> None:
    fake.script("token", *[_normally, Answer(400, {"error": "invalid_grant"})])


class _Normally:
    def play(self, handler: Any, normal: Callable[[], Answer]) -> None:
        normal().play(handler, normal)


_normally = _Normally()


def nobody(provider: Provider, fake: FakeProvider) -> None:
    Provider.objects.update(subject_path="no.such.member")


@pytest.mark.parametrize(
    ("mistake", "step", "code", "fix"),
    [
        (wrong_secret, "Exchange the code for tokens", "invalid_client", "Paste the client secret anew"),
        (
            wrong_redirect_uri,
            "Exchange the code for tokens",
            "invalid_grant",
            "Register exactly the redirect URI above",
        ),
        (refused_scope, "Come back with an answer", "provider_error", "take out those that it does not know"),
        (narrower_scope, "Compare the permissions", "missing_scopes", "Missing: write"),
        (denied, "Come back with an answer", "access_denied", "Test again and allow it"),
        (clock, "Verify the ID token", "id_token_invalid", "Set this server's clock by NTP"),
        (no_refresh, "Refresh the access token", "invalid_grant", "refused"),
        (nobody, "Find out whose account it is", "identity_unavailable", "where the account's id is found"),
    ],
)
def test_a_mistake_is_named_with_its_step_and_its_fix(
    mistake: Callable[[Provider, FakeProvider], None], step: str, code: str, fix: str,
    office: Client, provider: Provider, fake: FakeProvider,
) -> None:  # fmt: skip
    mistake(provider, fake)
    run(office, provider)
    shown = office.get(page_of(provider))
    (failed,) = [line for line in shown.context["report"].steps if line.state == "failed"]
    assert (failed.title, failed.code) == (step, code)
    assert fix in f"{failed.said} {failed.fix}"
    assert "The test has failed." in text_of(shown)
    assert not Connection.objects.exists()
    assert not any(grant.alive for grant in fake.oauth2.grants)


def test_a_scope_that_the_account_takes_is_named_before_the_account(
    office: Client, provider: Provider, fake: FakeProvider
) -> None:
    narrower_scope(provider, fake)
    nobody(provider, fake)
    run(office, provider)
    steps = office.get(page_of(provider)).context["report"].steps
    failed = [(line.title, line.code) for line in steps if line.state == "failed"]
    assert failed == [
        ("Compare the permissions", "missing_scopes"),
        ("Find out whose account it is", "identity_unavailable"),
    ]


SECRET, REDIRECT, NOWHERE = (
    "Paste the client secret anew",
    "Register exactly the redirect URI above",
    "letter by letter",
)


@pytest.mark.parametrize(
    ("status", "body", "fix"),
    [
        (200, {"error": "incorrect_client_credentials"}, SECRET),
        (200, {"ok": False, "error": "bad_client_secret"}, SECRET),
        (200, {"ok": False, "error": "bad_redirect_uri"}, REDIRECT),
        (400, {"error": {"message": "Error validating client secret.", "type": "OAuthException", "code": 1}}, SECRET),
        (400, {"error": "invalid_request", "error_description": "redirect_uri does not match"}, REDIRECT),
        (404, "<html>The callback you look for is not here", NOWHERE),
        (500, "callback", "could not be reached"),
    ],
)
def test_a_service_may_say_it_in_words_of_its_own(
    status: int, body: Any, fix: str, office: Client, provider: Provider, fake: FakeProvider
) -> None:
    fake.script("token", Answer(status, body))
    assert fix in run(office, provider)


def test_a_client_without_a_secret_is_not_told_to_paste_it(
    office: Client, provider: Provider, fake: FakeProvider
) -> None:
    Provider.objects.update(token_endpoint_auth_method="none")
    fake.script("token", Answer(401, {"error": "invalid_client"}))
    said = run(office, provider)
    assert "whether the service expects this client to authenticate as it does" in said
    assert SECRET not in said


def test_where_no_browser_is_sent_the_page_says_what_to_do_instead(
    office: Client, provider: Provider, fake: FakeProvider
) -> None:
    Provider.objects.update(authorization_endpoint="", device_authorization_endpoint=f"{fake.url}/device")
    said = text_of(office.get(page_of(provider)))
    assert "no page to send a browser to" in said
    assert "Start the test" not in said
    office.post(page_of(provider))
    said = text_of(office.get(page_of(provider)))
    assert "firewall" not in said
    assert fake.requests == []


def test_a_certificate_that_is_not_trusted_is_named(office: Client, tmp_path: Path, db: None) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    stranger.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with FakeProvider(tls=context) as fake:
        provider = make_provider(fake, ca_bundle=str(tmp_path / "ca.pem"))
        said = run(office, provider)
    assert "TLS certificate was not accepted" in said
    assert "CA bundle" in said


def test_a_service_that_is_down_is_named(office: Client, provider: Provider, fake: FakeProvider) -> None:
    started: Any = office.post(page_of(provider))
    back = consent(started["Location"])
    with fake.down():
        answer(office, back)
    assert "could not be reached" in text_of(office.get(page_of(provider)))


def test_an_oauth_1_mistake_shows_before_the_browser_leaves(office: Client, fake: FakeProvider) -> None:
    provider = make_provider(fake, protocol="oauth1")
    provider.seal("client_secret", Secret("not-the-secret"))
    provider.save()
    said = run(office, provider)
    assert "The test has failed." in said
    assert "Paste the client secret anew" in said
    assert "the signature method (HMAC-SHA1)" in said
    assert "register exactly the redirect URI above" in said
    assert "client authentication" not in said  # of OAuth 2


@pytest.mark.parametrize(
    ("status", "body", "headers", "said", "unsaid"),
    [
        (403, {"errors": [{"code": 415, "message": "Callback URL not approved"}]}, {}, [REDIRECT], ["clocks"]),
        (401, "", {"Date": "Mon, 02 Nov 2026 00:00:00 GMT"}, ["clocks", SECRET], []),
        (401, "", {"Date": "Mon, 02 Nov 2026 00:00:00 GMT", "Age": "600"}, [SECRET], ["clocks"]),
        (404, "", {"Date": "Mon, 02 Nov 2026 00:00:00 GMT"}, [NOWHERE], ["clocks"]),
    ],
)
def test_an_oauth_1_refusal_is_read_as_far_as_it_goes(
    status: int,
    body: Any,
    headers: dict[str, str],
    said: list[str],
    unsaid: list[str],
    office: Client,
    fake: FakeProvider,
) -> None:
    fake.script("temporary", Answer(status, body, headers))
    shown = run(office, make_provider(fake, protocol="oauth1"))
    assert [text for text in said if text not in shown] == []
    assert [text for text in unsaid if text in shown] == []


def test_who_does_not_come_back_reads_what_keeps_browsers_away(office: Client, provider: Provider) -> None:
    office.post(page_of(provider))
    said = text_of(office.get(page_of(provider)))
    assert "The test is still under way." in said
    assert "redirect_uri_mismatch" in said
    assert "http://testserver/oauth/callback/fake/" in office.get(page_of(provider)).content.decode()


def test_a_repeated_callback_leads_to_the_report(office: Client, provider: Provider) -> None:
    started: Any = office.post(page_of(provider))
    back = consent(started["Location"])
    for _ in range(2):
        assert answer(office, back)["Location"] == page_of(provider)  # type: ignore[index]


def test_placeholders_of_users_are_filled_in_on_the_page(office: Client, fake: FakeProvider) -> None:
    provider = make_provider(fake, userinfo_endpoint=f"{fake.url}/userinfo", api_base_url=f"{fake.url}/api/{{shop}}/")
    refused = office.post(page_of(provider), {"parameter-shop": "../x"})
    assert "This cannot be part of an address." in text_of(refused)
    assert "The test has passed." in run(office, provider, **{"parameter-shop": "example"})


@pytest.mark.security("M03")
def test_testing_needs_its_own_permission_and_a_post(
    make_user: Callable[..., User], client_for: Callable[[User], Client], provider: Provider, fake: FakeProvider
) -> None:
    nearly = make_user("nearly", is_staff=True)
    nearly.user_permissions.set(
        Permission.objects.filter(content_type__app_label="oauth_flows").exclude(codename="test_provider")
    )
    for method in ("get", "post"):
        assert getattr(client_for(nearly), method)(page_of(provider)).status_code == 403
    assert "Test connection" not in text_of(
        client_for(nearly).get(f"/admin/oauth_flows/provider/{provider.pk}/change/")
    )
    assert not AuthorizationRequest.objects.exists()


@pytest.mark.security("M03")
def test_a_provider_that_the_site_hides_is_not_tested(
    office: Client, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_oauth_flows.admin import ProviderAdmin

    monkeypatch.setattr(ProviderAdmin, "has_view_permission", lambda self, request, obj=None: obj is None)
    assert office.post(page_of(provider)).status_code == 403
    assert not AuthorizationRequest.objects.exists()


@pytest.mark.security("M08")
def test_a_test_never_repeats_what_an_endpoint_answers(office: Client, provider: Provider, fake: FakeProvider) -> None:
    fake.script("token", Answer(400, {"error": "inner-hostname", "error_description": "root:x:0:0 inner text"}))
    run(office, provider)
    html = office.get(page_of(provider)).content.decode()
    assert "provider_error" in html
    assert "inner" not in html
    assert "inner" not in str(AuthorizationRequest.objects.values("report"))


@pytest.mark.security("M08")
def test_a_test_maps_no_inner_network(office: Client, fake: FakeProvider) -> None:
    provider = make_provider(fake)
    started: Any = office.post(page_of(provider))
    back = consent(started["Location"])
    blocked = fake.url.replace("http:", "https:")
    Provider.objects.update(internal=False)
    provider.refresh_from_db()
    assert answer(office, back).status_code == 303
    said = text_of(office.get(page_of(provider)))
    assert "could not be reached" in said
    assert blocked not in said
    assert fake.count("token") == 0


@pytest.mark.security("M03", "B04")
def test_a_test_is_bound_to_its_tester(
    office: Client, browser: Client, tester: User, provider: Provider, fake: FakeProvider
) -> None:
    started: Any = office.post(page_of(provider))
    back = consent(started["Location"])
    assert answer(browser, back).status_code == 400
    assert fake.count("token") == 0
    assert answer(office, back).status_code == 303


@pytest.mark.security("M03")
def test_nobody_reads_the_report_of_another(
    office: Client, make_user: Callable[..., User], client_for: Callable[[User], Client], provider: Provider
) -> None:
    run(office, provider)
    root = client_for(make_user("root", is_staff=True, is_superuser=True))
    assert "Ada Lovelace" not in text_of(root.get(page_of(provider)))


@pytest.mark.security("M01")
def test_neither_page_nor_report_holds_a_secret(office: Client, provider: Provider, fake: FakeProvider) -> None:
    run(office, provider)
    told = office.get(page_of(provider)).content.decode() + str(AuthorizationRequest.objects.values("report"))
    assert "canary_" not in told


def test_a_dance_of_a_user_is_no_test(browser: Client, provider: Provider) -> None:
    assert walk(browser, provider).status_code == 303
    assert Connection.objects.get().status == Connection.Status.ACTIVE
    assert AuthorizationRequest.objects.get().report is None


def test_where_forms_may_not_lead_away_the_page_leads_on(office: Client, provider: Provider, settings: Any) -> None:
    settings.SECURE_CSP = {"form-action": ["'self'"]}
    page: Any = office.post(page_of(provider))
    assert page.status_code == 200
    assert page["Refresh"].startswith("0; url=http")
    assert "Go on if nothing happens" in text_of(page)
