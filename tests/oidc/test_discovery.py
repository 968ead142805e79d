"""Discovery: an issuer speaks for itself alone, and what it said once is not changed behind staff's back."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from django_oauth_flows import flows
from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.models import DiscoveredMetadata, Provider
from django_oauth_flows.protocol.discovery import metadata_urls, read_metadata
from django_oauth_flows.testing import Answer, Drop, Endless
from django_oauth_flows.testing.factories import walk
from tests.surfaces.test_admin_health import facts

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

ISSUER = "https://op.example/tenant"


def document(**changes: Any) -> dict[str, Any]:
    """Return a metadata document, changed; a value of ``...`` takes a member out."""
    usual = {
        "issuer": ISSUER,
        "authorization_endpoint": "https://op.example/authorize?tenant=1",
        "token_endpoint": "https://api.op.example/token",
        "userinfo_endpoint": "https://op.example/userinfo",
        "jwks_uri": "https://op.example/jwks",
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not ...}


def refused(**changes: Any) -> tuple[str, str]:
    """Return the code and the message with which changed metadata are refused."""
    with pytest.raises(OAuthFlowsError) as raised:
        read_metadata(document(**changes), ISSUER, internal=False)
    assert raised.value.hint
    return raised.value.code, raised.value.message


@pytest.mark.rfc("9449", "5.1")
def test_tokens_are_bound_where_staff_say_so_and_the_issuer_can(db: None, fake: FakeProvider) -> None:
    fake.openid.change_metadata = lambda metadata: metadata.update(dpop_signing_alg_values_supported=["RS256", "ES256"])
    assert flows.discover(fake.url, internal=True)["dpop_bound_access_tokens"] is False
    assert flows.discover(fake.url, internal=True, dpop=True)["dpop_bound_access_tokens"] is True
    options = {"slug": "bound", "client_id": "x", "internal": True, "no_client_secret": True, "stdout": StringIO()}
    call_command("add_provider", issuer=fake.url, dpop=True, **options)
    assert Provider.objects.get().dpop_bound_access_tokens
    for offered in (None, [], ["RS256"]):
        fake.openid.change_metadata = lambda metadata, offered=offered: (
            None if offered is None else metadata.update(dpop_signing_alg_values_supported=offered)
        )
        with pytest.raises(OAuthFlowsError) as raised:
            flows.add_discovered_provider(fake.url, slug="other", client_id="x", internal=True, dpop=True)
        assert raised.value.code == "dpop_unsupported"
    assert Provider.objects.count() == 1


@pytest.mark.rfc("8414", "3.1")
@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        (
            "https://op.example",
            [
                "https://op.example/.well-known/openid-configuration",
                "https://op.example/.well-known/oauth-authorization-server",
            ],
        ),
        (
            "https://op.example/a/b/",
            [
                "https://op.example/a/b/.well-known/openid-configuration",
                "https://op.example/.well-known/oauth-authorization-server/a/b",
                "https://op.example/.well-known/openid-configuration/a/b",
            ],
        ),
    ],
)
def test_every_form_of_the_address_is_tried(issuer: str, urls: list[str]) -> None:
    assert list(metadata_urls(issuer)) == urls


@pytest.mark.rfc("8414", "3.3")
@pytest.mark.security("I19")
@pytest.mark.parametrize(
    "named",
    ["https://attacker.example", ISSUER + "/", ISSUER.upper(), "https://op.example", "https://op.example:443/tenant",
     "https://op.example/{tenantid}", None, ..., [ISSUER], 1],
)  # fmt: skip
def test_metadata_of_another_issuer_are_refused(named: Any) -> None:
    with pytest.raises(OAuthFlowsError) as raised:
        read_metadata(document(issuer=named), ISSUER, internal=False)
    assert raised.value.code == "discovered_issuer_mismatch"


ENDPOINTS: dict[str, Any] = {
    "http": "http://op.example/token",
    "javascript": "javascript:alert(1)",
    "data": "data:,x",
    "file": "file:///etc/passwd",
    "user": "https://ok@169.254.169.254/",
    "backslash": "https://op.example\\@evil/",
    "fragment": "https://op.example/#x",
    "number": 7,
    "list": ["https://op.example/"],
    "placeholder": "https://{shop}/token",
    "empty": "",
    "long": "https://op.example/" + "x" * 2000,
    "port": "https://op.example:22/",
    "decimal host": "https://2130706433/",
}


@pytest.mark.security("I20", "H05")
@pytest.mark.parametrize(
    "name",
    [
        "authorization_endpoint",
        "token_endpoint",
        "userinfo_endpoint",
        "revocation_endpoint",
        "jwks_uri",
        "pushed_authorization_request_endpoint",
    ],
)
@pytest.mark.parametrize("url", ENDPOINTS.values(), ids=ENDPOINTS)
def test_an_endpoint_that_may_not_be_called_is_refused_by_its_name(name: str, url: Any) -> None:
    code, message = refused(**{name: url})
    assert code == "metadata_invalid"
    assert f"{name}: " in message


@pytest.mark.security("I20")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token_endpoint", ...), ("authorization_endpoint", ...), ("authorization_endpoint", "https://op.example/?client_id=x"),
        ("code_challenge_methods_supported", ["plain"]), ("code_challenge_methods_supported", []),
        ("code_challenge_methods_supported", "S256"), ("response_types_supported", ["token"]), ("scopes_supported", [1]),
        ("token_endpoint_auth_methods_supported", {"a": 1}),
    ],
)  # fmt: skip
def test_a_server_that_lacks_what_we_need_is_refused_by_the_members_name(name: str, value: Any) -> None:
    code, message = refused(**{name: value})
    assert code == "metadata_invalid"
    assert f"{name}: " in message


@pytest.mark.security("A15", "I20")
def test_where_requests_have_to_be_pushed_there_is_a_place_for_them() -> None:
    code, message = refused(require_pushed_authorization_requests=True)
    assert (code, "pushed_authorization_request_endpoint: " in message) == ("metadata_invalid", True)
    place = "https://op.example/par"
    offered = document(require_pushed_authorization_requests=True, pushed_authorization_request_endpoint=place)
    assert read_metadata(offered, ISSUER, internal=False).server.pushed_authorization_request_endpoint == place


def test_the_best_of_what_is_offered_is_chosen() -> None:
    found = read_metadata(
        document(
            token_endpoint_auth_methods_supported=["private_key_jwt", "client_secret_post"],
            id_token_signing_alg_values_supported=["none", "HS256", "ES256"],
            authorization_response_iss_parameter_supported=True,
        ),
        ISSUER,
        internal=False,
    )
    assert (found.auth_method, found.id_token_algorithm) == ("client_secret_post", "ES256")
    assert found.server.authorization_response_iss_parameter_supported
    bare = read_metadata(document(), ISSUER, internal=False)
    assert (bare.auth_method, bare.id_token_algorithm) == ("client_secret_basic", "RS256")
    assert not bare.server.authorization_response_iss_parameter_supported


@pytest.mark.django_db
@pytest.mark.security("I20", "T04", "T13", "T14")
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Answer(200, "<html>"), "metadata_invalid"),
        (Answer(200, "[]"), "metadata_invalid"),
        (Answer(200, '{"issuer": "a", "issuer": "b"}'), "metadata_invalid"),
        (Answer(500, "no"), "metadata_missing"),
        (Answer(302, headers={"Location": "/x"}), "provider_redirect"),
        (Drop(), "outcome_unknown"),
        (Endless(limit=4 << 20), "bad_response"),
    ],
)
def test_a_fault_of_the_issuer_is_refused_and_nothing_else_is_asked(fault: Any, code: str, fake: FakeProvider) -> None:
    fake.script("discovery", fault)
    with pytest.raises(OAuthFlowsError) as raised:
        flows.discover(fake.url, internal=True)
    assert raised.value.code == code
    assert len(fake.requests) == 1


@pytest.mark.django_db
@pytest.mark.rfc("8414", "3.1")
def test_a_server_without_openid_is_found_where_rfc_8414_says(fake: FakeProvider) -> None:
    fake.openid.change_metadata = lambda members: members.pop("jwks_uri")  # type: ignore[assignment, return-value]
    fake.script("discovery", Answer(404, "not here"))
    found = flows.discover(fake.url, internal=True)
    assert found["identity_source"] == "userinfo"
    assert found["token_endpoint"] == f"{fake.url}/token"
    assert [request.path for request in fake.requests] == [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ]


@pytest.mark.django_db
def test_what_openid_connect_has_no_name_for_is_looked_up_where_rfc_8414_says(fake: FakeProvider) -> None:
    whole = fake.openid.metadata(None).body  # type: ignore[arg-type]
    fake.openid.change_metadata = lambda members: members.pop("revocation_endpoint")  # type: ignore[assignment, return-value]
    assert flows.discover(fake.url, internal=True)["revocation_endpoint"] == ""
    others: list[dict[str, Any]] = [{"token_endpoint": f"{fake.url}/other"}, {"issuer": "https://attacker.example"}]
    for change in others:
        fake.script("metadata", Answer(200, {**whole, **change}))
        assert flows.discover(fake.url, internal=True)["revocation_endpoint"] == ""
    fake.script("metadata", Answer(200, whole))
    assert flows.discover(fake.url, internal=True)["revocation_endpoint"] == f"{fake.url}/revoke"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "issuer",
    ["http://op.example", "https://op.example/?a=1", "https://op.example/#a", "ftp://op.example", "", "op.example",
     "https://user@op.example", "https://op.example/" + "x" * 600],
)  # fmt: skip
def test_what_can_be_no_issuer_is_not_asked(issuer: str) -> None:
    with pytest.raises(OAuthFlowsError) as raised:
        flows.discover(issuer)
    assert raised.value.code == "issuer_not_allowed"


@pytest.mark.django_db
@pytest.mark.security("H01")
@pytest.mark.parametrize(
    "issuer", ["https://127.0.0.1", "https://169.254.169.254", "https://[::1]", "https://10.0.0.1/a"]
)
def test_an_issuer_in_the_inner_network_looks_like_one_that_is_not_there(issuer: str) -> None:
    with pytest.raises(OAuthFlowsError) as raised:
        flows.discover(issuer)
    assert (raised.value.code, raised.value.message) == ("provider_unreachable", "The service could not be reached.")


def add(fake: FakeProvider, **options: Any) -> str:
    """Run the command for the fake; return what it prints."""
    out = StringIO()
    usual = {"issuer": fake.url, "slug": "found", "client_id": fake.oauth2.client_id, "internal": True}
    call_command("add_provider", stdout=out, **{**usual, **options})
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_one_command_adds_a_provider_that_works(
    user: User, browser: Client, fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOUND_SECRET", fake.oauth2.client_secret)
    said = add(fake, client_secret_env="FOUND_SECRET", name="Found")
    assert "Added Found (found)." in said
    assert "http://testserver/oauth/callback/found/" in said
    provider = Provider.objects.get()
    assert (provider.identity_source, provider.scopes) == ("id_token", ("openid", "offline_access"))
    assert provider.dialect["authorization_parameters"] == {"prompt": "consent"}  # else it may ignore offline_access
    assert walk(browser, provider).status_code == 303
    mine = user.oauth_connections.get()
    assert (mine.subject, mine.label) == ("account-1", "Ada Lovelace")


@pytest.mark.django_db
def test_the_command_says_what_is_wrong_and_adds_nothing(fake: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.openid.change_metadata = lambda members: members.update(token_endpoint="ftp://x")
    with pytest.raises(CommandError, match="token_endpoint: only https"):
        add(fake, no_client_secret=True)
    fake.openid.change_metadata = lambda members: None
    with pytest.raises(CommandError, match="NOT_SET_ANYWHERE is empty"):
        add(fake, client_secret_env="NOT_SET_ANYWHERE")
    with pytest.raises(CommandError, match="slug: "):
        add(fake, no_client_secret=True, slug="no slug")
    assert not Provider.objects.exists()
    add(fake, no_client_secret=True, scopes="openid read")
    provider = Provider.objects.get()
    assert (provider.scopes, provider.token_endpoint_auth_method) == (("openid", "read"), "none")
    assert "authorization_parameters" not in provider.dialect


@pytest.mark.django_db(transaction=True)
@pytest.mark.security("I21")
def test_a_changed_endpoint_waits_for_staff(
    browser: Client, fake: FakeProvider, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOUND_SECRET", fake.oauth2.client_secret)
    add(fake, client_secret_env="FOUND_SECRET")
    provider = Provider.objects.get()
    assert flows.rediscover(provider) == {}
    moved = "https://attacker.example/token"
    fake.openid.change_metadata = lambda members: members.update(token_endpoint=moved)
    assert flows.rediscover(provider) == {"token_endpoint": (f"{fake.url}/token", moved)}
    provider.refresh_from_db()
    assert provider.token_endpoint == f"{fake.url}/token"
    assert "oauth_flows.metadata_changed" in [record.getMessage() for record in caplog.records]
    assert _warnings() == 1
    assert walk(browser, provider).status_code == 303  # with the endpoints that staff know
    out = StringIO()
    with pytest.raises(CommandError, match="1 of 1"):
        call_command("rediscover_providers", stdout=out)
    assert f"found: token_endpoint is {fake.url}/token; the issuer says {moved}" in out.getvalue()
    provider.token_endpoint = moved  # staff's word, in the admin, where it takes the client's secret
    provider.save()
    assert provider.discovered.differences == {}
    assert _warnings() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.security("I21")
@pytest.mark.rfc("8705", "5")
def test_a_changed_alias_for_those_who_show_a_certificate_waits_for_staff(
    fake: FakeProvider, admin_client: Client
) -> None:
    ours, theirs = "https://mtls.op.example/token", "https://attacker.example/token"
    fake.openid.change_metadata = lambda members: members.update(mtls_endpoint_aliases={"token_endpoint": ours})
    add(fake, no_client_secret=True)
    provider = Provider.objects.get()
    assert flows.rediscover(provider) == {}
    for alias, said in (({"token_endpoint": theirs}, theirs), ({}, "")):
        fake.openid.change_metadata = lambda members, alias=alias: members.update(mtls_endpoint_aliases=alias)
        assert flows.rediscover(provider) == {"mtls_endpoint_aliases.token_endpoint": (ours, said)}
    assert any("mtls_endpoint_aliases.token_endpoint" in text for text in facts(admin_client, provider))
    provider.refresh_from_db()
    assert provider.dialect["mtls_endpoint_aliases"] == {"token_endpoint": ours}
    provider.dialect = {}
    provider.save()
    assert flows.rediscover(provider) == {}
    fake.openid.change_metadata = lambda members: members.update(mtls_endpoint_aliases={"revocation_endpoint": theirs})
    assert flows.rediscover(provider) == {"mtls_endpoint_aliases.revocation_endpoint": ("", theirs)}


@pytest.mark.django_db(transaction=True)
@pytest.mark.security("I20", "I21")
def test_a_look_that_fails_keeps_the_last_good_one(fake: FakeProvider) -> None:
    add(fake, no_client_secret=True)
    provider = Provider.objects.get()
    before = provider.discovered.columns
    fake.script("discovery", Answer(200, {"issuer": "https://attacker.example"}))
    with pytest.raises(OAuthFlowsError):
        flows.rediscover(provider)
    noted = DiscoveredMetadata.objects.get()
    assert (noted.columns, noted.failure) == (before, "discovered_issuer_mismatch")
    err, out = StringIO(), StringIO()
    fake.script("discovery", Answer(500))
    with pytest.raises(CommandError):
        call_command("rediscover_providers", stdout=out, stderr=err, provider="found")
    assert "found: The issuer does not answer" in err.getvalue()
    call_command("rediscover_providers", stdout=out)
    assert "found: unchanged" in out.getvalue()
    with pytest.raises(CommandError, match="No discovered provider"):
        call_command("rediscover_providers", provider="other")


@pytest.mark.django_db(transaction=True)
@pytest.mark.security("I21")
def test_an_issuer_with_placeholders_is_asked_by_what_staff_have_filled_in(
    fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(fake, no_client_secret=True)
    provider = Provider.objects.get()
    host, _, port = fake.url.rpartition(":")
    provider.issuer, provider.parameters = f"{host}:{{port}}", {"port": port}
    provider.save()
    assert flows.rediscover(provider) == {}
    Provider.objects.update(parameters={})
    err = StringIO()
    with pytest.raises(CommandError, match="1 of 1"):
        call_command("rediscover_providers", stderr=err)
    assert "placeholder 'port' needs a value" in err.getvalue()
    assert DiscoveredMetadata.objects.get().failure == "provider_misconfigured"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("dialect", [[], {"mtls_endpoint_aliases": []}])
def test_a_dialect_that_is_none_hides_no_difference(fake: FakeProvider, admin_client: Client, dialect: Any) -> None:
    theirs = "https://mtls.op.example/token"
    fake.openid.change_metadata = lambda members: members.update(mtls_endpoint_aliases={"token_endpoint": theirs})
    add(fake, no_client_secret=True)
    Provider.objects.update(dialect=dialect)
    provider = Provider.objects.get()
    differences = {"mtls_endpoint_aliases.token_endpoint": ("", theirs)}
    assert provider.discovered.differences == differences
    assert flows.rediscover(provider) == differences
    assert _warnings() == 1
    assert any("mtls_endpoint_aliases.token_endpoint" in text for text in facts(admin_client, provider))


def _warnings() -> int:
    from django_oauth_flows.checks.rows import check_discovered

    return sum(message.id == "oauth_flows.W031" for message in check_discovered(databases=["default"]))
