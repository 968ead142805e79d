"""Picking the next batch costs the same however many connections there are, as PostgreSQL's own plan and counts say."""

from __future__ import annotations

import json
import os
import re
import tracemalloc
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection as database
from django.db import transaction
from django.test.utils import CaptureQueriesContext

from django_oauth_flows import flows
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import Connection, Token
from django_oauth_flows.testing.factories import make_connection, make_provider, shift_expiry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User
    from django.db.models import Model

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(database.vendor != "postgresql", reason="the plan is PostgreSQL's"),
]

FEW, MANY = 1000, int(os.environ.get("FLEET_ROWS", "100000"))
"""``.ci/long`` takes a million."""


class Enough(Exception):
    """Ends a sweep that has shown what it does."""


@pytest.fixture
def template(provider: Provider, user: User, fake: FakeProvider) -> Iterator[Connection]:
    """Return a connection to copy; nobody has to look at the copies after the test."""
    made = make_connection(provider, user, fake)
    shift_expiry(made, timedelta(seconds=-1))
    yield made
    with database.cursor() as cursor:
        cursor.execute("TRUNCATE oauth_flows_connection CASCADE")


def multiply(template: Connection, count: int) -> None:
    """Copy a connection and its token so many times, every other one due later; no copy's token opens."""
    connections = columns(Connection, id="gen_random_uuid()", subject="gen_random_uuid()")
    tokens = columns(
        Token, id="gen_random_uuid()", connection_id="c.id",
        next_refresh_at="t.next_refresh_at + (row_number() OVER () %% 2) * interval '2 hours'",
    )  # fmt: skip
    with database.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO oauth_flows_connection ({', '.join(connections)}) SELECT {', '.join(connections.values())} "  # noqa: S608 - names and expressions of our own
            "FROM oauth_flows_connection t CROSS JOIN generate_series(1, %s) WHERE t.id = %s",
            [count, template.pk],
        )
        cursor.execute(
            f"INSERT INTO oauth_flows_token ({', '.join(tokens)}) SELECT {', '.join(tokens.values())} "  # noqa: S608 - names and expressions of our own
            "FROM oauth_flows_token t CROSS JOIN oauth_flows_connection c WHERE t.connection_id = %s "
            "AND NOT EXISTS (SELECT 1 FROM oauth_flows_token o WHERE o.connection_id = c.id)",
            [template.pk],
        )
        cursor.execute("ANALYZE oauth_flows_token, oauth_flows_connection")


def columns(model: type[Model], **changed: str) -> dict[str, str]:
    """Return what each column of a copy is."""
    return {str(f.column): changed.get(str(f.column), f't."{f.column}"') for f in model._meta.concrete_fields}


def sweep(*, steps: int) -> list[str]:
    """Sweep until so many have been dealt with; return the SELECTs by which they were picked."""
    done: list[int] = []

    def stop(_: int) -> None:
        done.append(1)
        if len(done) == steps:
            raise Enough

    with CaptureQueriesContext(database) as captured, pytest.raises(Enough):
        flows.refresh_due(advance=stop)
    return [query["sql"] for query in captured if "FOR UPDATE" in query["sql"]]


def rows_read(sql: str) -> tuple[int, str]:
    """Run a SELECT; return how many rows its scans have read, and the plan."""
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}")
        (found,) = cursor.fetchone()
        transaction.set_rollback(True)
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return sum(map(read_by, nodes(plan))), json.dumps(plan, indent=1)


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", ()) for node in nodes(part))]


def read_by(node: dict[str, Any]) -> int:
    if "Relation Name" not in node:
        return 0
    dropped = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return int((node["Actual Rows"] + dropped) * node["Actual Loops"])


@pytest.mark.security("F17")
def test_the_next_batch_and_memory_cost_the_same_among_many(template: Connection) -> None:
    cost = {}
    for count in (FEW, MANY):
        multiply(template, count - Connection.objects.count())
        sweep(steps=1)  # whatever is loaded at first use
        tracemalloc.start()
        try:
            picks = sweep(steps=40)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        read, plan = rows_read(re.sub(r"LIMIT \d+", "LIMIT 8", picks[-1]))
        assert "oauth_flows_token_due" in plan, plan
        cost[count] = read, peak, plan
    # Eight tokens with what belongs to each, and the few that were dealt with just before.
    assert max(cost[FEW][0], cost[MANY][0]) <= 150, cost[MANY][2]
    assert cost[MANY][1] <= cost[FEW][1] + 1_000_000


@pytest.mark.security("F17")
@pytest.mark.parametrize("why", ["another provider's", "nobody's any more"])
def test_what_cannot_be_picked_is_not_passed_over_again_and_again(
    why: str, template: Connection, user: User, fake: FakeProvider
) -> None:
    multiply(template, FEW)
    stuck = Token.objects.exclude(connection=template)
    stuck.update(next_refresh_at=DatabaseNow() - timedelta(hours=1))  # they come first
    if why == "another provider's":
        other = make_provider(fake, slug="other", paused=True)
        Connection.objects.exclude(pk=template.pk).update(provider=other)
        stuck.update(provider=other)
    else:
        away = type(user).objects.create(username="away", is_active=False)
        Connection.objects.exclude(pk=template.pk).update(user=away, owner_id=str(away.pk))
        flows.refresh_due(workers=1)  # looks at each, once, and finds the last one due
        assert set(stuck.values_list("last_failure", "attempt_count")) == {("owner_inactive", 0)}
        shift_expiry(template, timedelta(seconds=-1))
    with database.cursor() as cursor:
        cursor.execute("ANALYZE oauth_flows_token, oauth_flows_connection")
    with CaptureQueriesContext(database) as captured:
        (swept,) = flows.refresh_due(workers=1)
    assert swept.refreshed == 1
    (pick, *_) = [query["sql"] for query in captured if "FOR UPDATE" in query["sql"]]
    read, plan = rows_read(pick)
    assert read <= 20, plan
