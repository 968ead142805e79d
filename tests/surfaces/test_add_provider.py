"""``add_provider``: a service from the catalogue, without its secret on the command line."""

from __future__ import annotations

import dataclasses
import io
import sys
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from django_oauth_flows import catalogue
from django_oauth_flows.models import Provider
from django_oauth_flows.protocol.client_auth import WITH_CERTIFICATE

if TYPE_CHECKING:
    from pathlib import Path

    from django_oauth_flows.catalogue import Preset

pytestmark = pytest.mark.django_db


@pytest.fixture
def secret_file(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text("canary_from_file\n")
    return str(path)


def run(*arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("add_provider", *arguments, stdout=out, stderr=out, **options)
    return out.getvalue()


def test_a_service_is_added_with_what_the_catalogue_knows(secret_file: str) -> None:
    said = run("github", "--client-id", "abc", "--client-secret-file", secret_file)
    provider = Provider.objects.get(slug="github")
    assert provider.token_endpoint == "https://github.com/login/oauth/access_token"
    assert (provider.preset, provider.client_id) == ("github", "abc")
    assert provider.preset_version
    secret = provider.open("client_secret")
    assert secret is not None
    assert secret.reveal() == "canary_from_file"
    assert "/callback/github/" in said
    assert "canary" not in said


@pytest.mark.security("L01")
def test_the_secret_is_no_argument() -> None:
    with pytest.raises((CommandError, SystemExit, TypeError)):
        run("github", "--client-id", "abc", "--client-secret", "canary_on_argv")
    assert not Provider.objects.exists()


def test_the_secret_may_come_from_the_environment_and_from_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_SECRET", "canary_from_environment")
    run("github", "--client-id", "abc", "--client-secret-env", "THE_SECRET", "--slug", "one", "--name", "One")
    monkeypatch.setattr(sys, "stdin", io.StringIO("canary_from_stdin"))
    run("github", "--client-id", "abc", "--client-secret-file", "-", "--slug", "two", "--scopes", "repo gist")
    one, two = Provider.objects.order_by("slug")
    assert [row.open("client_secret").reveal() for row in (one, two)] == [  # type: ignore[union-attr]
        "canary_from_environment",
        "canary_from_stdin",
    ]
    assert (one.name, two.scopes) == ("One", ("repo", "gist"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "Name an entry"),
        (("github",), "Name an entry"),
        (("githup", "--client-id", "x"), "no entry 'githup'"),
        (("github", "--client-id", "x"), "Without a terminal"),
        (("github", "--client-id", "x", "--client-secret-file", "/nowhere/at/all"), "cannot be read"),
        (("github", "--client-id", "x", "--client-secret-env", "NO_SUCH_VARIABLE"), "is empty"),
        (("gitea", "--client-id", "x", "--no-client-secret"), "--parameter host="),
        (("shopify", "--client-id", "x", "--parameter", "shop"), "write NAME=VALUE"),
        (("shopify", "--client-id", "x", "--parameter", "colour=red"), "no parameter 'colour'"),
        (("zoho", "--client-id", "x", "--parameter", "extension=evil.example"), "one of com, eu"),
        (("gitea", "--client-id", "x", "--parameter", "host=a/b", "--no-client-secret"), "cannot be added"),
    ],
)
def test_what_is_missing_or_wrong_is_said(
    arguments: tuple[str, ...], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(CommandError) as refused:
        run(*arguments)
    assert problem in str(refused.value)
    assert not Provider.objects.exists()


def test_a_word_that_is_nearly_right_is_answered_with_what_there_is() -> None:
    with pytest.raises(CommandError, match="Did you mean: gitlab"):
        run("gitla", "--client-id", "x")


def test_what_users_have_to_fill_in_is_said() -> None:
    assert "Users fill in shop: Shopify Domain" in run("shopify", "--client-id", "x", "--no-client-secret")
    assert Provider.objects.get().token_endpoint_auth_method == "none"


KEYED = [
    preset
    for preset in catalogue.presets()
    if preset.token_endpoint_auth_method in ("private_key_jwt", *WITH_CERTIFICATE)
]


@pytest.mark.parametrize("preset", KEYED, ids=[preset.slug for preset in KEYED])
def test_a_client_that_has_a_key_or_certificate_for_a_secret_keeps_its_way(preset: Preset) -> None:
    known = map(preset.parameter, preset.staff_parameters())
    parameters = [f"--parameter={one.name}={next(iter(one.values), one.example or 'x1')}" for one in known]
    run(preset.slug, "--client-id", "x", "--no-client-secret", *parameters)
    assert Provider.objects.get().token_endpoint_auth_method == preset.token_endpoint_auth_method


@pytest.mark.parametrize(("method", "then"), [("tls_client_auth", "tls_client_auth"), ("client_secret_jwt", "none")])
def test_a_client_without_the_secret_that_its_way_takes_is_public(
    method: str, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = dataclasses.replace(
        catalogue.find("github"), issuer="https://github.com", token_endpoint_auth_method=method
    )
    monkeypatch.setattr(catalogue, "find", lambda _slug: preset)
    run("github", "--client-id", "x", "--no-client-secret")
    assert Provider.objects.get().token_endpoint_auth_method == then


def test_the_parameters_of_staff_are_filled_in() -> None:
    run("gitea", "--client-id", "x", "--no-client-secret", "--parameter", "host=git.example.com")
    assert Provider.objects.get().parameters == {"host": "git.example.com"}


def test_search_and_list_show_entries_and_add_none() -> None:
    assert run("--search", "google drive").startswith("google-drive ")
    assert len(run("--list").splitlines()) > 700
    assert not Provider.objects.exists()


def test_a_difference_to_the_catalogue_is_shown_and_changes_nothing() -> None:
    run("github", "--client-id", "x", "--no-client-secret")
    Provider.objects.update(token_endpoint="https://github.com/old", scopes="mine", preset_version=20200101)
    said = run("github", "--diff")
    assert "github: 2 differences to github" in said  # the public client is the other
    assert '- "https://github.com/old"\n    + "https://github.com/login/oauth/access_token"' in said
    row = Provider.objects.get()
    assert (row.token_endpoint, row.preset_version) == ("https://github.com/old", 20200101)


def test_an_entry_that_has_left_the_catalogue_is_said_and_the_others_are_shown() -> None:
    run("github", "--client-id", "x", "--no-client-secret")
    run("gitlab", "--client-id", "x", "--no-client-secret")
    Provider.objects.filter(slug="github").update(preset="gone-service")
    said = run("--diff")
    assert "no entry 'gone-service'" in said
    assert "gitlab: 1 differences" in said


def test_only_a_provider_from_the_catalogue_has_differences() -> None:
    with pytest.raises(CommandError, match="no provider 'github'"):
        run("github", "--diff")
    assert Provider(slug="own").preset_changes() == []


def test_whoever_sits_at_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """``getpass`` reads from a terminal, which a test has none of: what it would read is put in its place."""
    import getpass

    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr(getpass, "getpass", lambda _: "canary_typed")
    run("github", "--client-id", "x")
    secret = Provider.objects.get().open("client_secret")
    assert secret is not None
    assert secret.reveal() == "canary_typed"
