"""Every entry of the catalogue, as data: nothing here is sent anywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from django.core.exceptions import ValidationError

from django_oauth_flows import catalogue
from django_oauth_flows.catalogue import reading
from django_oauth_flows.catalogue.preset import ADDRESSES, COLUMNS, READERS, Preset
from django_oauth_flows.models import Provider
from django_oauth_flows.models.provider_rules import open_parameters
from django_oauth_flows.protocol.dialect import Dialect
from django_oauth_flows.protocol.placeholders import is_value, placeholders, runtime_names

if TYPE_CHECKING:
    from pathlib import Path

SLUGS = catalogue.slugs()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of one's own."""
    monkeypatch.setattr(reading, "DATA", tmp_path)
    caches = (reading._entries, reading._aliases, reading._texts, reading._preset)
    for cache in caches:
        cache.cache_clear()
    yield tmp_path
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()


def entry(**values: object) -> dict[str, object]:
    usual = {
        "name": "Service",
        "status": "live",
        "confidence": "high",
        "checked": "2025-06-30",
        "authorization_endpoint": "https://service.example/authorize",
        "token_endpoint": "https://service.example/token",
    }
    return {name: value for name, value in {**usual, **values}.items() if value is not None}


@pytest.mark.parametrize("slug", SLUGS)
def test_every_entry_is_what_the_schema_says(slug: str) -> None:
    preset = catalogue.find(slug)
    assert preset.slug == slug
    assert preset.checked <= date(2100, 1, 1)
    for name in ADDRESSES:
        for part in runtime_names(getattr(preset, name)):
            assert part.startswith("kept.") or part in ("access_token", "client_id"), f"{name}: {part}"
    filled = [getattr(preset, name) for name in ADDRESSES if getattr(preset, name)]
    for address in filled:
        assert "{" not in placeholders_out(address), address
        assert not urlsplit(address).fragment, address
    for parameter in preset.parameters:
        assert all(is_value(value) for value in parameter.values), parameter
        assert not parameter.example or (is_value(parameter.example) and parameter.accepts(parameter.example)), (
            parameter
        )
    assert "authorization_code" not in preset.grant_types or preset.authorization_endpoint or preset.is_discovered


def placeholders_out(address: str) -> str:
    for name in (*placeholders(address), *runtime_names(address)):
        address = address.replace(f"{{{name}}}", "x")
    return address


@pytest.mark.parametrize("slug", SLUGS)
def test_no_entry_takes_a_name_or_an_address_for_an_account(slug: str) -> None:
    preset = catalogue.find(slug)
    last = preset.subject_path.rpartition(".")[2].lower()
    assert not any(word in last for word in ("mail", "name", "login", "nick", "phone")), preset.subject_path


def test_aliases_lead_to_one_entry_each_and_are_no_slugs() -> None:
    aliases = [alias for preset in catalogue.presets() for alias in preset.aliases]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(SLUGS)
    assert catalogue.find("twitter").slug == "x"


def test_an_entry_says_why_where_its_sources_disagree() -> None:
    assert dict(catalogue.find("coinbase").chosen)["token_endpoint"]
    assert all(reason for preset in catalogue.presets() for _, reason in preset.chosen)


def test_only_entries_whose_service_may_live_are_shipped() -> None:
    assert {preset.status for preset in catalogue.presets()} == {"live", "unverified", "legacy"}
    assert {preset.confidence for preset in catalogue.presets()} == {"high", "medium"}


