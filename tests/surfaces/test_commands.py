"""The commands: keys rotate online, and what is no longer needed goes."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command, load_command_class
from django.core.management.base import CommandError
from django.db import connection as database
from django.db import connections
from django.utils import timezone

from django_oauth_flows import crypto, flows
from django_oauth_flows.exceptions import ReauthorizationRequiredError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.management.reencrypting import SEALED
from django_oauth_flows.models import (
    AuthorizationRequest,
    Connection,
    ConnectionEvent,
    Provider,
    RegisteredClient,
    Revocation,
    Token,
)
from django_oauth_flows.protocol.messages import Identity
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import begin, make_connection, make_provider, shift_expiry, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db

OLD, NEW, LOST = (crypto.generate_key() for _ in range(3))


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def run(name: str, *options: str, stderr: io.StringIO | None = None) -> str:
    """Run a command that must succeed; return what it said."""
    stdout = io.StringIO()
    call_command(name, *options, stdout=stdout, stderr=stderr or io.StringIO())
    return stdout.getvalue()


def run_unfinished(name: str, *options: str) -> tuple[str, str]:
    """Run a command that must exit with 1; return what it said on stdout and stderr."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError) as failure:
        call_command(name, *options, stdout=stdout, stderr=stderr)
    assert failure.value.returncode == 1
    return stdout.getvalue(), stderr.getvalue()


@pytest.fixture
def keys(settings: SettingsWrapper) -> Callable[..., None]:
    """Return a function that configures encryption keys."""

    def configure(*values: str) -> None:
        settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "ENCRYPTION_KEYS": list(values)}

    configure(OLD)
    return configure


def sealed_with() -> set[str]:
    """Return the ids of the keys that are in use in any table."""
    used = set()
    for model in SEALED:
        for name in model.sealed_fields():
            values = model._default_manager.filter(**{f"{name}__isnull": False}).values_list(name, flat=True)
            used |= {crypto.key_id_of(value.value) for value in values}
    return used


@pytest.fixture
def rows_of_every_kind(
    keys: Callable[..., None], browser: Client, provider: Provider, user: User, fake: FakeProvider
) -> Connection:
    """Store a secret in every model that can hold one."""
    provider.seal("second_client_secret", Secret("second"))
    provider.save()
    registered = RegisteredClient(provider=provider, registered_at=timezone.now())
    registered.seal("registration_access_token", Secret("registration"))
    registered.save()
    begin(browser, provider)
    leaving = make_connection(provider, user, fake, subject="leaving")
    fake.script("revoke", Answer(503), Answer(503))
    flows.revoke(leaving)
    staying = make_connection(provider, user, fake, subject="staying")
    assert all(any(m._default_manager.exclude(**{f"{n}__isnull": True}) for n in m.sealed_fields()) for m in SEALED)
    return staying


# Rotating keys


@pytest.mark.security("S04")
def test_every_secret_of_every_model_is_sealed_with_the_new_key(
    rows_of_every_kind: Connection, keys: Callable[..., None]
) -> None:
    secret = rows_of_every_kind.token.open("refresh_token")
    old_id = crypto.current_key_id()
    assert sealed_with() == {old_id}
    keys(NEW, OLD)
    said = run("reencrypt_secrets")
    assert "tokens: 1 re-encrypted, 0 up to date" in said
    assert "older keys may be removed" in said
    assert sealed_with() == {crypto.current_key_id()}
    keys(NEW)
    assert Token.objects.get().open("refresh_token") == secret
    assert Provider.objects.get().open("second_client_secret") == Secret("second")


@pytest.mark.security("S04")
def test_running_it_again_writes_nothing(rows_of_every_kind: Connection, keys: Callable[..., None]) -> None:
    keys(NEW, OLD)
    run("reencrypt_secrets")
    before = list(Token.objects.values_list("pk", "generation")), sealed_values()
    said = run("reencrypt_secrets")
    assert "tokens: 0 re-encrypted, 1 up to date" in said
    assert (list(Token.objects.values_list("pk", "generation")), sealed_values()) == before


