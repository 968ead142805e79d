"""Dynamic client registration (RFC 7591): a client of our own from an issuer's word, and nothing that was not asked for."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ConfigurationError, OAuthFlowsError, ProviderUnreachable, TokenEndpointError
from django_oauth_flows.management.reencrypting import reencrypt
from django_oauth_flows.models import DiscoveredMetadata, Provider, RegisteredClient
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import walk
from tests.modern.elsewhere import keys_from, leaving_nothing

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

SITE = "https://site.example"


@pytest.fixture
def issuer(fake: FakeProvider, settings: SettingsWrapper) -> FakeProvider:
    """Return a fake whose metadata says where clients register, and a site with an address."""
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "BASE_URL": SITE}
    fake.openid.change_metadata = lambda document: document.update(registration_endpoint=fake.registrar.url)
    return fake


def register(fake: FakeProvider, **options: Any) -> Provider:
    """Register at the fake."""
    return flows.register_provider(fake.url, **{"slug": "fake", "internal": True, **options})


@pytest.mark.rfc("7591", "3.1")
@pytest.mark.security("L01")
def test_a_registered_client_connects(issuer: FakeProvider, browser: Client, user: User) -> None:
    issuer.registrar.initial_access_token = "canary_initial"
    issuer.registrar.client_secret_expires_at = int(timezone.now().timestamp()) + 86400
    provider = register(
        issuer,
        name="Fake",
        scopes=["openid", "read"],
        api_base_url=f"{issuer.url}/api/",
        initial_access_token=Secret("canary_initial"),
        client_name="The site",
    )
    (asked,) = issuer.registrar.registered
    assert asked == {
        "redirect_uris": [f"{SITE}/oauth/callback/fake/"],
        "client_name": "The site",
        "client_uri": SITE,
        "application_type": "web",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "client_secret_basic",
        "scope": "openid read",
        "id_token_signed_response_alg": "RS256",
    }
    provider = Provider.objects.get(pk=provider.pk)
    assert provider.client_id == issuer.oauth2.client_id
    assert provider.client_secret_expires_at is not None
    assert walk(browser, provider).status_code == 303
    connection = user.oauth_connections.get()
    assert flows.session(connection).get("echo").status_code == 200
    assert flows.refresh(connection).refreshed
    assert DiscoveredMetadata.objects.get().differences == {}


@pytest.mark.rfc("7592", "3")
def test_what_changes_the_registration_is_sealed_and_re_encrypted(issuer: FakeProvider) -> None:
    provider = register(issuer)
    record = RegisteredClient.objects.get(provider=provider)
    token = record.open("registration_access_token")
    assert token is not None
    assert token.reveal().startswith("canary_registration_")
    assert record.registration_client_uri == f"{issuer.registrar.url}/{provider.client_id}"
    assert token.reveal() not in str(RegisteredClient.objects.values().get())
    tally = reencrypt(RegisteredClient, batch_size=10, dry_run=False, mark_lost=False, advance=lambda _: None)
    assert (tally.current, tally.lost) == (1, [])


def test_a_client_known_by_its_key_gets_one_that_nobody_has_seen(
    issuer: FakeProvider, client: Client, browser: Client, user: User
) -> None:
    def metadata(document: dict[str, Any]) -> None:
        document.update(
            registration_endpoint=issuer.registrar.url,
            token_endpoint_auth_methods_supported=["private_key_jwt", "tls_client_auth"],
            token_endpoint_auth_signing_alg_values_supported=["PS256", "ES256"],
            require_signed_request_object=True,
            request_object_signing_alg_values_supported=["ES256"],
        )

    issuer.openid.change_metadata = metadata
    provider = register(issuer)
    (asked,) = issuer.registrar.registered
    assert asked["jwks_uri"] == f"{SITE}/oauth/jwks/fake/"
    assert asked["token_endpoint_auth_method"] == "private_key_jwt"
    assert asked["token_endpoint_auth_signing_alg"] == asked["request_object_signing_alg"] == "ES256"
    assert provider.client_secret is None
    issuer.oauth2.signing.jwks = keys_from(client)
    issuer.oauth2.signing.requires_signed_requests = True
    assert walk(browser, provider).status_code == 303
    assert user.oauth_connections.get().is_active


def _without(*names: str) -> Callable[[dict[str, Any]], None]:
    return lambda answer: [answer.pop(name, None) for name in names] and None  # type: ignore[return-value]


def _says(**members: Any) -> Callable[[dict[str, Any]], None]:
    return lambda answer: answer.update(members)


HOSTILE = {
    "another redirect URI": _says(redirect_uris=["https://attacker.example/"]),
    "one more redirect URI": _says(redirect_uris=[f"{SITE}/oauth/callback/fake/", "https://attacker.example/"]),
    "no client id": _without("client_id"),
    "an empty client id": _says(client_id=""),
    "a number for a client id": _says(client_id=7),
    "a client id with a line break": _says(client_id="a\r\nb"),
    "an endless client id": _says(client_id="a" * 501),
    "no secret": _without("client_secret"),
    "a list for a secret": _says(client_secret=["x"]),
    "a secret that is over": _says(client_secret_expires_at=1),
    "a secret that ends in words": _says(client_secret_expires_at="never"),
    "a client without proof": _says(token_endpoint_auth_method="none"),
    "proof by a key": _says(token_endpoint_auth_method="private_key_jwt"),
    "no code": _says(response_types=["token"]),
    "no grant by code": _says(grant_types=["implicit"]),
    "ID tokens without a signature": _says(id_token_signed_response_alg="none"),
    "scopes that are no text": _says(scope=["openid"]),
    "a place elsewhere for its token": _says(registration_client_uri="https://attacker.example/register/1"),
    "a place inside for its token": _says(registration_client_uri="http://169.254.169.254/latest/meta-data"),
    "a token that is none": _says(registration_access_token="a b\r\nX: y"),
}


@pytest.mark.security("H06")
@pytest.mark.rfc("7591", "3.2.1")
@pytest.mark.parametrize("kind", HOSTILE)
def test_what_was_not_asked_for_is_refused_and_nothing_is_stored(kind: str, issuer: FakeProvider) -> None:
    issuer.registrar.change_answer = HOSTILE[kind]
    with pytest.raises(TokenEndpointError) as caught:
        register(issuer)
    assert caught.value.code == "registration_invalid"
    assert not Provider.objects.exists()


@pytest.mark.rfc("7591", "3.2.2")
@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        (Answer(401, {"error": "invalid_token"}), TokenEndpointError, "registration_failed"),
        (
            Answer(400, {"error": "invalid_redirect_uri", "error_description": "not yours"}),
            TokenEndpointError,
            "registration_failed",
        ),
        (Answer(201, b"<html>"), TokenEndpointError, "registration_failed"),
        (Answer(201, b'{"client_id": "a", "client_id": "b"}'), TokenEndpointError, "registration_failed"),
        (Answer(201, b" " * (1024 * 1024 + 1)), TokenEndpointError, "registration_failed"),
        (Answer(307, headers={"Location": "https://attacker.example/"}), TokenEndpointError, "registration_failed"),
        (Answer(202, {"client_id": "later"}), TokenEndpointError, "registration_invalid"),
        (Answer(503), ProviderUnreachable, "provider_unreachable"),
    ],
)
def test_a_refusal_is_told_and_nothing_is_stored(
    answer: Answer, error: type[OAuthFlowsError], code: str, issuer: FakeProvider
) -> None:
    issuer.script("register", answer)
    with pytest.raises(error) as caught:
        register(issuer)
    assert caught.value.code == code
    assert not Provider.objects.exists()


def test_a_narrower_client_asks_for_less_and_a_gift_is_not_taken(issuer: FakeProvider) -> None:
    issuer.registrar.change_answer = _says(scope="openid admin", token_endpoint_auth_method="client_secret_post")
    provider = register(issuer, scopes=["openid", "read"])
    assert provider.scopes == ("openid",)
    assert provider.token_endpoint_auth_method == "client_secret_post"


def test_whatever_can_be_wrong_here_is_found_before_a_client_is_made(
    issuer: FakeProvider, settings: SettingsWrapper
) -> None:
    def refuse(code: str, **options: Any) -> None:
        with pytest.raises(ConfigurationError) as caught:
            register(issuer, **options)
        assert caught.value.code == code

    refuse("provider_misconfigured", scopes=['wr"ite'])
    refuse("provider_misconfigured", slug="no slug")
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "BASE_URL": ""}
    refuse("base_url_required")
    issuer.openid.change_metadata = lambda document: None
    refuse("registration_unsupported")
    issuer.openid.change_metadata = lambda document: document.update(registration_endpoint="http://10.0.0.1/register")
    with pytest.raises(TokenEndpointError, match="registration_endpoint"):
        register(issuer)
    assert issuer.registrar.registered == []


def test_a_client_that_cannot_be_stored_is_given_back(issuer: FakeProvider) -> None:
    @leaving_nothing
    def somebody_is_faster(answer: dict[str, Any]) -> None:
        Provider.objects.create(slug="fake", name="Other", client_id="x", token_endpoint="https://x.example/token")

    issuer.registrar.change_answer = somebody_is_faster
    with pytest.raises(ConfigurationError):
        register(issuer)
    (removal,) = [request for request in issuer.requests if request.method == "DELETE"]
    assert removal.path == f"/register/{issuer.oauth2.client_id}"
    assert removal.headers["authorization"].startswith("Bearer canary_registration_")
    assert Provider.objects.get().name == "Other"


def run(*arguments: str) -> str:
    """Run the command; return what it says."""
    said = io.StringIO()
    call_command("add_provider", *arguments, stdout=said, stderr=said)
    return said.getvalue()


@pytest.mark.security("L01")
@pytest.mark.parametrize("source", ["env", "stdin", "file"])
def test_the_command_reads_the_initial_token_from_where_nobody_looks(
    source: str, issuer: FakeProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    issuer.registrar.initial_access_token = "canary_initial"
    given = {
        "env": ("--initial-access-token-env", "THE_TOKEN"),
        "stdin": ("--initial-access-token-file", "-"),
        "file": ("--initial-access-token-file", str(tmp_path / "token")),
    }[source]
    (tmp_path / "token").write_text("canary_initial\n")
    monkeypatch.setenv("THE_TOKEN", "canary_initial")
    monkeypatch.setattr(sys, "stdin", io.StringIO("canary_initial"))
    common = ("--issuer", issuer.url, "--internal", "--slug", "fake", "--register")
    said = run(*common, *given)
    provider = Provider.objects.get()
    assert f"Registered there as {provider.client_id}." in said
    assert f"{SITE}/oauth/callback/fake/" in said
    assert "canary" not in said


def test_the_command_says_what_is_missing(issuer: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", "")
    common = ("--issuer", issuer.url, "--internal", "--slug", "fake", "--register")
    for arguments, problem in (
        (("--register", "--issuer", issuer.url), "give --issuer and --slug"),
        (("github", "--register"), "give --issuer and --slug"),
        ((*common, "--client-id", "x"), "no client"),
        ((*common, "--initial-access-token-env", "EMPTY"), "is empty"),
        ((*common, "--initial-access-token-file", "/nowhere/at/all"), "initial access token cannot be read"),
    ):
        with pytest.raises(CommandError, match=problem):
            run(*arguments)
    issuer.registrar.initial_access_token = "canary_initial"
    with pytest.raises(CommandError, match="initial access token"):
        run(*common)
    assert not Provider.objects.exists()


@pytest.mark.parametrize("option", ["--initial-access-token"])
def test_the_token_is_no_argument(option: str, issuer: FakeProvider) -> None:
    with pytest.raises((CommandError, SystemExit)):
        run("--issuer", issuer.url, "--internal", "--slug", "fake", "--register", option, "canary_on_argv")
    assert issuer.registrar.registered == []


def test_what_the_metadata_switches_on(fake: FakeProvider) -> None:
    def metadata(document: dict[str, Any]) -> None:
        document.update(
            authorization_details_types_supported=["account_information"],
            response_modes_supported=["jwt", "form_post.jwt"],
            authorization_signing_alg_values_supported=["PS256"],
            require_signed_request_object=True,
            request_object_signing_alg_values_supported=["PS256", "none"],
        )

    fake.openid.change_metadata = metadata
    provider = flows.add_discovered_provider(fake.url, slug="fake", client_id="x", client_secret="y", internal=True)
    assert provider.response_mode == "jwt"
    assert provider.dialect == {
        "authorization_parameters": {"prompt": "consent"},  # offline_access is asked for
        "request_object_signing_alg": "PS256",
        "authorization_signed_response_alg": "PS256",
        "authorization_details_types": ["account_information"],
    }