def test_entries_of_both_protocols_and_both_grants_are_shipped() -> None:
    presets = list(catalogue.presets())
    assert sum(preset.protocol == "oauth1" for preset in presets) >= 20
    assert sum(preset.grant_types == ("client_credentials",) for preset in presets) >= 90


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"authorisation_endpoint": "https://service.example/"}, "unknown key 'authorisation_endpoint'"),
        ({"token_endpoint": "http://service.example/token"}, "is not https"),
        ({"token_endpoint": None}, "needs a 'token_endpoint'"),
        ({"status": "dead"}, "none of live, unverified, legacy"),
        ({"revocation": "endpoint"}, "'revocation' is"),
        ({"revocation_endpoint": "https://service.example/revoke"}, "'revocation' is"),
        ({"dialect": {"token_body": "json"}}, "unknown key 'token_body'"),
        ({"parameters": {"shop": {"help": "The shop"}}}, "explains 'shop'"),
        ({"parameters": {"shop": {"regex": "x"}}}, "unknown key 'regex'"),
        ({"identity_source": "userinfo"}, "needs a 'userinfo_endpoint'"),
        ({"identity_source": "id_token", "issuer": "https://service.example"}, "needs an 'issuer' and a 'jwks_uri'"),
        ({"response_mode": "fragment"}, "none of query, form_post"),
        ({"dialect": {"client_assertion_audience": "the service"}}, "or begin with https://"),
        ({"access_token_lifetime": "3600"}, "no whole number"),
        ({"rotates_refresh_token": "yes"}, "neither true nor false"),
        ({"scopes": "read"}, "is no list"),
        ({"name": ""}, "is no text"),
        ({"chosen": {"colour": "because"}}, "names 'colour'"),
        ({"confirmed_by": [{"page": "https://service.example/docs"}]}, "must have page, shows"),
        ({"checked": "yesterday"}, "isoformat"),
        ({"chosen": []}, "is no object"),
        ({"name": None}, "name"),
    ],
)
def test_an_entry_that_is_wrong_is_refused_by_name(values: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match="catalogue entry 'service'") as refused:
        Preset.from_entry("service", entry(**values))
    assert problem in str(refused.value)


def test_a_slug_is_lower_case_words_with_hyphens() -> None:
    with pytest.raises(ValueError, match="is no slug"):
        Preset.from_entry("My Service", entry())


def test_every_key_has_a_reader_and_every_column_is_a_key() -> None:
    assert set(Preset.__dataclass_fields__) - {"slug"} == set(READERS)
    assert set(COLUMNS) <= set(READERS)


def test_an_entry_inherits_and_takes_away(data: Path) -> None:
    family = entry(scopes=["read"], dialect={"api_auth_scheme": "OAuth", "raw_basic_auth": True}, aliases=["old"])
    member = {"extends": "service", "name": "Member", "status": "live", "confidence": "medium", "scopes": None}
    member["dialect"] = {"raw_basic_auth": None}
    (data / "a.json").write_text(json.dumps({"service": family, "member": member}))
    found = catalogue.find("member")
    assert (found.token_endpoint, found.scopes, found.confidence) == ("https://service.example/token", (), "medium")
    assert Dialect.from_json(found.dialect) == Dialect(api_auth_scheme="OAuth")
    assert found.aliases == ()
    assert catalogue.find("old").slug == "service"


def test_an_entry_that_extends_itself_or_stands_twice_is_refused(data: Path) -> None:
    (data / "a.json").write_text(json.dumps({"a": {"extends": "b"}, "b": {"extends": "a"}}))
    with pytest.raises(ValueError, match="extends itself"):
        catalogue.find("a")
    reading._entries.cache_clear()
    (data / "b.json").write_text(json.dumps({"a": {}}))
    with pytest.raises(ValueError, match="twice"):
        catalogue.find("a")


def test_an_unknown_slug_is_a_lookup_error() -> None:
    with pytest.raises(LookupError):
        catalogue.find("no-such-service")


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("github", "github"),
        ("GitHub", "github"),
        ("twitter", "x"),
        ("google drive", "google-drive"),
        ("slack", "slack"),
    ],
)
def test_search_finds_the_nearest_first(query: str, first: str) -> None:
    assert catalogue.search(query)[0].slug == first


def test_search_for_nothing_or_the_unknown_finds_nothing() -> None:
    assert catalogue.search("  ") == []
    assert catalogue.search("xyzzy") == []
    assert len(catalogue.search("e", limit=3)) == 3


