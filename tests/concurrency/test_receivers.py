"""Receivers of our signals run within the caller's transaction when the refresh was asked for there."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connections, transaction
from django.db import connection as database

from django_oauth_flows import flows
from django_oauth_flows.signals import connection_refreshed
from django_oauth_flows.testing.factories import make_connection, shift_expiry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User

    from django_oauth_flows.models import Connection, Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def receiving(act: Callable[[Connection], Any]) -> Iterator[None]:
    """Let ``act`` hear of every refresh."""

    def receiver(connection: Connection, **_: Any) -> None:
        act(connection)

    connection_refreshed.connect(receiver)
    try:
        yield
    finally:
        connection_refreshed.disconnect(receiver)


@pytest.mark.security("F05")
def test_a_receiver_may_refresh_another_connection(provider: Provider, user: User, fake: FakeProvider) -> None:
    first = make_connection(provider, user, fake)
    second = make_connection(provider, user, fake, subject="account-2")
    for each in (first, second):
        shift_expiry(each, timedelta(seconds=-1))

    def use_the_other(connection: Connection) -> None:
        if connection.pk == first.pk:
            flows.access_token(second)

    with receiving(use_the_other), transaction.atomic():
        assert flows.access_token(first)
    assert fake.count("token") == 2
    first.token.refresh_from_db()
    second.token.refresh_from_db()
    assert (first.token.generation, second.token.generation) == (2, 2)
    assert list(connections.settings) == [connection.alias for connection in connections.all()]


@pytest.mark.security("F05")
@pytest.mark.skipif(database.vendor == "sqlite", reason="the caller cannot write after a refresh")
@pytest.mark.parametrize("swallowed", [False, True])
def test_a_receivers_failing_statement_does_not_end_the_callers_transaction(
    swallowed: bool, connection: Connection, fake: FakeProvider
) -> None:
    shift_expiry(connection, timedelta(seconds=-1))

    def fail(_: Connection) -> None:
        with suppress(*[DatabaseError] * swallowed), database.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    with receiving(fail), transaction.atomic():
        assert flows.session(connection).get("/echo").ok
        Group.objects.create(name="what the API said")
    assert Group.objects.exists()
    assert fake.count("token") == 1
