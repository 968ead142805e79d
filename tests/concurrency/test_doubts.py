"""What is in doubt stays in doubt: no token is presented twice at once, no answer in hand is lost, none is served too late."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection as database
from django.db import connections, transaction

from django_oauth_flows import flows
from django_oauth_flows.exceptions import Disconnected, OAuthFlowsError, ReauthorizationRequiredError, TokenUnavailable
from django_oauth_flows.fields import Ciphertext, DatabaseNow
from django_oauth_flows.flows.circuit import FAILURES
from django_oauth_flows.flows.lease import taking
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.testing import Answer, Delay, Drop
from django_oauth_flows.testing.factories import make_connection, shift_expiry

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def expired(connection: Connection) -> Connection:
    """Return a connection whose access token has expired."""
    shift_expiry(connection, timedelta(seconds=-1))
    return connection


class Meanwhile:
    """Do ``act`` while the request is on its way; then answer, as usual or with ``answer``."""

    def __init__(self, act: Callable[[], object], answer: Answer | None = None, *, first: bool = False) -> None:
        self._act, self._answer, self._first = act, answer, first

    def play(self, handler: Any, normal: Callable[[], Answer]) -> None:
        """Play it; ``first``: the provider acts before."""
        acted = normal() if self._first else None
        try:
            self._act()
        finally:
            connections.close_all()
        (self._answer or acted or normal()).play(handler, normal)


# A lease that was waited for


@pytest.mark.skipif(database.vendor == "sqlite", reason="SQLite has one writer and no row locks")
@pytest.mark.security("F01", "F03")
@pytest.mark.parametrize("left", [-1, 50], ids=["expired", "due"])
def test_a_lease_that_was_over_before_it_was_won_is_not_used(
    left: int, connection: Connection, fake: FakeProvider
) -> None:
    shift_expiry(connection, timedelta(seconds=left))
    Provider.objects.update(lease_duration=4)
    held = threading.Event()

    def hold() -> None:
        with transaction.atomic():
            list(Token.objects.select_for_update())
            held.set()
            time.sleep(4.5)
        connections.close_all()

    said: list[str] = []

    def call() -> None:
        try:
            said.append(flows.access_token(connection))
        except OAuthFlowsError as error:
            said.append(error.code)
        finally:
            connections.close_all()

    fake.script("token", Delay(0.8), Delay(0.8))
    holder, first = threading.Thread(target=hold), threading.Thread(target=call)
    holder.start()
    held.wait()
    first.start()
    holder.join()
    time.sleep(0.3)
    second = threading.Thread(target=call)
    second.start()
    first.join()
    second.join()
    presented = [request.form["refresh_token"] for request in fake.received("token")]
    assert len(presented) == len(set(presented))
    assert all(token.startswith("canary_access") for token in said), said  # nobody went on with a lease that was over
    assert fake.oauth2.grants[0].alive


# An answer that was lost


@pytest.mark.security("F04")
@pytest.mark.parametrize(
    "second",
    [Answer(429), Answer(400, {"error": "temporarily_unavailable"}), Answer(400, {"error": "invalid_request"}),
     Answer(401, {"error": "invalid_client"}), Answer(302, b"", {"Location": "/"})],
    ids=lambda answer: str(answer.status),
)  # fmt: skip
def test_a_second_try_that_fails_otherwise_does_not_end_the_doubt(
    second: Answer, expired: Connection, fake: FakeProvider
) -> None:
    fake.script("token", Drop(), second)
    with pytest.raises(TokenUnavailable):
        flows.access_token(expired)
    assert Token.objects.get().attempt_count == 1
    Token.objects.update(not_before=None)
    with pytest.raises(ReauthorizationRequiredError) as caught:
        flows.access_token(expired)
    assert caught.value.reason == "outcome_unknown"


@pytest.mark.security("F04")
def test_after_a_second_try_that_fails_otherwise_the_next_comes_within_the_grace(
    expired: Connection, fake: FakeProvider
) -> None:
    Provider.objects.update(reuse_grace=30)
    Token.objects.update(failure_count=6)
    fake.script("token", Drop(), Answer(400, {"error": "temporarily_unavailable"}))
    with pytest.raises(TokenUnavailable):
        flows.access_token(expired)
    (row,) = Token.objects.annotate(now=DatabaseNow())
    assert row.not_before is not None
    assert (row.not_before - row.now).total_seconds() < 8


# An answer that came late


@pytest.mark.security("F03")
def test_an_answer_that_outlived_its_lease_is_kept_if_whoever_took_over_has_failed(
    expired: Connection, fake: FakeProvider
) -> None:
    fake.oauth2.reuse_ends_grant = False

    def take_over() -> None:
        Token.objects.update(lease_expires_at=DatabaseNow() - timedelta(seconds=1))
        with pytest.raises(ReauthorizationRequiredError):
            flows.access_token(expired)

    fake.script("token", Meanwhile(take_over, first=True))
    token = flows.access_token(expired)
    expired.refresh_from_db()
    assert (expired.status, expired.reason, Token.objects.get().generation) == ("active", "", 2)
    assert fake.oauth2.grant_of(token) is not None


@pytest.mark.security("F03")
def test_who_was_overtaken_by_a_worker_that_is_still_at_it_waits_for_that_one(
    expired: Connection, fake: FakeProvider
) -> None:
    old = Token.objects.select_related("connection").get().open("access_token")
    assert old is not None
    fake.oauth2.grace = 30
    fake.script("token", Meanwhile(lambda: Token.objects.update(**taking(uuid.uuid4(), 2)), first=True))
    assert flows.access_token(expired) != old.reveal()
    assert fake.count("token") == 2  # what came after the lease was not stored over the head of who had it


# A token that may no longer be served


@pytest.mark.security("D06")
@pytest.mark.parametrize("how", ["disconnected", "paused"])
def test_a_token_that_could_not_be_refreshed_early_is_not_served_after_a_disconnect(
    how: str, connection: Connection, fake: FakeProvider
) -> None:
    shift_expiry(connection, timedelta(seconds=50))

    def end() -> None:
        if how == "paused":
            Provider.objects.update(paused=True)
        else:
            Provider.objects.update(revocation_endpoint="")
            flows.revoke(Connection.objects.get(pk=connection.pk))

    fake.script("token", Meanwhile(end, Answer(503)))
    with pytest.raises(Disconnected):
        flows.access_token(connection)


# A try that found nothing out


def half_open() -> None:
    """Let the provider be left alone until just now."""
    Provider.objects.update(failure_count=FAILURES, circuit_open_until=DatabaseNow() - timedelta(seconds=1))


@pytest.mark.security("V01")
@pytest.mark.parametrize("answer", [Answer(400, {"error": "invalid_grant"}), Answer(400, {"error": "invalid_scope"})])
def test_a_provider_that_has_answered_one_serves_the_others(
    answer: Answer, provider: Provider, user: User, fake: FakeProvider
) -> None:
    first, second = (make_connection(provider, user, fake, subject=name) for name in ("one", "two"))
    for connection in (first, second):
        shift_expiry(connection, timedelta(seconds=-1))
    half_open()
    fake.script("token", answer)
    with pytest.raises(OAuthFlowsError):
        flows.access_token(first)
    assert flows.access_token(second)
    assert Provider.objects.get().failure_count == 0


@pytest.mark.security("V01")
@pytest.mark.parametrize("column", ["configuration_fingerprint", "refresh_token"])
def test_a_try_that_never_asked_leaves_it_to_the_next(
    column: str, provider: Provider, user: User, fake: FakeProvider
) -> None:
    first, second = (make_connection(provider, user, fake, subject=name) for name in ("one", "two"))
    for connection in (first, second):
        shift_expiry(connection, timedelta(seconds=-1))
    wrong = Ciphertext("x") if column == "refresh_token" else "x"
    Token.objects.filter(connection=first).update(**{column: wrong})
    half_open()
    with pytest.raises(OAuthFlowsError):
        flows.access_token(first)
    assert flows.access_token(second)


@pytest.mark.security("V04")
def test_a_sweep_does_not_end_at_a_grant_that_is_over(provider: Provider, user: User, fake: FakeProvider) -> None:
    for number in range(20):
        shift_expiry(make_connection(provider, user, fake, subject=str(number)), timedelta(seconds=-100 + number))
    half_open()
    fake.script("token", Answer(400, {"error": "invalid_grant"}))
    (sweep,) = flows.refresh_due(workers=4)
    assert (sweep.refreshed, sweep.needs_reauthorization, sweep.failed) == (19, 1, 0)


@pytest.mark.security("F19")
@pytest.mark.skipif(database.vendor == "sqlite", reason="a commit of ours would lock the caller out")
def test_a_site_that_commits_by_itself_keeps_the_rotated_token(expired: Connection, fake: FakeProvider) -> None:
    home = connections["default"]
    home.settings_dict["AUTOCOMMIT"] = False
    home.set_autocommit(False)
    try:
        assert flows.access_token(expired)
    finally:
        home.rollback()
        home.settings_dict["AUTOCOMMIT"] = True
        home.set_autocommit(True)
    assert Token.objects.get().generation == 2