def test_a_family_shares_the_facts_of_its_server() -> None:
    google, drive = catalogue.find("google"), catalogue.find("google-drive")
    assert drive.extends == "google"
    assert drive.revocation_endpoint == google.revocation_endpoint == "https://oauth2.googleapis.com/revoke"


def test_a_placeholder_that_decides_the_domain_is_for_staff() -> None:
    shop, gitea = catalogue.find("shopify"), catalogue.find("gitea")
    assert (shop.placeholders()[0], shop.staff_parameters()) == ("shop", ())
    assert gitea.staff_parameters() == ("host",)


def test_the_issuer_of_a_tenant_is_filled_in_like_its_addresses() -> None:
    values = {"tenant": "contoso", "policy": "b2c_1_in", "tenant_id": "a1b2c3d4-e5f6-47a8-9b0c-d1234567890f"}
    registration = Provider.from_preset("azure-ad-b2c", client_id="x", parameters=values).registration()
    assert registration.server.issuer == f"https://contoso.b2clogin.com/{values['tenant_id']}/v2.0/"


def test_every_placeholder_of_an_issuer_is_filled_in_by_staff_or_users() -> None:
    templates = [preset for preset in catalogue.presets() if placeholders(preset.issuer)]
    assert {preset.slug for preset in templates} >= {"azure-ad-b2c", "vault"}
    for preset in templates:
        assert not preset.is_discovered, preset.slug
        staff = dict.fromkeys(preset.staff_parameters(), "x")
        row = Provider(**preset.columns(), parameters=staff)
        asked = open_parameters(row)
        assert set(placeholders(preset.issuer)) <= {*staff, *asked}, preset.slug
        assert "{" not in row.registration(dict.fromkeys(asked, "y")).server.issuer, preset.slug


def test_what_only_an_issuer_asks_for_is_for_staff() -> None:
    preset = Preset.from_entry("service", entry(issuer="https://service.example/{tenant_id}"))
    assert preset.staff_parameters() == ("tenant_id",)
    assert (
        Preset.from_entry(
            "one", entry(issuer="https://service.example/{a}", api_base_url="https://service.example/{a}")
        ).staff_parameters()
        == ()
    )


@pytest.mark.parametrize("slug", SLUGS)
def test_a_scope_names_the_client_by_its_id(slug: str) -> None:
    row = Provider.from_preset(slug, client_id="the-client")
    with suppress(ValidationError):  # for want of what staff fill in
        row.clean()
    assert not [scope for scope in row.scopes if "{client_id}" in scope]


def test_a_tenant_of_b2c_is_asked_for_an_access_token() -> None:
    values = {"tenant": "contoso", "policy": "b2c_1_in", "tenant_id": "a1b2c3d4-e5f6-47a8-9b0c-d1234567890f"}
    row = Provider.from_preset("azure-ad-b2c", client_id="4711", parameters=values)
    row.clean()
    assert row.scopes == ("openid", "4711")


def test_deviantart_is_told_which_token_ends() -> None:
    dialect = Provider.from_preset("deviantart", client_id="x").registration().dialect
    assert (dialect.revocation_authentication, dialect.revocation_token_parameter) == ("token", "token")


def test_columns_hold_what_is_known_and_nothing_else() -> None:
    columns = Preset.from_entry("service", entry(pkce="off", rotates_refresh_token=False)).columns()
    assert columns == {
        "authorization_endpoint": "https://service.example/authorize",
        "code_challenge_method": "",
        "name": "Service",
        "protocol": "oauth2",
        "rotates_refresh_token": False,
        "token_endpoint": "https://service.example/token",
        "token_endpoint_auth_method": "client_secret_post",
    }


def test_the_version_is_the_day_of_the_last_check() -> None:
    assert Preset.from_entry("service", entry()).version == 20250630


def test_importing_the_catalogue_reads_no_file_and_no_django() -> None:
    code = (
        "import sys; from django_oauth_flows import catalogue; from django_oauth_flows.catalogue import reading; "
        "print(reading._entries.cache_info().misses, 'django' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "False"]
