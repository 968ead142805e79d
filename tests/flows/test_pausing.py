"""Pause and resume: nothing is called or refreshed meanwhile, and nothing is lost."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from django_oauth_flows import flows
from django_oauth_flows.exceptions import Disconnected
from django_oauth_flows.flows.lease import acquire
from django_oauth_flows.flows.snapshot import read
from django_oauth_flows.models import Connection, ConnectionEvent, Provider, Token
from django_oauth_flows.testing.factories import make_connection, shift_expiry, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import Answer, FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def refused(act: Callable[[], Any]) -> str:
    """Return the code with which ``act`` is refused."""
    with pytest.raises(Disconnected) as caught:
        act()
    assert "resume" in caught.value.hint
    return caught.value.code


def test_a_paused_connection_makes_no_call_and_no_refresh_and_keeps_its_tokens(
    connection: Connection, fake: FakeProvider, user: User
) -> None:
    shift_expiry(connection, timedelta(seconds=-1))
    before = Token.objects.values().get()
    assert flows.pause(connection, actor=user)
    assert connection.paused
    acts: list[Callable[[], Any]] = [
        lambda: flows.session(connection).get("/echo"),
        lambda: flows.access_token(connection),
        lambda: flows.refresh(connection),
    ]
    assert [refused(act) for act in acts] == ["connection_paused"] * 3
    assert Token.objects.values().get() == before
    assert (fake.count("api"), fake.count("token")) == (0, 0)
    flows.refresh_due()
    assert fake.count("token") == 0


def test_what_a_sweep_has_put_off_is_due_again_when_it_is_resumed(
    connection: Connection, provider: Provider, user: User, fake: FakeProvider
) -> None:
    for due in (connection, make_connection(provider, user, fake, subject="another")):
        shift_expiry(due, timedelta(seconds=-1))
    flows.pause(connection)
    (sweep,) = flows.refresh_due()
    assert (sweep.refreshed, sweep.overtaken) == (1, 1)
    assert Token.objects.get(connection=connection).last_failure == "connection_paused"
    assert flows.resume(connection)
    assert Token.objects.get(connection=connection).last_failure == ""
    (sweep,) = flows.refresh_due()
    assert (sweep.refreshed, fake.count("token")) == (1, 2)
    assert flows.access_token(connection)


def test_resuming_hurries_nothing_that_waits_for_another_reason(connection: Connection) -> None:
    flows.pause(connection)
    Token.objects.update(last_failure="provider_unreachable")
    before = Token.objects.values().get()
    flows.resume(connection)
    assert Token.objects.values().get() == before


def test_doing_it_twice_is_doing_it_once_and_the_history_says_who(connection: Connection, user: User) -> None:
    assert flows.pause(connection, actor=user)
    assert not flows.pause(connection, actor=user)
    assert flows.resume(connection, actor=user)
    assert not flows.resume(connection, actor=user)
    history = ConnectionEvent.objects.order_by("id").values_list("kind", "actor")
    assert list(history) == [("imported", None), ("paused", user.pk), ("resumed", user.pk)]


def test_a_session_that_is_open_already_stops_with_the_next_request(connection: Connection, fake: FakeProvider) -> None:
    with flows.session(connection) as http:
        assert http.get("/echo").status_code == 200
        flows.pause(Connection.objects.get())
        assert refused(lambda: http.get("/echo")) == "connection_paused"
        flows.resume(connection)
        assert http.get("/echo").status_code == 200


class PauseMeanwhile:
    """Let the owner pause while the provider's answer is on its way."""

    def play(self, handler: Any, normal: Callable[[], Answer]) -> None:
        """Pause, then answer."""
        from django_oauth_flows.testing.faults import write

        flows.pause(Connection.objects.get())
        write(handler, normal())


def test_the_answer_to_a_refresh_that_was_on_its_way_is_kept_and_not_served(
    connection: Connection, fake: FakeProvider
) -> None:
    shift_expiry(connection, timedelta(seconds=-1))
    generation = Token.objects.get().generation
    fake.script("token", PauseMeanwhile())
    assert refused(lambda: flows.access_token(connection)) == "connection_paused"
    assert Token.objects.get().generation == generation + 1
    flows.resume(connection)
    assert flows.access_token(connection)
    assert fake.count("token") == 1


def test_connecting_the_same_account_again_leaves_it_paused(
    browser: Client, connection: Connection, provider: Provider
) -> None:
    flows.pause(connection)
    assert walk(browser, provider).status_code == 303
    assert Connection.objects.get().paused


@pytest.mark.parametrize("ended", ["disconnected", "deleted"])
def test_what_is_gone_cannot_rest(ended: str, connection: Connection) -> None:
    same = Connection.objects.get()
    if ended == "disconnected":
        flows.revoke(connection)
    else:
        connection.delete()
    for act in (flows.pause, flows.resume):
        with pytest.raises(Disconnected):
            act(same)
    assert not ConnectionEvent.objects.filter(kind__in=("paused", "resumed")).exists()


def test_the_kill_switch_of_staff_is_told_from_the_owners_pause(connection: Connection) -> None:
    flows.pause(connection)
    Provider.objects.update(paused=True)
    with pytest.raises(Disconnected) as caught:
        flows.access_token(connection)
    assert caught.value.code == "paused"


def test_what_is_resumed_while_a_sweep_holds_it_is_not_put_off(connection: Connection) -> None:
    flows.pause(connection)
    shift_expiry(connection, timedelta(minutes=-1))
    lease = acquire(read(connection.pk), alias="default", force=True)
    assert lease is not None
    flows.resume(connection)
    lease.put_off("connection_paused")
    token = Token.objects.get()
    assert (token.lease_owner, token.last_failure, token.attempt_count) == (None, "", 0)
    assert token.next_refresh_at is not None
    assert token.next_refresh_at < timezone.now()