def sealed_values() -> list[str]:
    return [token.access_token.value for token in Token.objects.all() if token.access_token]


@pytest.mark.security("S04")
def test_a_dry_run_counts_and_writes_nothing(rows_of_every_kind: Connection, keys: Callable[..., None]) -> None:
    keys(NEW, OLD)
    before = sealed_values()
    said, _ = run_unfinished("reencrypt_secrets", "--dry-run")
    assert "tokens: 1 to re-encrypt, 0 up to date" in said
    assert sealed_values() == before


@pytest.mark.security("S04")
def test_batches_of_one_meet_every_row(
    provider: Provider, user: User, fake: FakeProvider, keys: Callable[..., None]
) -> None:
    for number in range(7):
        make_connection(provider, user, fake, subject=str(number))
    keys(NEW, OLD, "SECRET_KEY")
    assert "tokens: 7 re-encrypted" in run("reencrypt_secrets", "--batch-size", "1")
    with pytest.raises(CommandError):
        run("reencrypt_secrets", "--batch-size", "0")


def test_a_site_moves_from_its_secret_key_to_a_key_of_its_own(
    settings: SettingsWrapper, connection: Connection, keys: Callable[..., None]
) -> None:
    settings.OAUTH_FLOWS = {"BASE_URL": "http://testserver"}
    Token.objects.all().delete()
    Provider.objects.update(client_secret=None)
    token = Token(id=uuid.uuid4(), connection=connection, provider=connection.provider)
    token.seal("access_token", Secret("kept"))
    token.save(force_insert=True)
    keys(NEW, "SECRET_KEY")
    assert Token.objects.get().open("access_token") == Secret("kept")
    run("reencrypt_secrets")
    keys(NEW)
    assert Token.objects.get().open("access_token") == Secret("kept")


@pytest.mark.security("S05")
def test_tokens_survive_a_new_secret_key(
    settings: SettingsWrapper, keys: Callable[..., None], connection: Connection
) -> None:
    secret = connection.token.open("access_token")
    settings.SECRET_KEY = "another-" + "x" * 50
    assert Token.objects.get().open("access_token") == secret


@pytest.mark.security("S04")
def test_a_token_under_lease_is_left_alone_and_named(keys: Callable[..., None], connection: Connection) -> None:
    lease = {"lease_owner": uuid.uuid4(), "lease_expires_at": DatabaseNow() + timedelta(minutes=1)}
    Token.objects.update(**lease)
    before = sealed_values()
    keys(NEW, OLD, "SECRET_KEY")
    said, _ = run_unfinished("reencrypt_secrets")
    assert "1 skipped because they were being changed" in said
    assert sealed_values() == before
    Token.objects.update(lease_expires_at=DatabaseNow() - timedelta(seconds=1))
    assert "tokens: 1 re-encrypted" in run("reencrypt_secrets")


@pytest.mark.security("S04")
def test_a_row_that_changes_after_it_was_read_is_not_overwritten(
    keys: Callable[..., None], connection: Connection
) -> None:
    """A writer that bumps the generation, and one that does not: both must win."""
    from django_oauth_flows.management import reencrypting

    keys(NEW, OLD, "SECRET_KEY")
    for bump in (1, 0):
        stale = reencrypting._holding(Token).get()
        token = Token.objects.get()
        newer = token.seal("access_token", Secret(f"newer-{bump}"))
        Token.objects.update(access_token=newer, generation=token.generation + bump)
        tally = reencrypting.Tally()
        reencrypting._reencrypt_row(stale, tally, current="another", dry_run=False, mark_lost=False)
        assert (tally.busy, tally.resealed) == (1, 0)
        assert Token.objects.get().open("access_token") == Secret(f"newer-{bump}")


