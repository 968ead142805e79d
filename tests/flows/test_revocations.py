"""Revocations wait for what is in their way to pass, and nobody pays for somebody else's."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from django_oauth_flows import flows
from django_oauth_flows.crypto import generate_key
from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider, Revocation
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import (
    answer,
    begin,
    make_connection,
    make_provider,
    shift_expiry,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def later(**columns: Any) -> None:
    """Let the time come for every pending revocation."""
    Revocation.objects.filter(outcome="pending").update(
        **{"next_attempt_at": DatabaseNow() - timedelta(seconds=1), **columns}
    )


@pytest.fixture
def two_keys(settings: Any) -> Callable[[bool], None]:
    """Return a switch: whether the deployment has the key that sealed everything so far."""
    good = {**settings.OAUTH_FLOWS, "ENCRYPTION_KEYS": [generate_key(), "SECRET_KEY"]}

    def switch(present: bool) -> None:
        settings.OAUTH_FLOWS = good if present else {**good, "ENCRYPTION_KEYS": ["SECRET_KEY"]}

    switch(present=True)
    return switch


@pytest.mark.security("D03", "S02")
@pytest.mark.parametrize("how", ["disconnect", "deletion"])
@pytest.mark.parametrize("protocol", ["oauth2", "oauth1"])
def test_a_key_that_is_missing_for_one_deploy_delays_the_revocation(
    protocol: str, how: str, two_keys: Any, user: User, fake: FakeProvider, settings: Any
) -> None:
    provider = make_provider(fake, protocol=protocol)
    connection = make_connection(provider, user, fake)
    two_keys(False)
    provider.seal("client_secret", Secret(getattr(fake, protocol).client_secret))
    provider.save()
    if how == "disconnect":
        assert flows.revoke(connection) == "pending"
    else:
        user.delete()
    row = Revocation.objects.get()
    assert (row.last_failure, row.attempts, row.access_token is None) == ("decrypt_failed", 1, False)
    assert fake.count("revoke") + fake.count("revoke1") == 0
    two_keys(True)
    later()
    assert flows.work_off_revocations() == 1
    assert Revocation.objects.get().outcome == "revoked"
    assert fake.count("revoke") + fake.count("revoke1") >= 1


@pytest.mark.security("D03", "S02")
def test_a_key_that_never_comes_back_ends_the_waiting(two_keys: Any, user: User, fake: FakeProvider) -> None:
    connection = make_connection(make_provider(fake), user, fake)
    two_keys(False)
    flows.revoke(connection)
    for _ in range(12):
        later()
        flows.work_off_revocations()
    row = Revocation.objects.get()
    assert (row.outcome, row.attempts, row.access_token, row.refresh_token) == ("failed", 12, None, None)


@pytest.mark.security("D03")
def test_a_typo_in_the_providers_row_delays_the_revocation(user: User, fake: FakeProvider) -> None:
    provider = make_provider(fake)
    connection = make_connection(provider, user, fake)
    Provider.objects.update(token_endpoint=provider.token_endpoint + "x")
    assert flows.revoke(connection) == "pending"
    assert not fake.requests
    provider.save()
    later()
    assert flows.work_off_revocations() == 1
    assert not fake.oauth2.grants[0].alive


@pytest.mark.security("B27", "S02")
def test_a_parked_grant_whose_key_is_missing_is_given_back_when_it_is_there_again(
    two_keys: Any, user: User, fake: FakeProvider, browser: Client, make_user: Callable[..., User]
) -> None:
    provider = make_provider(fake, revocation_effect="token")
    make_connection(provider, make_user("bob"), fake)
    page = walk(browser, provider)["Location"]
    two_keys(False)
    assert browser.post(page, {"action": "drop"}).status_code == 303
    assert flows.drop_expired_parked() == 0
    two_keys(True)
    assert browser.post(page, {"action": "adopt"}).status_code == 400  # no was no
    assert flows.drop_expired_parked() == 1
    assert not fake.oauth2.grants[-1].alive
    assert AuthorizationRequest.objects.get().parked_grant is None


@pytest.mark.security("D07")
def test_a_late_revocation_does_not_end_what_was_connected_meanwhile(
    provider: Provider, user: User, fake: FakeProvider, browser: Client
) -> None:
    fake.oauth2.revocation_ends_grant = True
    fake.script("revoke", Answer(500))
    flows.revoke(make_connection(provider, user, fake))
    walk(browser, provider)
    later()
    assert flows.work_off_revocations() == 1
    assert Revocation.objects.get(reason="disconnected").outcome == "not_revoked_shared"
    assert fake.count("revoke") == 1
    assert flows.access_token(user.oauth_connections.get())


@pytest.mark.security("D03")
@pytest.mark.parametrize("column", ["placeholder", "dialect"])
def test_one_provider_row_that_makes_no_sense_does_not_stop_the_others(
    column: str, provider: Provider, user: User, fake: FakeProvider
) -> None:
    other = make_provider(fake, slug="other")
    for row in (provider, other):
        fake.script("revoke", Answer(500))
        flows.revoke(make_connection(row, user, fake))
    broken: dict[str, Any] = {
        "placeholder": {"token_endpoint": f"{fake.url}/{{tenant}}/token"},
        "dialect": {"dialect": ["x"]},
    }
    Provider.objects.filter(pk=provider.pk).update(**broken[column])
    later()
    call_command("prune_oauth_flows")
    assert Revocation.objects.get(provider=other).outcome == "revoked"
    assert Revocation.objects.get(provider=provider).outcome == "pending"


@pytest.mark.security("B24")
def test_a_placeholder_without_a_value_is_a_state_of_the_provider_and_no_crash(
    provider: Provider, connection: Connection, user: User, fake: FakeProvider, browser: Client
) -> None:
    shift_expiry(connection, timedelta(seconds=-1))
    callback = begin(browser, provider)
    provider.token_endpoint = f"{fake.url}/{{tenant}}/token"
    provider.save()
    refused = answer(browser, callback)
    assert (refused.status_code, b"provider_changed" in refused.content) == (400, True)
    calls: list[Callable[[], Any]] = [
        lambda: flows.access_token(connection),
        lambda: flows.import_connection(provider, user, access_token="abc"),
        lambda: flows.client_session(provider),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError) as caught:
            call()
        assert caught.value.code == "provider_misconfigured"
    assert fake.count("token") == 0


def fill(first: Connection, count: int, *, strangers: bool) -> None:
    """Put many connections beside ``first``: its owner's, or those of others at a provider that names no account."""
    rows = [
        Connection(
            provider=first.provider,
            owner_model=first.owner_model,
            owner_id=f"stranger {number}" if strangers else first.owner_id,
            subject=None if strangers else f"s{number}",
            grant_type="imported",
        )
        for number in range(count)
    ]
    Connection.objects.bulk_create(rows, batch_size=500)


def test_who_shares_a_grant_is_found_without_reading_what_others_have(provider: Provider, user: User) -> None:
    mine = flows.import_connection(provider, user, access_token="abc")
    twin = flows.import_connection(provider, user, access_token="def")
    fill(mine, 50, strangers=True)
    with CaptureQueriesContext(database) as captured:
        assert flows.shares_grant([mine]) == {mine.pk}
    (query,) = captured.captured_queries
    with database.cursor() as cursor:
        cursor.execute(query["sql"])
        assert len(cursor.fetchall()) == 2
    flows.revoke(twin)
    assert flows.shares_grant([mine]) == set()


def test_the_cost_of_sharing_grows_with_the_number_of_connections_and_not_with_its_square(
    provider: Provider, user: User
) -> None:
    import time

    def cost() -> float:
        rows = list(Connection.objects.select_related("provider"))
        started = time.process_time()
        assert flows.shares_grant(rows) == set()
        return time.process_time() - started

    first = flows.import_connection(provider, user, access_token="abc", subject="account-1")
    fill(first, 3000, strangers=False)
    assert cost() < 1.0
