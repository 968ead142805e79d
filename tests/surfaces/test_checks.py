"""Misconfiguration is found by ``check``, with the line to write."""

from __future__ import annotations

import http.client
import logging
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings as site
from django.core.checks import Error, Tags, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

from django_oauth_flows.checks.site import check_storage
from django_oauth_flows.conf import DEFAULTS
from django_oauth_flows.models import Provider
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.checks import CheckMessage
    from pytest_django import DjangoDbBlocker
    from pytest_django.fixtures import SettingsWrapper

# Fixed, since test ids are made of them and every worker must collect the same.
KEY, OTHER_KEY = "Zm9yLXRlc3RzLW9ubHktdGhpcnR5LXR3by1ieXRlcyE", "YW5vdGhlci1rZXktb2YtdGhpcnR5LXR3by1ieXRlcyE"


@pytest.fixture(autouse=True)
def _well_configured(settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("urllib3"), "level", logging.INFO)  # the suite's root logger is at DEBUG
    settings.OAUTH_FLOWS = {"BASE_URL": "https://site.example", "ENCRYPTION_KEYS": [KEY]}
    settings.DEFAULT_FROM_EMAIL = "noreply@site.example"
    settings.SESSION_COOKIE_SECURE = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


@pytest.fixture(scope="module", autouse=True)
def _features_are_known(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Let Django ask SQLite once whether it knows JSON, as its own checks would: ours may ask a database for nothing."""
    with django_db_blocker.unblock():
        assert connection.features.supports_json_field


def found(*, deploy: bool = False, databases: list[str] | None = None) -> dict[str, CheckMessage]:
    """Run what ``manage.py check`` runs; return our messages by id."""
    messages = run_checks(include_deployment_checks=deploy, databases=databases)
    ours = {str(message.id): message for message in messages if str(message.id).startswith("oauth_flows.")}
    ours.pop("oauth_flows.W016", None)  # the suite itself runs on SQLite, too
    return ours


def ids(**options: Any) -> set[str]:
    return set(found(**options))


@pytest.fixture
def provider(db: None) -> Provider:
    return Provider.objects.create(
        slug="acme", name="Acme", client_id="id", token_endpoint="https://as.example/token", pk=uuid.uuid4()
    )


def test_a_well_configured_site_has_no_message() -> None:
    assert ids(deploy=True) == set()


def test_every_message_says_what_to_write(settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.OAUTH_FLOWS = {"STATE_TLT": 1, "BASE_URL": 5, "OWNER_MODELS": ["no.Model"], "OWNER_POLICY": "no.where"}
    settings.MIDDLEWARE = []
    settings.SESSION_COOKIE_SECURE = False
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    messages = found(deploy=True).values()
    assert len(messages) >= 8
    assert all(message.hint for message in messages)


@pytest.mark.security("C06")
@pytest.mark.parametrize(
    ("key", "suggestion"),
    [("BASE_URI", "BASE_URL"), ("ENCRYPTION_KEY", "ENCRYPTION_KEYS"), ("proxy", "PROXY"), ("STATE_TLT", "Known keys")],
)
def test_an_unknown_setting_is_an_error_with_a_suggestion(settings: SettingsWrapper, key: str, suggestion: str) -> None:
    settings.OAUTH_FLOWS = {key: 1}
    message = found()["oauth_flows.E003"]
    assert isinstance(message, Error)
    assert key in message.msg
    assert suggestion in str(message.hint)


@pytest.mark.security("H11")
@pytest.mark.parametrize("switch", ["VERIFY", "VERIFY_TLS", "INSECURE", "ALLOW_INSECURE_TRANSPORT", "SSL_VERIFY"])
def test_no_setting_switches_certificate_verification_off(settings: SettingsWrapper, switch: str) -> None:
    settings.OAUTH_FLOWS = {switch: False}
    assert "oauth_flows.E003" in ids()


@pytest.mark.security("C06")
@pytest.mark.parametrize("value", [[], "BASE_URL", None, 1])
def test_settings_that_are_no_dict_are_an_error(settings: SettingsWrapper, value: Any) -> None:
    settings.OAUTH_FLOWS = value
    assert "oauth_flows.E002" in ids()


@pytest.mark.security("C06")
@pytest.mark.parametrize("key", sorted(DEFAULTS))
def test_a_setting_of_the_wrong_type_is_an_error(settings: SettingsWrapper, key: str) -> None:
    for value in (object(), "yes" if isinstance(DEFAULTS[key], bool) else True, {"a": 1}, 5.5, None):
        settings.OAUTH_FLOWS = {key: value}
        assert "oauth_flows.E004" in ids(), value


@pytest.mark.security("C06")
@pytest.mark.parametrize(
    ("key", "value"),
    [("ENCRYPTION_KEYS", KEY), ("OWNER_MODELS", "auth.Group"), ("EVENT_RETENTION_DAYS", 0), ("ENCRYPTION_KEYS", [1])],
)
def test_a_string_for_a_list_and_a_useless_number_are_errors(settings: SettingsWrapper, key: str, value: Any) -> None:
    settings.OAUTH_FLOWS = {key: value}
    assert "oauth_flows.E004" in ids()


def test_every_default_passes_its_own_check(settings: SettingsWrapper) -> None:
    settings.OAUTH_FLOWS = dict(DEFAULTS)
    assert ids() == {"oauth_flows.W001"}


@pytest.mark.security("S05", "C02")
def test_without_keys_there_is_a_warning_and_before_deployment_an_error(settings: SettingsWrapper) -> None:
    settings.OAUTH_FLOWS = {"BASE_URL": "https://site.example"}
    assert ids() == {"oauth_flows.W001"}
    assert "oauth_flows.E007" in ids(deploy=True)


@pytest.mark.security("S05")
def test_writing_with_the_secret_key_is_reported_and_reading_with_it_is_not(settings: SettingsWrapper) -> None:
    settings.OAUTH_FLOWS["ENCRYPTION_KEYS"] = ["SECRET_KEY", KEY]
    assert ids(deploy=True) == {"oauth_flows.W001", "oauth_flows.E007"}
    settings.OAUTH_FLOWS["ENCRYPTION_KEYS"] = [KEY, "SECRET_KEY"]
    assert ids(deploy=True) == set()


@pytest.mark.security("S05")
@pytest.mark.parametrize("key", ["", "short", KEY[:-2], KEY + "AA", "ü" * 43, "!" * 43])
def test_a_malformed_key_is_an_error_that_does_not_print_it(settings: SettingsWrapper, key: str) -> None:
    settings.OAUTH_FLOWS["ENCRYPTION_KEYS"] = [KEY, key]
    message = found()["oauth_flows.E005"]
    assert "[1]" in message.msg
    assert not key or key not in f"{message.msg}{message.hint}"


@pytest.mark.security("S05")
@pytest.mark.parametrize("fallback", [False, True])
def test_the_secret_key_as_encryption_key_is_an_error(settings: SettingsWrapper, fallback: bool) -> None:
    if fallback:
        settings.SECRET_KEY_FALLBACKS = [KEY]
    else:
        settings.SECRET_KEY = KEY
    message = found()["oauth_flows.E006"]
    assert KEY not in f"{message.msg}{message.hint}"


@pytest.mark.parametrize(
    "url",
    ["site.example", "https://", "https://a/path", "https://a?q", "https://u@a", "ftp://a", "http://a", "https://a:x"],
)
def test_a_base_url_that_is_no_https_origin_is_an_error(settings: SettingsWrapper, url: str) -> None:
    settings.OAUTH_FLOWS["BASE_URL"] = url
    assert "oauth_flows.E008" in ids()


@pytest.mark.parametrize("url", ["https://a", "https://a:8443/", "http://localhost:8000", "http://127.0.0.1:8000"])
def test_an_origin_is_a_base_url(settings: SettingsWrapper, url: str) -> None:
    settings.OAUTH_FLOWS["BASE_URL"] = url
    assert ids() == set()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("OWNER_MODELS", ["teams.Team"], "E009"),
        ("OWNER_MODELS", ["Team"], "E009"),
        ("OWNER_POLICY", "teams.policy", "E010"),
        ("OWNER_POLICY", "django_oauth_flows.conf.DEFAULTS", "E010"),
        ("CA_BUNDLE", "/no/such/bundle.pem", "E011"),
        ("PROXY", "proxy:3128", "E012"),
        ("PROXY", "socks5://proxy:1080", "E012"),
    ],
)
def test_a_setting_that_names_nothing_is_an_error(
    settings: SettingsWrapper, key: str, value: Any, expected: str
) -> None:
    settings.OAUTH_FLOWS[key] = value
    assert ids() == {f"oauth_flows.{expected}"}


def test_settings_that_name_something_pass(settings: SettingsWrapper) -> None:
    settings.OAUTH_FLOWS |= {"OWNER_MODELS": ["auth.Group"], "CA_BUNDLE": __file__, "PROXY": "http://proxy:3128"}
    assert ids() == set()


@pytest.mark.security("C01")
@pytest.mark.parametrize(("debug", "expected"), [(False, "E013"), (True, "W003")])
def test_oauthlibs_insecure_switch_is_an_error_in_production(
    settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch, debug: bool, expected: str
) -> None:
    settings.DEBUG = debug
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    assert ids() == {f"oauth_flows.{expected}"}


@pytest.mark.security("C01")
@pytest.mark.parametrize("name", ["OAUTHLIB_RELAX_TOKEN_SCOPE", "OAUTHLIB_STRICT_TOKEN_TYPE"])
def test_oauthlibs_other_switches_are_reported(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert name in found()["oauth_flows.W003"].msg


@pytest.mark.security("C02")
def test_every_host_without_a_base_url_is_reported(settings: SettingsWrapper) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert ids() == set()
    settings.OAUTH_FLOWS = {"ENCRYPTION_KEYS": [KEY]}
    assert ids() == {"oauth_flows.W002"}


@pytest.mark.security("C02")
@pytest.mark.parametrize(
    ("policy", "expected"),
    [("Lax", set()), ("None", {"W004"}), (None, {"W004"}), (False, {"W004"}), ("Strict", {"W005"})],
)
def test_a_session_cookie_for_all_sites_or_for_none_is_reported(
    settings: SettingsWrapper, policy: Any, expected: set[str]
) -> None:
    settings.SESSION_COOKIE_SAMESITE = policy
    assert ids() == {f"oauth_flows.{name}" for name in expected}


@pytest.mark.security("C02")
def test_cookies_and_proxies_that_lose_https_are_reported_before_deployment(settings: SettingsWrapper) -> None:
    settings.SESSION_COOKIE_SECURE = False
    settings.SECURE_PROXY_SSL_HEADER = None
    assert ids() == set()
    assert ids(deploy=True) == {"oauth_flows.W006", "oauth_flows.W007"}


@pytest.mark.security("C03")
@pytest.mark.parametrize(
    ("columns", "reported"),
    [
        ({}, False),
        ({"SESSION_ENGINE": "django.contrib.sessions.backends.cached_db", "CACHES": {"default": {"BACKEND": "a.RedisCache"}}}, False),
        ({"SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies"}, True),
        ({"SESSION_ENGINE": "django.contrib.sessions.backends.cache", "CACHES": {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}}, True),
    ],
    ids=["database", "shared cache", "cookies", "memory"],
)  # fmt: skip
def test_a_place_for_sessions_that_loses_a_guarantee_is_reported_before_deployment(
    columns: dict[str, Any], reported: bool, settings: SettingsWrapper
) -> None:
    for name, value in columns.items():
        setattr(settings, name, value)
    assert ("oauth_flows.W015" in {message.id for message in check_storage()}) is reported


@pytest.mark.security("C03")
def test_tokens_in_sqlite_are_reported_before_deployment() -> None:
    messages = {str(message.id): message for message in check_storage()}
    assert ("oauth_flows.W016" in messages) is (connection.vendor == "sqlite")
    if connection.vendor == "sqlite":
        assert "one host" in messages["oauth_flows.W016"].msg


class OwnSessionMiddleware:
    """Not a subclass of Django's."""


@pytest.mark.security("C04")
@pytest.mark.parametrize("name", ["SessionMiddleware", "CsrfViewMiddleware", "AuthenticationMiddleware"])
def test_missing_middleware_is_an_error(settings: SettingsWrapper, name: str) -> None:
    settings.MIDDLEWARE = [m for m in site.MIDDLEWARE if not m.endswith(name)] + [f"{__name__}.OwnSessionMiddleware"]
    message = found()["oauth_flows.E014"]
    assert isinstance(message, Error)
    assert name in f"{message.msg}{message.hint}"


@pytest.mark.security("C04")
def test_nothing_that_forbids_framing_is_an_error(settings: SettingsWrapper) -> None:
    settings.MIDDLEWARE = [m for m in site.MIDDLEWARE if "XFrame" not in m]
    assert ids() == {"oauth_flows.E015"}


class Urls:
    """URL configurations by name."""

    def __init__(self, *patterns: Any) -> None:
        self.urlpatterns = list(patterns)


OURS = path("oauth/", include("django_oauth_flows.urls"))


@pytest.mark.security("C04")
def test_a_callback_without_a_url_is_an_error(settings: SettingsWrapper) -> None:
    settings.ROOT_URLCONF = Urls()
    message = found()["oauth_flows.E016"]
    assert 'path("oauth/", include("django_oauth_flows.urls"))' in str(message.hint)


@pytest.mark.security("C04")
@pytest.mark.parametrize("shadow", ["oauth/<path:anything>", "<path:anything>", "oauth/callback/<slug:slug>/"])
def test_a_shadowed_callback_is_an_error(settings: SettingsWrapper, shadow: str) -> None:
    def other(request: Any, **_: Any) -> Any:
        raise AssertionError

    settings.ROOT_URLCONF = Urls(path(shadow, other), OURS)
    assert "oauth_flows.E017" in ids()
    settings.ROOT_URLCONF = Urls(OURS, path(shadow, other))
    assert ids() == set()


@pytest.mark.security("C04", "A17")
def test_a_callback_below_a_script_name_and_a_language_prefix_is_found(settings: SettingsWrapper) -> None:
    from django.conf.urls.i18n import i18n_patterns
    from django.urls import set_script_prefix

    settings.ROOT_URLCONF = Urls(*i18n_patterns(OURS))
    set_script_prefix("/below/")
    try:
        assert ids() == set()
    finally:
        set_script_prefix("/")


@pytest.mark.security("C04")
def test_the_callback_stays_outside_of_the_requests_transaction(
    settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert ids() == set()

    def wrapped(request: Any, slug: str) -> Any:
        raise AssertionError

    own = ([path("callback/<slug:slug>/", wrapped, name="callback")], "oauth_flows")
    settings.ROOT_URLCONF = Urls(path("oauth/", include(own)))
    assert ids() == {"oauth_flows.E018"}


def test_naive_moments_are_an_error(settings: SettingsWrapper) -> None:
    settings.USE_TZ = False
    assert ids() == {"oauth_flows.E020"}


@pytest.fixture
def level_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    def change(name: str, level: int) -> None:
        monkeypatch.setattr(logging.getLogger(name), "level", level)

    return change


@pytest.mark.security("C05")
@pytest.mark.parametrize("name", ["oauthlib", "requests_oauthlib", "urllib3", "requests_oauthlib.oauth2_session"])
def test_a_talkative_logger_in_production_is_reported(
    settings: SettingsWrapper, level_of: Callable[[str, int], None], name: str
) -> None:
    level_of(name, logging.DEBUG)
    assert ids() == {"oauth_flows.W008"}
    settings.DEBUG = True
    assert ids() == set()


@pytest.mark.security("C05")
def test_a_root_logger_at_debug_in_production_is_reported(level_of: Callable[[str, int], None]) -> None:
    level_of("urllib3", logging.NOTSET)
    level_of("", logging.DEBUG)
    message = found()["oauth_flows.W008"]
    assert "urllib3.connectionpool" in message.msg
    assert "oauthlib" not in message.msg, "the app keeps these at INFO unless the site has set a level"


@pytest.mark.security("C05")
def test_http_clients_debug_switch_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    assert ids() == {"oauth_flows.W008"}


@pytest.mark.security("V07")
def test_rows_are_read_under_check_database_only(db: None) -> None:
    with CaptureQueriesContext(connection) as without:
        run_checks(include_deployment_checks=True)
    with CaptureQueriesContext(connection) as asked:
        run_checks(include_deployment_checks=True, databases=["default"])

    # Django 6.1 asks SQLite what it can do; that reads nobody's rows.
    assert not [query["sql"] for query in without if "oauth_flows_" in query["sql"]]
    assert [query["sql"] for query in asked if "oauth_flows_provider" in query["sql"]]


@pytest.mark.security("V07")
@pytest.mark.django_db(transaction=True)
def test_checks_are_silent_on_an_unmigrated_database() -> None:
    def rename(before: str, after: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {before} RENAME TO {after}")

    rename("oauth_flows_provider", "elsewhere")
    try:
        assert ids(databases=["default"]) == set()
    finally:
        rename("elsewhere", "oauth_flows_provider")


@pytest.mark.security("A05", "C07")
def test_a_provider_without_pkce_is_reported(provider: Provider) -> None:
    assert ids(databases=["default"]) == set()
    Provider.objects.update(code_challenge_method="")
    message = found(databases=["default"])["oauth_flows.W010"]
    assert "acme" in message.msg
    Provider.objects.update(protocol="oauth1", signature_method="HMAC-SHA256")
    assert ids(databases=["default"]) == set()


@pytest.mark.security("O15")
@pytest.mark.parametrize(("method", "better"), [("HMAC-SHA1", "HMAC-SHA256"), ("RSA-SHA1", "RSA-SHA256")])
def test_a_provider_that_signs_with_sha_1_is_flagged(provider: Provider, method: str, better: str) -> None:
    Provider.objects.update(protocol="oauth1", signature_method=method)
    assert ids(databases=["default"]) == {"oauth_flows.I002"}
    assert better in str(found(databases=["default"])["oauth_flows.I002"].hint)
    Provider.objects.update(protocol="oauth1", signature_method=better)
    assert ids(databases=["default"]) == set()


@pytest.mark.security("C07", "H11")
@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"scopes": "openid"}, "W030"),
        ({"scopes": "openid", "jwks_uri": "https://as.example/jwks"}, "W030"),
        ({"internal": True}, "W011"),
        ({"protocol": "oauth1", "signature_method": "PLAINTEXT"}, "W012"),
        ({"dialect": {"raw_basic_auth": True}}, "W013"),
        ({"code_challenge_method": "plain"}, "W040"),
        ({"dialect": {"token_request_method": "GET"}}, "W041"),
        ({"dialect": {"refresh_request_method": "GET"}}, "W041"),
        ({"dialect": {"token_request_format": "query"}}, "W041"),
        ({"dialect": {"api_token_parameter": "access_token"}}, "W041"),
    ],
)
def test_a_dangerous_provider_setting_is_reported(provider: Provider, columns: dict[str, Any], expected: str) -> None:
    Provider.objects.update(**columns)
    assert ids(databases=["default"]) == {f"oauth_flows.{expected}"}