@pytest.mark.security("S03", "S04")
def test_rows_that_no_key_opens_are_counted_and_named_and_the_rest_is_done(
    keys: Callable[..., None], provider: Provider, user: User, fake: FakeProvider
) -> None:
    keys(LOST)
    lost = make_connection(provider, user, fake, subject="lost")
    keys(OLD, "SECRET_KEY")
    make_connection(provider, user, fake, subject="kept")
    keys(NEW, OLD, "SECRET_KEY")
    said, errors = run_unfinished("reencrypt_secrets")
    assert "tokens: 1 re-encrypted, 0 up to date, 1 undecryptable" in said
    assert f"oauth_flows.Token {lost.token.pk}" in errors
    assert lost.token.access_token.value not in said + errors
    lost.refresh_from_db()
    assert lost.status == "active", "nothing is marked unless asked for"

    said, _ = run("reencrypt_secrets", "--mark-undecryptable"), None
    assert "(1 of them ask their users to reconnect)" in said
    lost.refresh_from_db()
    assert (lost.status, lost.reason) == ("reauthorization_required", "undecryptable")
    assert ConnectionEvent.objects.filter(connection=lost, kind="needs_reauthorization").count() == 1
    run("reencrypt_secrets")
    assert ConnectionEvent.objects.filter(connection=lost, kind="needs_reauthorization").count() == 1


@pytest.mark.security("S03")
def test_a_lost_key_is_a_state_of_the_connection_and_not_a_crash(
    keys: Callable[..., None], provider: Provider, user: User, fake: FakeProvider
) -> None:
    keys(LOST, OLD)
    connection = make_connection(provider, user, fake)
    keys(OLD)
    with pytest.raises(ReauthorizationRequiredError) as refused, flows.session(connection) as http:
        http.get("/echo")
    assert refused.value.reason == "undecryptable"


