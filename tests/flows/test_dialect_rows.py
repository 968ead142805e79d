"""What a row may say in its dialect, what the fingerprint covers, and what is stored of a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ValidationError

from django_oauth_flows import flows
from django_oauth_flows.exceptions import AuthorizationError, ConfigurationError, RequestBlocked
from django_oauth_flows.models import AuthorizationRequest, Connection, Token
from django_oauth_flows.models.provider_rules import open_parameters
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import answer, begin, make_connection, make_provider, walk

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

PATTERNS: dict[str, Any] = {"kept_token_fields": ["url"], "api_host_patterns": ["*.salesforce.com"]}
SWAP = {"endpoint": "https://swap.example.com/x", "grant_type": "swap"}


def fields_of(provider: Provider) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        provider.full_clean()
    return sorted(caught.value.message_dict)


@pytest.mark.security("H01", "H05", "M04")
@pytest.mark.parametrize(
    ("columns", "fields"),
    [
        ({"dialect": {"refresh_endpoint": "http://example.com/refresh"}}, ["dialect"]),
        ({"dialect": {"refresh_endpoint": "https://{shop}/refresh"}}, ["dialect"]),
        ({"dialect": {"refresh_endpoint": "https://{shop}.com/refresh"}}, ["dialect"]),
        ({"dialect": {"second_exchange": {**SWAP, "endpoint": "https://x{shop}/refresh"}}}, ["dialect"]),
        ({"api_base_url": "{kept.url}/x", "dialect": {"kept_token_fields": ["url"]}}, ["api_base_url"]),
        (
            {"api_base_url": "https://{kept.url}.example.com/x", "dialect": {"kept_token_fields": ["url"]}},
            ["api_base_url"],
        ),
        ({"api_base_url": "{kept.other}/x", "dialect": PATTERNS}, ["api_base_url"]),
        ({"api_base_url": "https://example.com/{access_token}", "dialect": PATTERNS}, ["api_base_url"]),
        ({"token_endpoint": "https://{kept.url}.example.com/x", "dialect": PATTERNS}, ["token_endpoint"]),
        ({"userinfo_endpoint": "https://{access_token}.example.com/x"}, ["userinfo_endpoint"]),
        ({"userinfo_endpoint": "https://example.com/{code}"}, ["userinfo_endpoint"]),
        ({"revocation_endpoint": "https://example.com/{client_secret}"}, ["revocation_endpoint"]),
    ],
)
def test_a_row_that_would_send_secrets_somewhere_odd_is_refused(
    fake: FakeProvider, columns: dict[str, Any], fields: list[str]
) -> None:
    provider = make_provider(fake)
    for name, value in columns.items():
        setattr(provider, name, value)
    assert fields_of(provider) == fields


def test_addresses_of_the_dialect_may_have_placeholders_below_a_fixed_domain(fake: FakeProvider) -> None:
    provider = make_provider(
        fake, dialect={"refresh_endpoint": "https://{shop}.example.com/refresh", "api_headers": {"X": "{team}"}}
    )
    provider.full_clean()
    assert open_parameters(provider) == ("shop", "team")
    provider.parameters = {"shop": "acme"}
    assert open_parameters(provider) == ("team",)
    assert provider.registration({"team": "t1"}).dialect.api_headers == (("X", "t1"),)
    with pytest.raises(ConfigurationError, match="team"):
        provider.registration()


@pytest.mark.security("B24")
@pytest.mark.parametrize(
    "dialect",
    [{"refresh_endpoint": "https://a.example.com/refresh"}, {"second_exchange": SWAP}],
)
def test_where_refresh_tokens_go_is_part_of_the_fingerprint(fake: FakeProvider, dialect: dict[str, Any]) -> None:
    provider = make_provider(fake)
    before = provider.fingerprint()
    provider.dialect = {"token_request_format": "json"}
    assert provider.fingerprint() == before
    provider.dialect = dialect
    moved = provider.fingerprint()
    provider.dialect = {**dialect, **{key: _elsewhere(value) for key, value in dialect.items()}}
    assert len({before, moved, provider.fingerprint()}) == 3


def _elsewhere(value: Any) -> Any:
    return {**value, "endpoint": "https://b.example.com/"} if isinstance(value, dict) else "https://b.example.com/"


@pytest.mark.security("B24")
def test_a_refresh_endpoint_that_was_moved_gets_no_token(fake: FakeProvider, user: User) -> None:
    provider = make_provider(fake, dialect={"refresh_endpoint": f"{fake.url}/token"})
    connection = make_connection(provider, user, fake)
    provider.dialect = {"refresh_endpoint": f"{fake.url}/elsewhere"}
    provider.save()
    with pytest.raises(ConfigurationError) as caught:
        flows.refresh(connection)
    assert caught.value.code == "provider_changed"
    assert not fake.requests


@pytest.mark.security("B24")
def test_a_second_exchange_that_was_moved_while_the_user_consents_gets_no_code(
    fake: FakeProvider, client: Client, user: User
) -> None:
    provider = make_provider(fake, dialect={"second_exchange": {**SWAP, "endpoint": f"{fake.url}/token"}})
    client.force_login(user)
    callback = begin(client, provider)
    provider.dialect = {"second_exchange": {**SWAP, "endpoint": f"{fake.url}/elsewhere"}}
    provider.save()
    assert answer(client, callback).status_code == 400
    assert fake.count("token") == 0


@pytest.mark.security("A04", "B01", "B03")
def test_the_state_in_a_redirect_uri_is_not_stored_and_needs_its_browser(
    fake: FakeProvider, client: Client, user: User, django_user_model: Any
) -> None:
    provider = make_provider(fake, code_challenge_method="", dialect={"state_in_redirect_uri": True})
    provider = make_provider(
        fake,
        slug="lossy",
        **fake.play(
            {
                "authorization_endpoint": provider.authorization_endpoint,
                "token_endpoint": provider.token_endpoint,
                "userinfo_endpoint": f"{fake.url}/userinfo",
                "identity_source": "userinfo",
                "code_challenge_method": "",
                "dialect": provider.dialect,
            }
        ),
    )
    client.force_login(user)
    callback = begin(client, provider)
    request = AuthorizationRequest.objects.get()
    assert "?" not in request.redirect_uri
    assert callback.startswith(f"{request.redirect_uri}?state=")
    stranger = type(client)()
    stranger.force_login(django_user_model.objects.create_user("eve"))
    assert answer(stranger, callback).status_code >= 400
    assert answer(client, callback.replace("state=", "other=")).status_code >= 400
    assert fake.count("token") == 0
    assert answer(client, callback).status_code == 303


@pytest.mark.security("H08")
def test_an_api_host_that_no_pattern_allows_gets_no_token(fake: FakeProvider, client: Client, user: User) -> None:
    provider = make_provider(fake, api_base_url="{kept.url}/data", dialect=PATTERNS)
    client.force_login(user)
    fake.script("token", Answer(200, {"access_token": "canary_access_x", "url": fake.url}))
    fake.script("userinfo", Answer(200, {"sub": "1"}))
    assert walk(client, provider).status_code == 303
    connection = Connection.objects.get()
    assert connection.token.extra == {"url": fake.url}
    with flows.session(connection) as http:
        for url in ("/x", f"{fake.url}/data/x"):
            with pytest.raises(RequestBlocked):
                http.get(url)
    assert fake.count("api") == 0
    provider.dialect = {**PATTERNS, "api_host_patterns": [fake.url.removeprefix("http://")]}
    provider.save()
    with flows.session(connection) as http:
        assert http.get("/x").request.url == f"{fake.url}/data/x"


def test_a_session_follows_the_address_that_a_refresh_has_brought(fake: FakeProvider, user: User) -> None:
    netloc = fake.url.removeprefix("http://")
    provider = make_provider(
        fake, api_base_url="{kept.url}", dialect={"kept_token_fields": ["url"], "api_host_patterns": [netloc]}
    )
    connection = make_connection(provider, user, fake)
    with flows.session(connection) as http:
        with pytest.raises(RequestBlocked):
            http.get("/x")
        for place in ("one", "two"):
            Token.objects.update(extra={"url": f"{fake.url}/{place}"})
            assert http.get("/x").request.url == f"{fake.url}/{place}/x"


def test_an_unknown_quirk_is_a_misconfiguration(fake: FakeProvider) -> None:
    provider = make_provider(fake, dialect={"quirk": "nosuch"})
    with pytest.raises(ConfigurationError) as caught:
        provider.registration()
    assert caught.value.code == "provider_misconfigured"


def test_a_grant_without_refresh_tokens_is_renewed_with_its_access_token_also_if_imported(
    fake: FakeProvider, user: User
) -> None:
    provider = make_provider(fake, dialect={"refreshes_with_access_token": "old_token"})
    connection = make_connection(provider, user, fake, refresh_token="")
    fake.script("token", Answer(200, {"access_token": "canary_access_new", "expires_in": 60}))
    before = flows.access_token(connection)
    assert flows.refresh(connection).refreshed
    (arrived,) = fake.received("token")
    assert arrived.form == {"grant_type": "refresh_token", "old_token": before}
    assert flows.access_token(connection) == "canary_access_new"
    connection.token.refresh_from_db()
    assert connection.token.open("refresh_token").reveal() == "canary_access_new"


def test_scopes_that_a_refresh_token_needs_are_always_asked_for(fake: FakeProvider, client: Client, user: User) -> None:
    provider = make_provider(fake, dialect={"refresh_scopes": ["offline_access"]})
    started = flows.start_authorization(
        provider, user=user, session_auth_hash="", site_url="https://site.example", scopes=("write",)
    )
    assert "scope=write+offline_access" in started.authorization_url
    with pytest.raises(AuthorizationError):
        flows.start_authorization(
            provider, user=user, session_auth_hash="", site_url="https://site.example", scopes=("admin",)
        )
