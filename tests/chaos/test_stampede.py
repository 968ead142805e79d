"""As many callers as ``STAMPEDE_CALLERS`` says, in four processes, with one expired token: one refresh, and all are served."""

from __future__ import annotations

import os

import pytest
from django.db import connection

from tests.chaos.stampede import LATENCY, database, stampede

STAMPEDE_CALLERS = int(os.environ.get("STAMPEDE_CALLERS", "160"))

pytestmark = [
    pytest.mark.security("F01"),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="its databases are its own: one run is enough"),
]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("postgresql", marks=pytest.mark.needs("postgresql")),
        pytest.param("pgbouncer", marks=[pytest.mark.needs("postgresql", "pgbouncer"), pytest.mark.security("F21")]),
        pytest.param("mariadb", marks=pytest.mark.needs("mariadb")),
        "sqlite",
    ],
)
def test_any_number_of_callers_send_one_refresh_and_all_are_served(name: str) -> None:
    with database(name) as settings:
        found = stampede(settings, callers=STAMPEDE_CALLERS)
    assert found.errors == []
    assert (found.refreshes, found.successes, found.alive) == (1, STAMPEDE_CALLERS, True)


@pytest.mark.needs("postgresql")
def test_waiting_for_the_winner_is_short() -> None:
    """On an idle machine 4 times the provider's latency; on a busy one as many times what a few callers take there."""
    with database("postgresql") as settings:
        few = stampede(settings, callers=4)
    with database("postgresql") as settings:
        found = stampede(settings, callers=64)
    assert found.p95 <= 4 * max(LATENCY * 1000, few.slowest)