@pytest.mark.security("S04")
@pytest.mark.django_db(transaction=True)
def test_no_refresh_is_lost_while_the_keys_rotate(
    keys: Callable[..., None], provider: Provider, user: User, fake: FakeProvider, settings: SettingsWrapper
) -> None:
    """50 rotating refreshes at once with the command, which runs until nothing is left to do."""
    made = [make_connection(provider, user, fake, subject=str(number)) for number in range(50)]
    keys(NEW, OLD, "SECRET_KEY")
    failures: list[BaseException] = []

    def refresh(some: list[Connection]) -> None:
        try:
            for connection in some:
                flows.refresh(connection)
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)
        finally:
            connections.close_all()

    workers = [threading.Thread(target=refresh, args=(made[start::5],)) for start in range(5)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        try:
            run("reencrypt_secrets", "--batch-size", "7")
        except CommandError:
            time.sleep(0.01)
    run("reencrypt_secrets")
    assert failures == []
    assert fake.count("token") == 50
    keys(NEW)
    assert sealed_with() == {crypto.current_key_id()}
    for connection in made:
        with flows.session(connection) as http:
            assert http.get("/echo").status_code == 200
    shift_all_expired(made)
    with flows.session(made[0]) as http:
        assert http.get("/echo").status_code == 200, "the rotated refresh token was kept"
    assert fake.count("token") == 51


def shift_all_expired(made: list[Connection]) -> None:
    for connection in made:
        shift_expiry(connection, timedelta(seconds=-1))


ROTATION = """
import os, sys
import django
from django.conf import settings
django.setup()
settings.OAUTH_FLOWS = {"ENCRYPTION_KEYS": sys.argv[1:3] + ["SECRET_KEY"]}
settings.DATABASES["default"]["NAME"] = sys.argv[3]
from django.db import connections
connections["default"].settings_dict["NAME"] = sys.argv[3]
from django.core.management import call_command, load_command_class
call_command("reencrypt_secrets", "--batch-size", "3", skip_checks=True, verbosity=2)
"""


@pytest.mark.security("S04")
@pytest.mark.django_db(transaction=True)
def test_a_rotation_killed_midway_goes_on_where_it_was(
    keys: Callable[..., None], provider: Provider, user: User, fake: FakeProvider
) -> None:
    made = [make_connection(provider, user, fake, subject=str(number)) for number in range(200)]
    keys(NEW, OLD, "SECRET_KEY")
    command = [sys.executable, "-c", ROTATION, NEW, OLD, str(database.settings_dict["NAME"])]
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(command, cwd=root, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    new_id, deadline = crypto.current_key_id(), time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if resealed(new_id) >= 20:
            process.send_signal(signal.SIGKILL)
            break
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()[-2000:]
    done = resealed(new_id)
    assert 20 <= done < 200
    assert all(connection.token.open("access_token") for connection in Connection.objects.select_related("token"))
    assert f"tokens: {200 - done} re-encrypted, {done} up to date" in run("reencrypt_secrets")
    keys(NEW)
    assert all(c.token.open("refresh_token") for c in Connection.objects.filter(pk__in=[c.pk for c in made]))


def resealed(key_id: str) -> int:
    return sum(crypto.key_id_of(value) == key_id for value in sealed_values())


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(
    keys: Callable[..., None], provider: Provider, user: User, fake: FakeProvider
) -> None:
    for number in range(30):
        make_connection(provider, user, fake, subject=str(number))
    keys(NEW, OLD, "SECRET_KEY")
    terminal, plain, silent = Terminal(), io.StringIO(), io.StringIO()
    run("reencrypt_secrets", "--batch-size", "1", stderr=terminal)
    assert "\rtokens [##############################] 30/30" in terminal.getvalue()
    run("reencrypt_secrets", "--batch-size", "1", stderr=plain)
    lines = [line for line in plain.getvalue().splitlines() if line.startswith("tokens")]
    assert lines[0] == "tokens: 3 of 30"
    assert lines[-1] == "tokens: 30 of 30"
    assert len(lines) == 10
    assert "\r" not in plain.getvalue()
    run("reencrypt_secrets", "--verbosity", "0", stderr=silent)
    assert silent.getvalue() == ""


# Pruning


def make_request(user: User, provider: Provider, *, expired: timedelta, **columns: Any) -> AuthorizationRequest:
    request = AuthorizationRequest(
        id=uuid.uuid4(),
        state_hash=uuid.uuid4().hex,
        provider=provider,
        user=user,
        owner_model="auth.user",
        owner_id=str(user.pk),
        expires_at=DatabaseNow() - expired,
        configuration_fingerprint=provider.fingerprint(),
        **columns,
    )
    request.save(force_insert=True)
    return request


@pytest.mark.security("L08")
def test_requests_go_a_day_after_they_expired(provider: Provider, user: User) -> None:
    make_request(user, provider, expired=timedelta(hours=24, minutes=1))
    young = make_request(user, provider, expired=timedelta(hours=23, minutes=59))
    assert "authorization requests: 1 to remove" in run("prune_oauth_flows", "--dry-run")
    assert AuthorizationRequest.objects.count() == 2
    assert "authorization requests: 1 removed" in run("prune_oauth_flows")
    assert AuthorizationRequest.objects.get() == young
    assert "authorization requests: 0 removed" in run("prune_oauth_flows")


@pytest.mark.security("L08")
def test_events_and_finished_revocations_go_after_their_retention(
    connection: Connection, user: User, settings: SettingsWrapper, fake: FakeProvider
) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "EVENT_RETENTION_DAYS": 30}
    flows.revoke(connection)
    flows.work_off_revocations()
    fake.script("revoke", Answer(503), Answer(503))
    pending = make_connection(connection.provider, user, fake, subject="pending")
    flows.revoke(pending)
    events, revocations = ConnectionEvent.objects.count(), Revocation.objects.count()
    assert events >= 3
    assert "events: 0 removed" in run("prune_oauth_flows")
    ConnectionEvent.objects.update(created_at=DatabaseNow() - timedelta(days=31))
    Revocation.objects.exclude(finished_at=None).update(finished_at=DatabaseNow() - timedelta(days=31))
    Revocation.objects.update(next_attempt_at=DatabaseNow() + timedelta(hours=1))
    dry = run("prune_oauth_flows", "--dry-run")
    assert "finished revocations: 1 to remove" in dry
    assert "revocations: 1 still to do" in dry
    said = run("prune_oauth_flows", "--batch-size", "1")
    assert f"connection events: {ConnectionEvent.objects.count() + events} removed" in said
    assert "finished revocations: 1 removed" in said
    assert Revocation.objects.count() == revocations - 1
    assert Revocation.objects.get().outcome == "pending"


@pytest.mark.security("L08")
@pytest.mark.django_db(transaction=True)
def test_a_grant_nobody_answered_for_is_given_back(provider: Provider, user: User, fake: FakeProvider) -> None:
    from django_oauth_flows.flows.values import Grant

    Provider.objects.update(revocation_effect="token")
    access, refresh = fake.oauth2.issue()
    grant = Grant(access_token=Secret(access), refresh_token=Secret(refresh))
    parked = {}
    for name, until in (("late", timedelta(seconds=-1)), ("waiting", timedelta(minutes=5))):
        request = make_request(user, provider, expired=timedelta(0), outcome="parked", failure="different_account")
        sealed = request.seal("parked_grant", grant.to_parked(Identity("sub-2", "Bob")))
        rows = AuthorizationRequest.objects.filter(pk=request.pk)
        rows.update(parked_grant=sealed, parked_until=DatabaseNow() + until)
        parked[name] = rows
    assert "parked grants: 1 to give back" in run("prune_oauth_flows", "--dry-run")
    assert fake.count("revoke") == 0
    assert "parked grants: 1 given back" in run("prune_oauth_flows")
    assert fake.count("revoke") == 2
    assert parked["late"].get().parked_grant is None
    assert parked["waiting"].get().parked_grant is not None
    assert "parked grants: 0 given back" in run("prune_oauth_flows")


@pytest.mark.security("L08")
@pytest.mark.django_db(transaction=True)
def test_revocations_that_the_provider_missed_are_tried_again(connection: Connection, fake: FakeProvider) -> None:
    fake.script("revoke", Answer(503))
    assert flows.revoke(connection) == "pending"
    run("prune_oauth_flows")
    assert Revocation.objects.get().outcome == "pending", "not before its time"
    Revocation.objects.update(next_attempt_at=DatabaseNow() - timedelta(seconds=1))
    assert "revocations: 1 finished" in run("prune_oauth_flows")
    assert Revocation.objects.get().outcome == "revoked"


@pytest.mark.security("L08")
def test_pruning_takes_batches_and_any_number_of_them(provider: Provider, user: User) -> None:
    for _ in range(7):
        make_request(user, provider, expired=timedelta(days=3))
    assert "authorization requests: 7 removed" in run("prune_oauth_flows", "--batch-size", "2")
    assert not AuthorizationRequest.objects.exists()
    with pytest.raises(CommandError):
        run("prune_oauth_flows", "--batch-size", "0")


@pytest.mark.parametrize("command", ["reencrypt_secrets", "prune_oauth_flows"])
def test_a_command_explains_itself(command: str) -> None:
    text = load_command_class("django_oauth_flows", command).create_parser("manage.py", command).format_help()
    assert "--dry-run" in text
    if command == "reencrypt_secrets":
        assert '["<new>", "SECRET_KEY"]' in text


# Refreshing


def due_at(provider: Provider, user: User, fake: FakeProvider, count: int) -> None:
    for number in range(count):
        shift_expiry(make_connection(provider, user, fake, subject=f"account-{number}"), timedelta(seconds=-1))


def test_a_sweep_says_what_it_did_in_a_table(provider: Provider, user: User, fake: FakeProvider) -> None:
    assert run("refresh_connections", "--workers=1") == "Nothing is due.\n"
    due_at(provider, user, fake, 3)
    fake.oauth2.grants[0].alive = False
    assert run("refresh_connections", "--dry-run") == "3 due\n"
    assert fake.count("token") == 0
    assert [line.split() for line in run("refresh_connections", "--workers=1").splitlines()] == [
        ["provider", "refreshed", "need", "their", "user", "overtaken", "failed"],
        ["fake", "2", "1", "0", "0"],
    ]


def test_a_sweep_that_could_not_refresh_all_says_why_and_fails(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    due_at(provider, user, fake, 5)
    fake.script("token", *[Answer(503, "down")] * 3)
    stderr = io.StringIO()
    with pytest.raises(CommandError, match="keep their tokens") as failure:
        run("refresh_connections", "--workers=1", "--verbosity=0", stderr=stderr)
    assert failure.value.returncode == 1
    assert stderr.getvalue().splitlines() == [
        "fake: 3 failed: provider_unreachable",
        "fake: left alone after 3 failures in a row",
    ]


def test_a_sweep_takes_a_provider_and_a_time(provider: Provider, user: User, fake: FakeProvider) -> None:
    make_connection(provider, user, fake, expires_in=timedelta(hours=1))
    assert run("refresh_connections", "--dry-run", "--within=2h") == "1 due\n"
    assert run("refresh_connections", "--dry-run", "--within=30m", "--provider=fake") == "0 due\n"
    assert "fake" in run("refresh_connections", "--within=1d", "--provider=fake", "--workers=1")


def test_a_sweep_shows_how_far_it_is(provider: Provider, user: User, fake: FakeProvider) -> None:
    due_at(provider, user, fake, 2)
    terminal = Terminal()
    run("refresh_connections", "--workers=1", stderr=terminal)
    assert "connections [##############################] 2/2" in terminal.getvalue()


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--provider=nobody", "no provider 'nobody'"),
        ("--within=soon", "a number with a unit"),
        ("--within=1 h", "a number with a unit"),
        ("--within=-5m", "a number with a unit"),
        ("--within=9999999d", "a number with a unit"),
        ("--workers=0", "at least 1"),
        ("--rate=0", "more than 0"),
        ("--rate=nan", "more than 0"),
        ("--rate=inf", "more than 0"),
    ],
)
def test_a_sweep_refuses_what_makes_no_sense(option: str, says: str) -> None:
    with pytest.raises(CommandError, match=says):
        run("refresh_connections", option)


