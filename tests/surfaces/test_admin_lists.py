"""The list of connections among many: constant queries, no table read from end to end, as PostgreSQL's own plan says.

``ADMIN_ROWS`` says how many there are; ``.ci/long`` takes a million.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from django_oauth_flows.admin.paginating import COUNTED
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.testing.factories import make_connection, make_provider
from tests.surfaces.reading import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(database.vendor != "postgresql", reason="the plan is PostgreSQL's"),
]

ROWS = int(os.environ.get("ADMIN_ROWS", "20000"))
GROWING = ("oauth_flows_connection", "oauth_flows_token", "oauth_flows_connectionevent", "oauth_flows_revocation")
LIST = "/admin/oauth_flows/connection/"

LACKING = "required_scopes=lacking"
QUERIES = (
    "",
    "p=3",
    "q=user-77",
    "q=Account 7",
    "q=nobody",
    "q=subject-42",
    "state=active",
    "state=paused",
    "state=reauthorization_required",
    "state=revoked",
    "state=paused&q=Account 1",
    "dying=0",
    "dying=7",
    "dying=30",
    "provider__id__exact={common}",
    "provider__id__exact={rare}",
    "provider__id__exact={rare}&state=revoked",
    "provider__id__exact={common}&state=reauthorization_required&dying=30",
    LACKING,
    f"{LACKING}&state=active&provider__id__exact={{common}}",
    "_facets=True",
    "o=5",  # an order that is not offered
)


@pytest.fixture
def many(provider: Provider, user: User, fake: FakeProvider) -> Iterator[tuple[Provider, Provider]]:
    """Return two providers, of which nearly all connections have the first; each user has two, few of which lack a scope."""
    Provider.objects.update(required_scopes=("write",))
    rare = make_provider(fake, slug="rare")
    make_connection(rare, user, fake, subject="the-only-one")
    template = make_connection(provider, user, fake, label="Template")
    _multiply(template, ROWS)
    yield provider, rare
    with database.cursor() as cursor:
        cursor.execute("TRUNCATE oauth_flows_connection, auth_user CASCADE")


def _multiply(template: Connection, count: int) -> None:
    users = (
        "INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name, last_name, email, date_joined) "
        "SELECT 'user-' || n, '!', false, false, true, '', '', '', now() FROM generate_series(1, %s) n"
    )
    kept = [str(f.column) for f in Connection._meta.concrete_fields]
    changed = {
        "id": "gen_random_uuid()", "subject": "'subject-' || n", "label": "'Account ' || n", "user_id": "u.id",
        "owner_id": "u.id::text", "created_at": "t.created_at - n * interval '1 second'",
        "status": "CASE WHEN n %% 97 = 0 THEN 'reauthorization_required' WHEN n %% 53 = 0 THEN 'revoked' ELSE 'active' END",
        "granted_scopes": "CASE WHEN n %% 1009 = 0 THEN ' read ' ELSE ' read write ' END",
        "reason": "CASE WHEN n %% 97 = 0 THEN 'expired' ELSE '' END",
    }  # fmt: skip
    tokens = [str(f.column) for f in Token._meta.concrete_fields]
    of_token = {"id": "gen_random_uuid()", "connection_id": "c.id"}
    with database.cursor() as cursor:
        cursor.execute(users, [count // 2])
        cursor.execute(
            f"INSERT INTO oauth_flows_connection ({', '.join(kept)}) "  # noqa: S608 - names and expressions of our own
            f"SELECT {', '.join(changed.get(name, f't.{name}') for name in kept)} FROM oauth_flows_connection t "
            "CROSS JOIN generate_series(1, %s) n JOIN auth_user u ON u.username = 'user-' || (n / 2 + 1) WHERE t.id = %s",
            [count - 2, template.pk],
        )
        cursor.execute(
            f"INSERT INTO oauth_flows_token ({', '.join(tokens)}) "  # noqa: S608 - names and expressions of our own
            f"SELECT {', '.join(of_token.get(name, f't.{name}') for name in tokens)} FROM oauth_flows_token t "
            "CROSS JOIN oauth_flows_connection c WHERE t.connection_id = %s AND c.status <> 'revoked' AND c.subject LIKE 'subject-%%'",
            [template.pk],
        )
        cursor.execute("VACUUM ANALYZE oauth_flows_connection")
        cursor.execute("VACUUM ANALYZE oauth_flows_token")
        cursor.execute("ANALYZE auth_user")


def asked(client: Client, url: str) -> list[str]:
    """Open a page; return the SELECTs on our growing tables."""
    with CaptureQueriesContext(database) as captured:
        response = client.get(url)
    assert response.status_code == 200, url
    return [query["sql"] for query in captured if any(f'"{table}"' in query["sql"] for table in GROWING)]


def planned(sql: str, *options: str) -> dict[str, Any]:
    """Return the plan of a SELECT."""
    with database.cursor() as cursor:
        cursor.execute(f"EXPLAIN ({', '.join((*options, 'FORMAT JSON'))}) {sql}".replace("%", "%%"), [])
        (found,) = cursor.fetchone()
    plan: dict[str, Any] = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return plan


def scanned(plan: dict[str, Any]) -> list[str]:
    """Return which growing tables a plan reads from end to end."""
    return [n["Relation Name"] for n in _nodes(plan) if n["Node Type"] == "Seq Scan" and n["Relation Name"] in GROWING]


def discarded(plan: dict[str, Any]) -> int:
    """Return how many rows were read for nothing."""
    return sum(int(count) for node in _nodes(plan) for name, count in node.items() if name.startswith("Rows Removed"))


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", ()) for node in _nodes(part))]


@pytest.fixture
def root(make_user: Callable[..., User], client_for: Callable[[User], Client]) -> Client:
    return client_for(make_user("root", is_staff=True, is_superuser=True))


def test_nothing_that_staff_look_at_reads_a_table_from_end_to_end(
    root: Client, many: tuple[Provider, Provider]
) -> None:
    """One test, for the rows take longer to make than everything that is asked of them."""
    common, rare = many
    counts = {}
    for query in QUERIES:
        sqls = asked(root, f"{LIST}?{query.format(common=common.pk, rare=rare.pk)}")
        counts[query] = len(sqls)
        assert sqls
        for sql in sqls:
            check_plan(sql, query)
            counts_all = "SELECT COUNT(" in sql and f"LIMIT {COUNTED + 1}" not in sql
            assert not counts_all, f"{query}: {sql}"
    looks = 3  # into the index: two sets of scopes, and no more
    for query, count in counts.items():
        assert count <= 2 + looks * (LACKING in query), counts  # one page, and a bounded count
    for sql in asked(root, f"{LIST}?{LACKING}"):
        plan = planned(sql, "ANALYZE")
        assert discarded(plan) <= COUNTED, f"{sql}\n{json.dumps(plan, indent=1)}"
    one = Connection.objects.get(subject="subject-42")
    pages = [f"/admin/oauth_flows/provider/{provider.pk}/change/" for provider in many]
    for page in (*pages, "/admin/oauth_flows/provider/", f"{LIST}{one.pk}/change/"):
        for sql in asked(root, page):
            check_plan(sql, page)
    check_what_is_found(root)


def check_plan(sql: str, asked_by: str) -> None:
    plan = planned(sql)
    assert not scanned(plan), f"{asked_by}\n{sql}\n{json.dumps(plan, indent=1)}"


def check_what_is_found(root: Client) -> None:
    """The list says that there is more, and the search finds it."""
    page = root.get(LIST)
    assert page.context["cl"].result_count == COUNTED
    assert f"The newest {COUNTED} connections are listed" in text_of(page)
    lack = root.get(f"{LIST}?{LACKING}").context["cl"]
    assert lack.result_count == min(COUNTED, Connection.objects.lacking_required_scopes().count()) > 0
    for term, expected in (("user-77", 2), ("subject-42", 1), ("the-only-one", 1), ("Template", 1), ("user-7", 2)):
        assert root.get(f"{LIST}?q={term}").context["cl"].result_count == expected, term
