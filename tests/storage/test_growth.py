"""A table that is flooded stays fast: nothing that a dance asks reads it from end to end, and pruning empties it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.management import call_command
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_oauth_flows.flows.holding import IS_PRESENT
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider
from django_oauth_flows.testing.factories import walk

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

pytestmark = pytest.mark.django_db(transaction=True)

ABANDONED = 6_000


def flood(provider: Provider, user: User) -> None:
    """Leave behind many starts that nobody finished, most of them of two days ago."""
    now = timezone.now()
    AuthorizationRequest.objects.bulk_create(
        [
            AuthorizationRequest(
                provider=provider, user=user, state_hash=f"{number:064x}", browser_hash="b" * 64,
                expires_at=now - timedelta(days=2, minutes=number % 60),
            )
            for number in range(ABANDONED)
        ],
        batch_size=1000,
    )  # fmt: skip


@pytest.mark.security("V03")
@pytest.mark.skipif(database.vendor != "postgresql", reason="its planner tells what it would read")
def test_a_dance_reads_no_table_from_end_to_end(provider: Provider, user: User, browser: Client) -> None:
    flood(provider, user)
    with database.cursor() as cursor:
        cursor.execute("ANALYZE oauth_flows_authorizationrequest")
    with CaptureQueriesContext(database) as captured:
        assert walk(browser, provider).status_code == 303
    asked = [q["sql"] for q in captured if "oauth_flows_authorizationrequest" in q["sql"]]
    assert asked
    for sql in asked:
        with database.cursor() as cursor:
            cursor.execute(f"EXPLAIN {sql}".replace("%", "%%"), [])
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "Seq Scan on oauth_flows_authorizationrequest" not in plan, f"{sql}\n{plan}"


@pytest.mark.skipif(database.vendor != "postgresql", reason="it tells which pages it has read")
def test_who_has_an_account_is_found_in_a_few_pages_before_there_are_statistics(provider: Provider, user: User) -> None:
    connections = [
        Connection(
            provider=provider, user=user, owner_model="auth.user", owner_id=str(user.pk), subject=f"account {number}"
        )
        for number in range(ABANDONED)
    ]
    Connection.objects.bulk_create(connections, batch_size=1000)
    asked = IS_PRESENT.bound(using="default", provider_id=provider.pk, subject="nobody", parameters_digest="")
    with database.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS) {asked.sql}", asked.params)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    pages = re.search(r"Buffers: shared (?:hit=(\d+))? ?(?:read=(\d+))?", plan)
    assert pages is not None, plan
    assert sum(int(count or 0) for count in pages.groups()) < 8, plan


@pytest.mark.security("V03", "L08")
def test_what_was_abandoned_is_pruned(provider: Provider, user: User) -> None:
    flood(provider, user)
    call_command("prune_oauth_flows", verbosity=0)
    assert not AuthorizationRequest.objects.exists()