@pytest.mark.security("V04")
def test_a_sweep_keeps_a_pace(provider: Provider, user: User, fake: FakeProvider) -> None:
    due_at(provider, user, fake, 4)
    began = time.monotonic()
    run("refresh_connections", "--workers=1", "--rate=10")
    assert time.monotonic() - began >= 0.2  # the first two come together


# After a backup was brought back


def test_after_a_restore_no_sweep_presents_a_refresh_token(provider: Provider, user: User, fake: FakeProvider) -> None:
    due_at(provider, user, fake, 3)
    assert run("refresh_connections", "--after-restore", "--dry-run").startswith("3 refresh tokens to leave")
    assert run("refresh_connections", "--dry-run") == "3 due\n"
    stderr = io.StringIO()
    said = run("refresh_connections", "--after-restore", "--provider=fake", stderr=stderr)
    assert said.startswith("3 refresh tokens are left to the calls that need them.")
    for advice in ("served while they are valid", "outcome_unknown", "clone", "pause every provider"):
        assert advice in said
    assert "connections: 3 of 3" in stderr.getvalue()
    assert run("refresh_connections", "--dry-run") == "0 due\n"
    assert fake.count("token") == 0


def test_after_a_restore_what_is_being_refreshed_is_named(connection: Connection) -> None:
    Token.objects.update(lease_owner=uuid.uuid4(), lease_expires_at=DatabaseNow() + timedelta(seconds=13))
    with pytest.raises(CommandError, match="1 are being refreshed just now") as failure:
        run("refresh_connections", "--after-restore")
    assert failure.value.returncode == 1