@pytest.mark.security("C07", "T17")
@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, {"W050"}),
        ({"token_endpoint": "https://{place}.example/token", "parameters": {"place": "as"}}, {"W050"}),
        ({"client_id": "other"}, set()),
        ({"token_endpoint": "https://as.example/another"}, set()),
        ({"token_endpoint": "https://attacker.example/token"}, {"W051"}),
        ({"token_endpoint": "https://{place}.example/token", "parameters": {"place": "attacker"}}, {"W051"}),
        ({"token_endpoint": "https://attacker.example/token", "authorization_endpoint": "https://[as/"}, set()),
        ({"token_endpoint": "https://attacker.example/token", "authorization_endpoint": ""}, set()),
    ],
)
def test_two_providers_of_which_one_could_be_taken_for_the_other_are_reported(
    provider: Provider, columns: dict[str, Any], expected: set[str]
) -> None:
    Provider.objects.update(authorization_endpoint="https://as.example/authorize")
    assert ids(databases=["default"]) == set()
    usual = {
        "client_id": "id",
        "token_endpoint": provider.token_endpoint,
        "authorization_endpoint": "https://AS.example/login",
    }
    Provider.objects.create(slug="other", **{**usual, **columns})
    messages = found(databases=["default"])
    assert set(messages) == {f"oauth_flows.{name}" for name in expected}
    assert all("acme" in message.msg and "other" in message.msg for message in messages.values())


