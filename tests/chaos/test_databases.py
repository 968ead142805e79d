"""The database is restarted, killed or made read-only while a token is refreshed: nothing is lost, nothing loops."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import Error, connection, connections, transaction

from django_oauth_flows import flows
from django_oauth_flows.exceptions import CannotPersist, OAuthFlowsError, ReauthorizationRequiredError, TokenUnavailable
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.testing.factories import shift_expiry
from django_oauth_flows.testing.faults import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_oauth_flows.testing import Answer
    from tests.chaos.conftest import Site

pytestmark = [
    pytest.mark.security("V06"),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="its servers are its own: one run is enough"),
]


class Meanwhile:
    """The provider acts, then ``act`` happens to the site's database, then the answer is sent."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act

    def play(self, handler: Any, normal: Callable[[], Answer]) -> None:
        """Act in between."""
        answer = normal()
        self._act()
        write(handler, answer)


@contextmanager
def before_statement(site: Site, part: str, act: Callable[[], object]) -> Iterator[None]:
    """Let ``act`` happen once, just before the UPDATE that mentions ``part`` is sent."""
    due = [act]

    def look(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE") and part in sql and due:
            due.pop()()
        return execute(sql, *rest)

    with connections[site.alias].execute_wrapper(look):
        yield
    assert not due


def short_lease(site: Site) -> None:
    """Let nobody wait long."""
    Provider.objects.update(lease_duration=3, refresh_deadline=1)


@pytest.mark.parametrize("moment", ["while the provider is asked", "before the answer is stored"])
@pytest.mark.parametrize("within", ["no transaction", "a transaction"])
def test_a_restart_does_not_lose_the_answer(moment: str, within: str, site: Site) -> None:
    if moment == "while the provider is asked":
        site.fake.script("token", Meanwhile(site.server.restart))
    with (
        before_statement(site, "last_refreshed_at", site.server.restart)
        if moment != "while the provider is asked" and within == "no transaction"
        else nullcontext()
    ):
        kept = _token_within(site, within)
    site.next_request()
    assert site.stores(kept)
    assert flows.access_token(site.connection) == kept
    assert site.fake.count("token") == 1
    assert site.token.generation == 2


def _token_within(site: Site, within: str) -> str:
    """Get the token; the transaction around it is lost with the server, which is no news of ours."""
    kept: list[str] = []
    try:
        with transaction.atomic(using=site.alias) if within == "a transaction" else nullcontext():
            kept.append(flows.access_token(site.connection))
    except Error:
        assert within == "a transaction"
    return kept[0]


def test_a_restart_before_the_lease_asks_nobody(site: Site) -> None:
    with before_statement(site, "attempt_started_at", site.server.restart), pytest.raises(CannotPersist) as caught:
        flows.access_token(site.connection)
    assert "Look after the database" in caught.value.hint
    assert site.fake.count("token") == 0
    site.next_request()
    assert flows.access_token(site.connection)
    assert site.fake.count("token") == 1


@pytest.mark.parametrize("state", ["down", "read-only"])
def test_an_answer_that_a_failing_database_never_took_is_asked_for_again(state: str, site: Site) -> None:
    short_lease(site)
    site.fake.oauth2.grace = 60
    site.fake.script("token", Meanwhile(site.server.kill if state == "down" else lambda: site.server.read_only(True)))
    with pytest.raises(TokenUnavailable) as caught:
        flows.access_token(site.connection)
    assert (caught.value.code, bool(caught.value.retry_after)) == ("outcome_unknown", True)
    assert site.fake.count("token") == 1  # nobody asks for what could not be kept
    _mend(site)
    assert Connection.objects.get().status == "active"
    assert site.token.attempt_count == 1
    kept = flows.access_token(site.connection)
    assert site.stores(kept)
    assert site.fake.count("token") == 2
    assert site.fake.oauth2.grants[0].alive
    assert (site.token.attempt_count, site.token.failure_count) == (0, 0)


def test_without_a_grace_period_the_loss_is_reported_once_and_does_not_loop(site: Site) -> None:
    short_lease(site)
    site.fake.script("token", Meanwhile(site.server.kill))
    with pytest.raises(TokenUnavailable):
        flows.access_token(site.connection)
    _mend(site)
    for _ in range(3):
        with pytest.raises(ReauthorizationRequiredError) as caught:
            flows.access_token(site.connection)
        assert caught.value.reason == "outcome_unknown"
    assert site.fake.count("token") == 2
    assert Connection.objects.get().reason == "outcome_unknown"


def test_a_failover_that_ends_within_the_lease_is_waited_for(site: Site) -> None:
    def fail_over() -> None:
        site.server.read_only(True)
        threading.Timer(1.0, site.server.read_only, [False]).start()

    site.fake.script("token", Meanwhile(fail_over))
    kept = flows.access_token(site.connection)
    assert site.stores(kept)
    assert site.fake.count("token") == 1


@pytest.mark.parametrize("within", ["no transaction", "a transaction"])
def test_a_read_only_database_asks_nobody_and_serves_what_is_valid(within: str, site: Site) -> None:
    site.server.read_only(True)
    connections[site.alias].close()
    with transaction.atomic(using=site.alias) if within == "a transaction" else nullcontext():
        for _ in range(3):
            with pytest.raises(CannotPersist):
                flows.access_token(site.connection)
    site.server.read_only(False)
    shift_expiry(site.connection, timedelta(seconds=30))
    site.server.read_only(True)
    with transaction.atomic(using=site.alias) if within == "a transaction" else nullcontext():
        stale = flows.access_token(site.connection)
    assert site.fake.count("token") == 0
    site.server.read_only(False)
    assert flows.access_token(site.connection) != stale
    assert site.fake.count("token") == 1


def test_a_database_that_is_down_is_djangos_error_and_passes(site: Site) -> None:
    site.server.kill()
    for _ in range(2):
        with pytest.raises((Error, OAuthFlowsError)):
            flows.access_token(site.connection)
        site.next_request()
    assert site.fake.count("token") == 0
    _mend(site)
    assert flows.access_token(site.connection)
    assert site.fake.count("token") == 1


def test_callers_who_wait_through_a_restart_find_the_winners_token(site: Site) -> None:
    site.fake.script("token", Meanwhile(site.server.restart))
    results: list[Any] = []

    def call() -> None:
        for _ in range(50):  # who is cut off while it waits asks again, as the next request would
            try:
                results.append(flows.access_token(site.connection))
                break
            except (Error, OAuthFlowsError):
                site.next_request()
                time.sleep(0.1)
        connections.close_all()

    threads = [threading.Thread(target=call) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    site.next_request()
    assert site.stores(results[0])
    assert (len(results), len(set(results)), site.fake.count("token")) == (6, 1, 1)


def test_a_sweep_through_a_restart_ends_and_the_next_one_finishes(site: Site) -> None:
    from django.contrib.auth.models import User

    from django_oauth_flows.testing.factories import make_connection

    for number in range(3):
        owner = User.objects.create_user(f"bob{number}")
        make_connection(site.provider, owner, site.fake, expires_in=timedelta(seconds=-1))
    site.fake.script("token", Meanwhile(site.server.restart))
    with suppress(Error):  # the sweep's own connection may be cut off, too: the next run goes on
        flows.refresh_due(workers=2)
    site.next_request()
    Token.objects.update(not_before=None, lease_owner=None, lease_expires_at=None)  # time passes
    flows.refresh_due(workers=2)
    assert set(Token.objects.values_list("generation", "failure_count")) == {(2, 0)}
    assert all(grant.alive for grant in site.fake.oauth2.grants)
    assert site.fake.count("token") == 4


def _mend(site: Site) -> None:
    if site.server.is_running:
        site.server.read_only(False)
    else:
        site.server.start()
    site.next_request()