# After an incident


@pytest.mark.security("D09")
def test_an_incident_ends_everything_at_one_provider(
    user: User, make_user: Callable[..., User], client_for: Callable[[User], Client], fake: FakeProvider
) -> None:
    provider = make_provider(fake, revocation_effect="grant")
    other = make_connection(make_provider(fake, slug="other"), user, fake, subject="elsewhere")
    for owner in (user, make_user("bob")):  # the same account: the last one to go ends the grant
        make_connection(provider, owner, fake)
    walk(client_for(make_user("carl")), provider)  # it waits for a yes
    said = "2 connections to end, 1 grants that wait for a yes, 0 revocations\n"
    assert run("revoke_connections", "--provider=fake", "--dry-run") == said
    assert Provider.objects.filter(paused=True).count() == 0
    lines = run("revoke_connections", "--provider=fake", "--no-input", "--rate=1000").splitlines()
    assert lines[0] == "Fake is paused: none of its tokens is served any more."
    assert lines[-1] == "Nothing is left."
    assert set(Connection.objects.filter(provider=provider).values_list("status", flat=True)) == {"revoked"}
    assert not AuthorizationRequest.objects.filter(outcome="parked").exists()
    assert Provider.objects.get(slug="fake").paused
    assert flows.access_token(other)


@pytest.mark.security("D09")
def test_an_incident_goes_on_where_it_was_stopped(user: User, fake: FakeProvider) -> None:
    provider = make_provider(fake, revocation_effect="token")
    for number in range(3):
        make_connection(provider, user, fake, subject=f"account-{number}")
    fake.script("revoke", *[Answer(503, "down")] * 3)
    options = ("--provider=fake", "--no-input", "--rate=1000", "--verbosity=0")
    with pytest.raises(CommandError, match="3 could not be revoked at the provider yet") as failure:
        run("revoke_connections", *options)
    assert failure.value.returncode == 1
    assert not Token.objects.exists()  # here it is over at once
    assert fake.count("revoke") == 3
    Revocation.objects.update(next_attempt_at=None)  # later
    assert run("revoke_connections", *options).splitlines()[-1] == "Nothing is left."
    assert not [grant for grant in fake.oauth2.grants if grant.alive]


