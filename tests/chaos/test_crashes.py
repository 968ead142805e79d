"""Workers that are killed: what the next one finds, and a short campaign over everything that can go wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.db import connection as database

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ReauthorizationRequiredError
from django_oauth_flows.failpoints import Failpoint
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Connection, ConnectionEvent, Provider, Token
from django_oauth_flows.testing import Answer, Delay
from django_oauth_flows.testing.factories import answer, begin, shift_expiry, walk
from tests.chaos.killing import kill_at, start, was_killed

if TYPE_CHECKING:
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def expired(connection: Connection, fake: FakeProvider) -> Connection:
    """Return a connection whose access token has expired, at a provider that forgives a repeat for half a minute."""
    Provider.objects.update(lease_duration=1, reuse_grace=30)
    fake.oauth2.grace = 30
    shift_expiry(connection, timedelta(seconds=-1))
    return connection


def journal(connection: Connection) -> tuple[bool, int, int]:
    """Return whether an attempt is on record as under way, how many were without an answer, and the generation."""
    row = Token.objects.get(connection=connection)
    assert (row.attempt_id is None) == (row.lease_owner is None) == (row.attempt_started_at is None)
    return row.attempt_id is not None, row.attempt_count, row.generation


UNTOUCHED, UNDER_WAY, STORED = (False, 0, 1), (True, 1, 1), (False, 0, 2)


@pytest.mark.security("F02", "F04", "F06")
@pytest.mark.parametrize(
    ("point", "left", "asked"),
    [
        (Failpoint.BEFORE_LEASE, UNTOUCHED, 0),
        (Failpoint.AFTER_LEASE, UNDER_WAY, 0),
        (Failpoint.BEFORE_REQUEST, UNDER_WAY, 0),
        (Failpoint.AFTER_RESPONSE, UNDER_WAY, 1),
        (Failpoint.BEFORE_COMMIT, UNDER_WAY, 1),
        (Failpoint.AFTER_COMMIT, STORED, 1),
    ],
)
def test_wherever_a_worker_is_killed_the_next_one_has_a_token(
    point: Failpoint, left: tuple[bool, int, int], asked: int, expired: Connection, fake: FakeProvider
) -> None:
    kill_at(point, lambda: flows.access_token(expired))
    assert (journal(expired), fake.count("token")) == (left, asked)
    token = flows.access_token(expired)  # waits until the lease ends, and presents the same refresh token
    assert fake.count("token") == asked + (left != STORED)
    assert journal(expired) == STORED
    assert fake.oauth2.grant_of(token) is fake.oauth2.grants[0]


@pytest.mark.security("F02", "F04", "F06")
def test_a_worker_killed_with_a_failure_in_its_hands_leaves_the_attempt_on_record(
    expired: Connection, fake: FakeProvider
) -> None:
    fake.script("token", Answer(503))
    kill_at(Failpoint.BEFORE_RELEASE, lambda: flows.access_token(expired))
    assert journal(expired) == UNDER_WAY
    assert flows.access_token(expired)
    assert journal(expired) == STORED


@pytest.mark.security("F02")
def test_a_worker_killed_while_it_waits_for_the_answer_is_succeeded_by_one(
    expired: Connection, fake: FakeProvider
) -> None:
    go, reached = threading.Event(), threading.Event()
    fake.script("token", Delay(until=go, reached=reached))
    child = start(lambda: flows.access_token(expired))
    assert reached.wait(10)
    os.kill(child, signal.SIGKILL)
    assert was_killed(child)
    assert journal(expired) == UNDER_WAY
    assert flows.access_token(expired)
    go.set()
    assert (fake.count("token"), journal(expired)) == (2, STORED)


@pytest.mark.security("F04", "F06")
@pytest.mark.parametrize("point", [Failpoint.AFTER_RESPONSE, Failpoint.BEFORE_COMMIT, Failpoint.BEFORE_RELEASE])
def test_a_grant_lost_with_a_killed_worker_is_reported_as_such_and_not_asked_for_again(
    point: Failpoint, expired: Connection, fake: FakeProvider
) -> None:
    fake.oauth2.grace = 0
    if point is Failpoint.BEFORE_RELEASE:
        fake.oauth2.grants[0].alive = False  # killed after `invalid_grant`, before anything is marked
    kill_at(point, lambda: flows.access_token(expired))
    assert not ConnectionEvent.objects.filter(kind="needs_reauthorization").exists()
    for _ in range(3):
        with pytest.raises(ReauthorizationRequiredError) as caught:
            flows.access_token(expired)
        assert caught.value.reason == "outcome_unknown"
    assert fake.count("token") == 2
    expired.refresh_from_db()
    assert (expired.status, expired.reason) == ("reauthorization_required", "outcome_unknown")
    assert ConnectionEvent.objects.filter(kind="needs_reauthorization", outcome="outcome_unknown").count() == 1


@pytest.mark.security("T15", "T16")
def test_a_worker_killed_with_the_answer_to_the_code_leaves_no_half_row_and_the_code_is_not_sent_again(
    provider: Provider, fake: FakeProvider, browser: Client
) -> None:
    callback = begin(browser, provider)
    kill_at(Failpoint.CODE_EXCHANGED, lambda: answer(browser, callback))
    assert not Connection.objects.exists()
    assert not Token.objects.exists()
    AuthorizationRequest.objects.update(taken_at=DatabaseNow() - timedelta(minutes=1))  # it cannot be at work any more
    again = answer(browser, callback)
    assert (again.status_code, fake.count("token")) == (400, 1)
    assert b"/oauth/connect/fake/confirm/" in again.content
    assert walk(browser, provider).status_code == 303


@pytest.mark.security("F02", "F04", "F06")
@pytest.mark.parametrize(
    ("attempts", "grace", "lease"),
    [pytest.param(300, 30, 1, id="with a grace window"), pytest.param(100, 0, 2, id="without one")],
)
def test_a_short_campaign_loses_nothing_or_says_so(attempts: int, grace: int, lease: int) -> None:
    options = {"attempts": attempts, "each": 1, "seed": 7, "grace": grace, "lease": lease, "database": _database()}
    command = [sys.executable, "-m", "tests.chaos.crashes", *(f"--{name}={value}" for name, value in options.items())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "| grants lost | 0 |" in done.stdout or not grace, done.stdout
    assert "no violation" in done.stdout


def _database() -> str:
    return {"mysql": "mariadb"}.get(database.vendor, database.vendor)
