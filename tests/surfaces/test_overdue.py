"""Where no sweep runs, calls refresh what they need, and ``check --database`` says what waits."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.core.checks import CheckMessage, Info, run_checks

from django_oauth_flows import flows
from django_oauth_flows.testing.factories import make_connection, shift_expiry

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from django_oauth_flows.models import Connection, Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def overdue() -> list[CheckMessage]:
    return [message for message in run_checks(databases=["default"]) if message.id == "oauth_flows.I003"]


@pytest.mark.security("V05")
def test_without_a_sweep_a_call_refreshes_and_the_check_counts_what_waits(
    provider: Provider, user: User, fake: FakeProvider
) -> None:
    made = [make_connection(provider, user, fake, subject=f"account-{number}") for number in range(3)]
    for connection in made:
        shift_expiry(connection, timedelta(hours=-23))
    assert overdue() == []  # a daily sweep may still come
    for connection in made[:2]:
        shift_expiry(connection, timedelta(hours=-25))
    (message,) = overdue()
    assert isinstance(message, Info)
    assert message.msg.startswith("2 connections have been due for refresh for more than a day")
    assert "refresh_connections" in str(message.hint)
    assert flows.access_token(made[0])
    assert fake.count("token") == 1
    assert overdue()[0].msg.startswith("1 connections")
    flows.refresh_due()
    assert overdue() == []


@pytest.mark.security("V05")
def test_what_no_sweep_would_refresh_is_not_overdue(connection: Connection) -> None:
    shift_expiry(connection, timedelta(days=-3))
    connection.paused = True
    connection.save()
    assert overdue() == []
