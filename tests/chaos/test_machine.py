"""Anything in any order to one connection, as many times as ``MACHINE_EXAMPLES`` says: what is promised always holds.

The provider rotates refresh tokens and ends the grant if one is presented twice; in half of the runs it forgives that for
a while. Answers are lost, workers die before they have stored one, keys rotate, the provider's row is edited, time passes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection as database
from django.db import transaction
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from django_oauth_flows import flows
from django_oauth_flows.crypto import generate_key
from django_oauth_flows.exceptions import (
    CannotPersist,
    ConfigurationError,
    Disconnected,
    ReauthorizationRequiredError,
    TokenUnavailable,
)
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.testing import Answer, Drop, FakeProvider, Half, Reset
from django_oauth_flows.testing.factories import make_connection, make_provider, shift_expiry
from django_oauth_flows.testing.faults import write
from tests.chaos.rows import empty

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_oauth_flows.testing.oauth2 import FakeGrant

MACHINE_EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "20"))

LOST = [Drop(), Drop(acted=False), Half(), Reset(), Answer(503), Answer(200, b"<html>")]
"""Answers that leave a doubt whether the provider has acted."""

MEANWHILE = st.sampled_from([None, -3600, -1, 30, 3600])
"""Seconds from now at which the token expires once the clock has jumped; None: it has not."""

FOR_NOW = (TokenUnavailable, ReauthorizationRequiredError, CannotPersist, ConfigurationError)
"""What a caller may meet while the connection is there."""


class Died(BaseException):
    """The worker is gone: nothing of it runs any more but what unwinds."""


@dataclass(slots=True)
class Presented:
    """A refresh token that the provider has seen, at which endpoint, and what became of its answer."""

    token: str
    url: str
    outcome: str  # served, refused, or lost


class Machine(RuleBasedStateMachine):
    """One user's connection; ``grant`` is what the user has consented to last."""

    django_settings: ClassVar[Any] = None

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeProvider().__enter__()
        self.keys = [generate_key()]
        self._configure()
        self.presented: list[Presented] = []
        self.plan: list[Any] = []  # faults for the next token requests
        self.minted: dict[str, str] = {}  # access token of the consent → token endpoint then
        self.is_connected = self.is_over = False
        self.generation = 0

    def teardown(self) -> None:
        self.fake.__exit__()
        empty("default")

    @initialize(grace=st.sampled_from([0.0, 60.0]), effect=st.sampled_from(["token", "grant", "unknown"]))
    def connect(self, grace: float, effect: str) -> None:
        self.fake.oauth2.grace = grace
        self.user = User.objects.create_user("ada")
        self.provider_id = make_provider(self.fake, revocation_effect=effect).pk
        self.reconnect()

    # What people do

    @rule()
    def reconnect(self) -> None:
        provider = Provider.objects.get(pk=self.provider_id)
        self.connection = make_connection(provider, self.user, self.fake)
        self.endpoint, self.is_connected, self.is_over = provider.token_endpoint, True, False
        self.generation = 0

    @precondition(lambda self: self.is_connected)
    @rule()
    def disconnect(self) -> None:
        flows.revoke(self.connection)
        self.is_connected = False

    @rule()
    def revoke_at_the_provider(self) -> None:
        self.grant.alive, self.is_over = False, True

    @rule(elsewhere=st.sampled_from([False, False, True]))
    def edit_the_provider(self, elsewhere: bool) -> None:
        Provider.objects.update(token_endpoint=f"{self.fake.url}/token{'?elsewhere' * elsewhere}")

    @rule(keep=st.booleans())
    def rotate_the_keys(self, keep: bool) -> None:
        self.keys = [generate_key(), *self.keys[:1]]
        self._configure()
        call_command("reencrypt_secrets", verbosity=0)
        if not keep:
            self.keys = self.keys[:1]
            self._configure()

    # What programs do

    @rule()
    def refresh(self) -> None:
        self._ask(lambda: flows.refresh(self.connection))

    @rule(expires_in=MEANWHILE, seconds=st.sampled_from([0, 0, 1800]))
    def access_token(self, expires_in: int | None, seconds: int) -> None:
        self._pass_time(expires_in)
        self._ask(lambda: self._check(flows.access_token(self.connection, min_validity=timedelta(seconds=seconds))))

    @rule(expires_in=MEANWHILE)
    def access_token_in_a_transaction_that_is_rolled_back(self, expires_in: int | None) -> None:
        self._pass_time(expires_in)

        def work() -> None:
            with transaction.atomic():
                kept.append(flows.access_token(self.connection))
                raise ZeroDivisionError

        kept: list[str] = []
        self._ask(work)
        if kept:  # by now: in its own transaction the caller may go on seeing what it saw before
            self._check(kept[0])

    @rule(expires_in=MEANWHILE)
    def call_the_api(self, expires_in: int | None) -> None:
        self._pass_time(expires_in)

        def call() -> None:
            with flows.session(self.connection) as http:
                http.get("/echo")

        self._ask(call)

    @rule(expires_in=MEANWHILE)
    def sweep(self, expires_in: int | None) -> None:
        self._pass_time(expires_in)
        self._watch()
        asked = len(self.presented)
        flows.refresh_due()
        assert self.is_connected or len(self.presented) == asked

    # What goes wrong

    @rule(fault=st.sampled_from(LOST), times=st.integers(1, 2))
    def lose_the_next_answer(self, fault: Any, times: int) -> None:
        self.plan = [fault] * times

    @precondition(lambda self: self.is_connected)
    @rule()
    def die_before_the_answer_is_stored(self) -> None:
        def die(execute: Any, sql: str, *rest: Any) -> Any:
            if sql.startswith("UPDATE") and "last_refreshed_at" in sql:
                raise Died
            return execute(sql, *rest)

        try:
            with database.execute_wrapper(die):
                self._ask(lambda: flows.refresh(self.connection))
        except Died:
            self.presented[-1].outcome = "lost"
        Token.objects.filter(lease_owner__isnull=False).update(lease_expires_at=DatabaseNow() - timedelta(seconds=1))

    # What always holds

    @invariant()
    def a_refresh_token_that_was_served_is_never_presented_again(self) -> None:
        served = set()
        for seen in self.presented:
            assert seen.token not in served
            if seen.outcome == "served":
                served.add(seen.token)

    @invariant()
    def a_refresh_token_goes_only_where_it_came_from(self) -> None:
        for seen in self.presented:
            assert seen.url == self.minted[seen.token]

    @invariant()
    def the_latest_grant_is_kept_or_the_connection_says_what_happened(self) -> None:
        row = Token.objects.select_related("connection").filter(connection=self.connection).first()
        assert (row is not None) == self.is_connected
        if row is None:
            return
        assert row.generation >= self.generation
        self.generation = row.generation
        stored = row.open("refresh_token")
        assert stored is not None
        assert stored.reveal() in self.grant.refresh
        status, reason = row.connection.status, row.connection.reason
        doubtful = any(seen.token == stored.reveal() and seen.outcome == "lost" for seen in self.presented)
        if self.grant.refresh[stored.reveal()]:  # the provider has gone on to another
            assert doubtful
            assert row.attempt_count or (status, reason) == ("reauthorization_required", "outcome_unknown")
        if status == Connection.Status.ACTIVE:
            return
        if reason == "invalid_grant":
            assert self.is_over
        else:
            assert (reason, doubtful) == ("outcome_unknown", True)
            assert self.is_over or not self.fake.oauth2.grace

    def _pass_time(self, expires_in: int | None) -> None:
        """Jump so far that the token expires in so many seconds, and that no back-off is left."""
        if expires_in is not None:
            shift_expiry(self.connection, timedelta(seconds=expires_in))
            Token.objects.update(not_before=None, last_refreshed_at=None)

    @property
    def grant(self) -> FakeGrant:
        return self.fake.oauth2.grants[-1]

    def _ask(self, act: Callable[[], object]) -> None:
        """Let ``act`` ask for a token; one that is disconnected serves nothing and sends nothing."""
        self._watch()
        asked = len(self.presented)
        try:
            act()
        except ZeroDivisionError:
            assert self.is_connected
        except Disconnected:
            assert not self.is_connected
        except FOR_NOW:
            assert self.is_connected
        else:
            assert self.is_connected
        assert self.is_connected or len(self.presented) == asked

    def _check(self, served: str) -> None:
        """Look whether this is the stored token, of the latest grant."""
        stored = Token.objects.select_related("connection").get(connection=self.connection).open("access_token")
        assert stored is not None
        assert stored.reveal() == served
        assert served in self.grant.access

    def _watch(self) -> None:
        self.minted |= {token: self.endpoint for token in self.grant.refresh if self.is_connected}
        self.fake.script("token", *[self] * 8)

    def play(self, handler: Any, normal: Callable[[], Answer]) -> None:
        """Answer one token request as planned, and note it: this machine is also what the fake provider asks."""
        request = self.fake.received("token")[-1]
        fault = self.plan.pop(0) if self.plan else None
        seen = Presented(request.form["refresh_token"], request.url, "lost")
        self.presented.append(seen)
        if fault is not None:
            fault.play(handler, normal)
        else:
            answer = normal()
            seen.outcome = "served" if answer.status == 200 else "refused"
            write(handler, answer)

    def _configure(self) -> None:
        usual = {"BASE_URL": "http://testserver"}
        Machine.django_settings.OAUTH_FLOWS = {**usual, "ENCRYPTION_KEYS": list(self.keys)}


@pytest.mark.security("F18")
@pytest.mark.django_db(transaction=True)
def test_whatever_happens_in_whatever_order_nothing_is_lost_silently(settings: Any) -> None:
    Machine.django_settings = settings
    run_state_machine_as_test(
        Machine,
        settings=hypothesis_settings(
            max_examples=MACHINE_EXAMPLES,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