@pytest.mark.parametrize(("typed", "ended"), [("fake", True), ("yes", False), ("", False)])
def test_an_incident_asks_first(
    typed: str, ended: bool, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: typed)
    if ended:
        run("revoke_connections", "--provider=fake")
    else:
        with pytest.raises(CommandError, match="Nothing was changed"):
            run("revoke_connections", "--provider=fake")
    assert Provider.objects.get().paused is ended
    assert Token.objects.exists() is not ended


def test_an_incident_changes_nothing_if_nobody_can_be_asked(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())  # as cron starts it
    with pytest.raises(CommandError, match="--no-input"):
        run("revoke_connections", "--provider=fake")
    assert Token.objects.exists()
    assert not Provider.objects.get().paused


@pytest.mark.security("D09")
def test_an_incident_spares_the_provider(provider: Provider, user: User, fake: FakeProvider) -> None:
    for number in range(3):
        make_connection(provider, user, fake, subject=f"account-{number}")
    began = time.monotonic()
    run("revoke_connections", "--provider=fake", "--no-input", "--rate=10")
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(
    "options", [("--provider=nobody",), ("--provider=fake", "--rate=0"), ("--provider=fake", "--rate=nan")]
)
def test_an_incident_refuses_what_makes_no_sense(options: tuple[str, ...], provider: Provider) -> None:
    with pytest.raises(CommandError, match=r"no provider 'nobody'|more than 0"):
        run("revoke_connections", "--no-input", *options)
    assert not Provider.objects.get().paused