@pytest.mark.security("S04")
def test_secrets_under_an_older_key_are_counted_until_it_may_go(settings: SettingsWrapper, provider: Provider) -> None:
    provider.seal("client_secret", Secret("s1"))
    provider.seal("private_key", Secret("s2"))
    provider.save()
    settings.OAUTH_FLOWS["ENCRYPTION_KEYS"] = [OTHER_KEY, KEY]
    message = found(databases=["default"])["oauth_flows.I001"]
    assert message.msg.startswith("2 secrets of providers")
    settings.OAUTH_FLOWS["ENCRYPTION_KEYS"] = [OTHER_KEY]
    lost = found(databases=["default"])
    assert set(lost) == {"oauth_flows.E019"}
    assert lost["oauth_flows.E019"].msg.startswith("2 secrets of providers")
    with pytest.raises(SystemCheckError, match=r"oauth_flows\.E019"):
        call_command("check", databases=["default"])


def test_the_checks_have_tags() -> None:
    from django.core.checks import registry

    ours = [c for c in registry.registry.get_checks(include_deployment_checks=True) if "oauth_flows" in c.__module__]
    tags = {c.__name__: set(c.tags) for c in ours}
    assert {name for name, own in tags.items() if Tags.database in own} == {
        "check_providers",
        "check_sealed_rows",
        "check_overdue",
        "check_pairs",
        "check_discovered",
    }
    assert all("oauth_flows" in own for own in tags.values() if Tags.database not in own)


