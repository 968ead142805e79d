"""Refreshes are counted by provider, hour and outcome; whoever wants metrics gets them, and nobody pays for it."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.db import connection as database
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_oauth_flows import flows
from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows import counting
from django_oauth_flows.models import Connection, RefreshCount
from django_oauth_flows.testing import Answer, Delay
from django_oauth_flows.testing.factories import make_connection, make_provider, shift_expiry
from tests.surfaces.reading import text_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def refresh(connection: Connection, fake: FakeProvider, *answers: Any) -> None:
    """Ask the provider for a token, whatever comes of it."""
    fake.script("token", *answers)
    with suppress(OAuthFlowsError):
        flows.refresh(connection)


def counted() -> dict[tuple[str, str], int]:
    """Return how often which provider's refreshes had which outcome."""
    return {(row.provider.slug, row.outcome): row.count for row in RefreshCount.objects.select_related("provider")}


def test_every_attempt_is_counted_by_provider_and_outcome(
    connection: Connection, user: User, fake: FakeProvider
) -> None:
    other = make_connection(make_provider(fake, slug="other"), user, fake)
    refresh(connection, fake, Delay(0.3))
    refresh(connection, fake, Answer(503))
    refresh(connection, fake, Answer(401, {"error": "invalid_client"}))
    for made_up in ("one", "two"):  # of the provider's own words there may be any number
        refresh(connection, fake, Answer(400, {"error": made_up}))
    refresh(connection, fake, Answer(400, {"error": "invalid_grant"}))
    refresh(other, fake)
    refresh(other, fake)
    counting.flush()
    assert counted() == {
        ("fake", "refreshed"): 1,
        ("fake", "provider_unreachable"): 1,
        ("fake", "invalid_client"): 1,
        ("fake", "provider_error"): 2,
        ("fake", "needs_reauthorization"): 1,
        ("other", "refreshed"): 2,
    }
    row = RefreshCount.objects.get(provider=connection.provider, outcome="refreshed")
    assert 0.3 <= row.seconds < 10
    assert timedelta(0) <= timezone.now() - row.hour < timedelta(hours=2)
    assert (row.hour.minute, row.hour.second) == (0, 0)


def test_what_a_disconnect_has_overtaken_is_counted_as_that(connection: Connection, fake: FakeProvider) -> None:
    asked, go = threading.Event(), threading.Event()
    fake.script("token", Delay(until=go, reached=asked))

    def work() -> None:
        try:
            with pytest.raises(OAuthFlowsError):
                flows.refresh(connection)
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    assert asked.wait(10)
    flows.revoke(connection)
    go.set()
    thread.join(20)
    counting.flush()
    assert counted() == {("fake", "overtaken"): 1}


def test_serving_a_fresh_token_counts_and_writes_nothing(connection: Connection, browser: Client) -> None:
    flows.access_token(connection)
    browser.get("/oauth/")
    counting.flush()
    assert not RefreshCount.objects.exists()


def test_it_is_written_after_a_request_and_not_after_each(
    connection: Connection, browser: Client, fake: FakeProvider
) -> None:
    with CaptureQueriesContext(database) as queries:
        refresh(connection, fake)
    assert not any("refreshcount" in query["sql"] for query in queries), "not on the caller's way"
    browser.get("/accounts/login/")
    assert counted() == {("fake", "refreshed"): 1}
    refresh(connection, fake)
    browser.get("/accounts/login/")
    assert counted() == {("fake", "refreshed"): 1}
    counting.flush()
    assert counted() == {("fake", "refreshed"): 2}


@pytest.mark.skipif(database.vendor == "sqlite", reason="a refresh in a transaction needs a second writer")
def test_a_callers_rollback_loses_no_count(connection: Connection, fake: FakeProvider) -> None:
    with transaction.atomic():
        refresh(connection, fake)
        counting.flush()
        assert not RefreshCount.objects.exists()
        transaction.set_rollback(True)
    counting.flush()
    assert counted() == {("fake", "refreshed"): 1}


def test_a_sweep_writes_what_it_has_counted(connection: Connection, user: User, fake: FakeProvider) -> None:
    shift_expiry(connection, timedelta(seconds=-1))
    flows.refresh_due()
    assert counted() == {("fake", "refreshed"): 1}


@pytest.mark.skipif(database.vendor == "sqlite", reason="SQLite lets its one writer wait")
def test_processes_add_up(connection: Connection, fake: FakeProvider) -> None:
    key = counting.Key(connection.provider_id, timezone.now().replace(minute=0, second=0, microsecond=0), "refreshed")
    start = threading.Barrier(6)

    def write() -> None:
        counts = counting._Counts()
        counts.note(key, 2, 0.5)
        try:
            start.wait(10)
            for taken, (count, seconds) in counts.take().items():
                counting._add(taken, count, seconds)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    row = RefreshCount.objects.get()
    assert (row.count, row.seconds) == (12, 3.0)


def test_the_counts_of_a_provider_go_with_it(connection: Connection, provider: Provider, fake: FakeProvider) -> None:
    refresh(connection, fake)
    flows.revoke(connection)
    provider.revocations.all().delete()
    connection.delete()
    provider.revocations.all().delete()
    provider.delete()
    counting.flush()
    counting.flush()
    assert not RefreshCount.objects.exists()


@pytest.mark.security("L08")
def test_old_counts_go(provider: Provider) -> None:
    for days in (1, 366):
        hour = timezone.now() - timedelta(days=days)
        RefreshCount.objects.create(provider=provider, hour=hour, outcome="refreshed", count=1)
    call_command("prune_oauth_flows")
    assert RefreshCount.objects.filter(hour__gt=DatabaseNow() - timedelta(days=2)).count() == 1
    assert RefreshCount.objects.count() == 1


@pytest.mark.security("M01")
def test_staff_see_what_became_of_a_days_refreshes(
    connection: Connection, provider: Provider, fake: FakeProvider, make_user: Any, client_for: Any
) -> None:
    refresh(connection, fake)
    refresh(connection, fake)
    refresh(connection, fake, Answer(503))
    counting.flush()
    hour = timezone.now() - timedelta(hours=30)
    RefreshCount.objects.create(provider=provider, hour=hour, outcome="rate_limited", count=9)
    boss = client_for(make_user("boss", is_staff=True, is_superuser=True))
    page = text_of(boss.get(f"/admin/oauth_flows/provider/{provider.pk}/change/"))
    assert "refreshed: 2, provider_unreachable: 1" in page
    assert "rate_limited" not in page
    assert boss.get("/admin/oauth_flows/provider/add/").status_code == 200
