"""ID tokens from end to end: what is stored, what is asked after a fault, and what a refresh must repeat."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ReauthorizationRequiredError
from django_oauth_flows.models import AuthorizationRequest, Connection, Revocation, Token
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.conformance import MISSING, claims, refreshed_claims
from django_oauth_flows.testing.factories import make_provider, shift_expiry, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def nonce_of(fake: FakeProvider) -> list[str]:
    """Return the nonce of each authorization request."""
    return [parse_qs(urlsplit(r.url).query).get("nonce", [""])[0] for r in fake.received("authorize")]


def test_the_account_is_read_from_the_id_token_alone(
    user: User, browser: Client, openid_provider: Provider, fake: FakeProvider
) -> None:
    openid_provider.full_clean()
    openid_provider.label_path = ""
    openid_provider.save()
    assert walk(browser, openid_provider).status_code == 303
    mine = user.oauth_connections.get()
    assert (mine.subject, mine.label) == ("account-1", "")
    openid_provider.label_path = "name"
    openid_provider.save()
    walk(browser, openid_provider)
    mine.refresh_from_db()
    assert mine.label == "Ada Lovelace"
    assert {request.path for request in fake.requests} == {"/authorize", "/token", "/jwks"}
    assert set(mine.token.extra) == {"id_token"}


@pytest.mark.security("I04")
def test_every_login_has_a_nonce_of_its_own_that_only_we_know(
    browser: Client, openid_provider: Provider, fake: FakeProvider
) -> None:
    started: Any = browser.post("/oauth/connect/fake/")
    sent = parse_qs(urlsplit(started["Location"]).query)["nonce"][0]
    assert 43 <= len(sent) <= 64  # FAPI 2.0 Security Profile §5.3.3.2
    request = AuthorizationRequest.objects.get()
    stored = request.open("nonce")
    assert stored is not None
    assert stored.reveal() == sent
    assert sent not in str(request.nonce.value)  # type: ignore[union-attr]
    assert len(sent) >= 43
    walk(browser, openid_provider)
    walk(browser, openid_provider)
    seen = nonce_of(fake)
    assert len(set(seen)) == len(seen) == 2
    assert not AuthorizationRequest.objects.filter(taken_at__isnull=False, nonce__isnull=False).exists()


@pytest.mark.security("I14")
def test_without_openid_there_is_no_nonce_and_an_unrequested_token_is_not_looked_at(
    user: User, browser: Client, provider: Provider, fake: FakeProvider
) -> None:
    fake.oauth2.id_token = lambda *_: "not.a.token"
    assert walk(browser, provider).status_code == 303
    assert nonce_of(fake) == [""]
    assert user.oauth_connections.get().token.extra == {}
    assert fake.count("jwks") == 0


@pytest.mark.security("I14")
def test_a_missing_id_token_is_refused_and_nothing_is_stored(
    browser: Client, openid_provider: Provider, fake: FakeProvider
) -> None:
    fake.openid.issues_id_tokens = False
    response = walk(browser, openid_provider)
    assert b"<code>id_token_missing</code>" in response.content
    assert not Connection.objects.exists()


@pytest.mark.security("I01", "I04")
def test_after_a_bad_id_token_nothing_is_asked_and_the_grant_is_given_back(
    browser: Client, make_openid_provider: Callable[..., Provider], fake: FakeProvider
) -> None:
    claims(nonce="another")(fake)
    provider = make_openid_provider(identity_source="userinfo", revocation_effect="token")
    assert b"<code>id_token_invalid</code>" in walk(browser, provider).content
    assert [request.path for request in fake.requests] == ["/authorize", "/token", "/jwks", "/revoke", "/revoke"]
    assert not any(grant.alive for grant in fake.oauth2.grants)
    assert (Connection.objects.count(), Token.objects.count()) == (0, 0)
    assert set(Revocation.objects.values_list("outcome", flat=True)) <= {"revoked"}


@pytest.mark.security("I04")
def test_the_id_token_of_another_login_is_refused(
    browser: Client, openid_provider: Provider, fake: FakeProvider
) -> None:
    assert walk(browser, openid_provider).status_code == 303
    replayed = fake.openid.issued[0]
    fake.openid.change_claims = lambda members: members.pop("at_hash")  # type: ignore[assignment, return-value]
    fake.openid.change_token = lambda _: replayed
    assert b"<code>id_token_invalid</code>" in walk(browser, openid_provider).content


@pytest.mark.security("I10")
def test_keys_that_cannot_be_had_are_a_passing_error(
    browser: Client, openid_provider: Provider, fake: FakeProvider
) -> None:
    fake.script("jwks", Answer(500, "no"))
    response = walk(browser, openid_provider)
    assert b"<code>keys_unavailable</code>" in response.content
    assert b"Try again in a few minutes" in response.content
    assert walk(browser, openid_provider).status_code == 303


USERINFO: dict[str, Any] = {
    "another": {"sub": "account-2"},
    "missing": {"sub": MISSING},
    "null": {"sub": None},
    "number": {"sub": 1},
    "upper case": {"sub": "ACCOUNT-1"},
}


@pytest.mark.security("I15")
@pytest.mark.parametrize("change", USERINFO.values(), ids=USERINFO)
@pytest.mark.parametrize("signed", [True, False])
def test_userinfo_of_another_person_is_refused(
    change: dict[str, Any],
    signed: bool,
    browser: Client,
    make_openid_provider: Callable[..., Provider],
    fake: FakeProvider,
) -> None:
    from django_oauth_flows.testing.conformance import _changing

    fake.openid.change_userinfo, fake.openid.signs_userinfo = _changing(change), signed
    response = walk(browser, make_openid_provider(identity_source="userinfo"))
    assert b"<code>userinfo_mismatch</code>" in response.content
    assert not Connection.objects.exists()


@pytest.mark.security("I15")
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(200, "<html>"), "bad_response"),
        (Answer(401, {"error": "invalid_token"}), "identity_unavailable"),
        (Answer(200, {"sub": "account-1"}), "userinfo_mismatch"),
        (Answer(200, "a.b.c", {"Content-Type": "application/jwt"}), "userinfo_mismatch"),
    ],
)
def test_userinfo_that_must_be_signed_is_nothing_else(
    answer: Answer, code: str, browser: Client, make_openid_provider: Callable[..., Provider], fake: FakeProvider
) -> None:
    fake.script("userinfo", answer)
    dialect = {"userinfo_signed_response_alg": "RS256"} if code == "userinfo_mismatch" else {}
    response = walk(browser, make_openid_provider(identity_source="userinfo", dialect=dialect))
    assert f"<code>{code}</code>".encode() in response.content


@pytest.mark.security("I15")
@pytest.mark.parametrize("change", [{"iss": "https://attacker.example"}, {"aud": "somebody"}, {"aud": ["a", "b"]}])
def test_signed_userinfo_for_another_client_or_from_another_issuer_is_refused(
    change: dict[str, Any], browser: Client, make_openid_provider: Callable[..., Provider], fake: FakeProvider
) -> None:
    fake.openid.signs_userinfo = True
    fake.openid.change_userinfo = lambda members: members.update(change)
    response = walk(browser, make_openid_provider(identity_source="userinfo"))
    assert b"<code>userinfo_mismatch</code>" in response.content


@pytest.mark.security("I16")
@pytest.mark.parametrize(("first", "second"), [("Abc", "abc"), ("caf\u00e9", "cafe\u0301"), ("a", "a ")])
def test_subjects_are_compared_byte_by_byte_and_an_address_makes_no_account(
    first: str, second: str, user: User, browser: Client, openid_provider: Provider, fake: FakeProvider
) -> None:
    claims(email="ada@example.com")(fake)
    for subject in (first, second, first):
        fake.oauth2.subject = subject
        assert walk(browser, openid_provider).status_code == 303
    assert sorted(user.oauth_connections.values_list("subject", flat=True)) == sorted([first, second])


@pytest.mark.security("I18")
def test_claims_that_are_only_pointed_to_are_never_fetched(
    user: User, browser: Client, make_openid_provider: Callable[..., Provider], fake: FakeProvider
) -> None:
    pointing = {
        "_claim_names": {"name": "far"},
        "_claim_sources": {"far": {"endpoint": f"{fake.url}/api/claims", "access_token": "x"}},
    }
    claims(**pointing)(fake)
    fake.openid.change_userinfo = lambda members: members.update(pointing)
    assert walk(browser, make_openid_provider(identity_source="userinfo")).status_code == 303
    assert fake.count("api") == 0


def _connected(browser: Client, provider: Provider, user: User) -> Connection:
    assert walk(browser, provider).status_code == 303
    return user.oauth_connections.get()


@pytest.mark.security("I17")
@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://attacker.example"}, {"iss": MISSING}, {"sub": "account-2"}, {"sub": None}, {"sub": "ACCOUNT-1"},
        {"aud": "somebody"}, {"aud": ["fake-client", "somebody"]}, {"nonce": "another"}, {"nonce": 1}, {"azp": "somebody"},
    ],
)  # fmt: skip
def test_a_refresh_for_somebody_else_is_discarded_and_staff_are_told(
    change: dict[str, Any],
    user: User,
    browser: Client,
    make_openid_provider: Callable[..., Provider],
    fake: FakeProvider,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mine = _connected(browser, make_openid_provider(revocation_effect="token"), user)
    refreshed_claims(**change)(fake)
    before = mine.token.access_token
    shift_expiry(mine, timedelta(seconds=-1))
    with pytest.raises(ReauthorizationRequiredError) as raised:
        flows.access_token(mine)
    assert (raised.value.code, raised.value.reason) == ("identity_changed", "identity_changed")
    mine.refresh_from_db()
    assert (mine.status, mine.reason) == ("reauthorization_required", "identity_changed")
    token = Token.objects.get()
    assert (token.access_token, token.lease_owner) == (before, None)
    alarms = [record.levelname for record in caplog.records if record.getMessage() == "oauth_flows.identity_changed"]
    assert alarms == ["CRITICAL"]
    assert fake.count("revoke") > 0


@pytest.mark.security("I17")
@pytest.mark.parametrize("change", [{}, {"nonce": "the first"}, {"exp": 1}, {"aud": ["fake-client"]}])
def test_a_refresh_that_repeats_the_account_is_stored(
    change: dict[str, Any], user: User, browser: Client, openid_provider: Provider, fake: FakeProvider
) -> None:
    mine = _connected(browser, openid_provider, user)
    refreshed_claims(**{name: nonce_of(fake)[0] if name == "nonce" else value for name, value in change.items()})(fake)
    for _ in range(2):
        assert flows.refresh(mine).refreshed
    mine.token.refresh_from_db()
    assert mine.token.extra["id_token"]["sub"] == "account-1"


@pytest.mark.security("I17")
@pytest.mark.parametrize("token", ["x", "a.b.c", "e30.e30", "." * 100_000])
def test_an_id_token_that_cannot_be_read_costs_no_rotated_token(
    token: str, user: User, browser: Client, openid_provider: Provider, fake: FakeProvider
) -> None:
    mine = _connected(browser, openid_provider, user)
    fake.openid.change_token = lambda _: token
    assert flows.refresh(mine).refreshed


def test_an_id_token_that_nobody_can_verify_is_ignored_and_a_check_says_so(
    user: User, browser: Client, make_openid_provider: Callable[..., Provider], fake: FakeProvider
) -> None:
    provider = make_openid_provider(identity_source="userinfo", jwks_uri="")
    claims(iss="https://attacker.example")(fake)
    mine = _connected(browser, provider, user)
    assert mine.token.extra == {}
    assert _warnings("oauth_flows.W030") == 1
    provider.jwks_uri = f"{fake.url}/jwks"
    provider.save()
    assert _warnings("oauth_flows.W030") == 0


@pytest.mark.security("C07")
def test_an_account_is_not_read_from_what_nobody_can_verify(
    browser: Client, make_openid_provider: Callable[..., Provider]
) -> None:
    from django.core.exceptions import ValidationError

    provider = make_openid_provider(jwks_uri="", issuer="")
    with pytest.raises(ValidationError) as raised:
        provider.full_clean()
    assert {"issuer", "jwks_uri"} <= set(raised.value.message_dict)
    assert b"<code>provider_misconfigured</code>" in walk(browser, provider).content
    assert _warnings("oauth_flows.W030") == 1
    keyed = make_provider_with_shared_key(provider)
    assert "jwks_uri" not in _problems(keyed)


def make_provider_with_shared_key(provider: Provider) -> Provider:
    """Return the provider registered for tokens that are signed with the client's secret."""
    provider.dialect, provider.issuer = {"id_token_signed_response_alg": "HS256"}, "https://issuer.example"
    return provider


def _problems(provider: Provider) -> set[str]:
    from django_oauth_flows.models.provider_rules import problems

    return {name for name, _ in problems(provider)}


def _warnings(check: str) -> int:
    from django_oauth_flows.checks.rows import check_providers

    return sum(message.id == check for message in check_providers(databases=["default"]))


def test_oauth1_knows_no_id_tokens(db: None, browser: Client, user: User, fake: FakeProvider) -> None:
    provider = make_provider(fake, slug="fake1", protocol="oauth1", scopes=("openid",))
    assert walk(browser, provider).status_code == 303
    assert user.oauth_connections.get().token.extra == {}