def test_a_site_without_a_sender_is_reminded_that_owners_are_not_told(settings: SettingsWrapper) -> None:
    settings.DEFAULT_FROM_EMAIL = "webmaster@localhost"
    assert ids(deploy=True) == {"oauth_flows.I010"}
    assert ids() == set()
    settings.OAUTH_FLOWS["OWNER_MAILS"] = False
    assert ids(deploy=True) == set()


WEBHOOK_SECRET = "whsec_" + "A" * 32


@pytest.mark.security("C02")
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"WEBHOOK_URL": "https://site.example/hook", "WEBHOOK_SECRETS": [WEBHOOK_SECRET]}, set()),
        ({"WEBHOOK_SECRETS": ["no webhook, no matter"]}, set()),
        ({"WEBHOOK_URL": "http://site.example/", "WEBHOOK_SECRETS": [WEBHOOK_SECRET]}, {"oauth_flows.E030"}),
        ({"WEBHOOK_URL": "http://127.0.0.1/", "WEBHOOK_SECRETS": [WEBHOOK_SECRET]}, {"oauth_flows.E030"}),
        ({"WEBHOOK_URL": "http://127.0.0.1/", "WEBHOOK_SECRETS": [WEBHOOK_SECRET], "WEBHOOK_INTERNAL": True}, set()),
        ({"WEBHOOK_URL": "https://site.example/"}, {"oauth_flows.E031"}),
        ({"WEBHOOK_URL": "https://site.example/", "WEBHOOK_SECRETS": ["A" * 32]}, {"oauth_flows.E031"}),
        ({"WEBHOOK_URL": "https://site.example/", "WEBHOOK_SECRETS": ["whsec_AAAA"]}, {"oauth_flows.E031"}),
        ({"WEBHOOK_URL": "https://site.example/", "WEBHOOK_SECRETS": ["whsec_é"]}, {"oauth_flows.E031"}),
        ({"METRICS": ["prometheus", "opentelemetry"]}, set()),
        ({"METRICS": ["statsd"]}, {"oauth_flows.E032"}),
    ],
)
def test_a_webhook_or_metrics_that_could_not_work_are_errors(
    values: dict[str, Any], expected: set[str], settings: SettingsWrapper
) -> None:
    settings.OAUTH_FLOWS |= values
    assert ids() == expected
    assert all(message.hint for message in found().values())
    assert not any(secret in str(found()) for secret in values.get("WEBHOOK_SECRETS", ()))


def test_a_metrics_library_that_is_not_installed_is_a_warning(
    settings: SettingsWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OAUTH_FLOWS["METRICS"] = ["prometheus"]
    assert ids() == set()
    monkeypatch.setattr("sys.meta_path", [])  # nothing can be found
    monkeypatch.delitem(sys.modules, "prometheus_client", raising=False)
    assert ids() == {"oauth_flows.W020"}
