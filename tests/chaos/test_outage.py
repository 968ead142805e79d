"""A provider whose token endpoint is down: nobody notices while tokens last, nobody is marked, and nobody has to mend it."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows import flows
from django_oauth_flows.exceptions import TokenUnavailable
from django_oauth_flows.models import Connection, ConnectionEvent, Provider, Token
from django_oauth_flows.testing import Answer, FakeProvider
from django_oauth_flows.testing.factories import make_connection, shift_expiry
from django_oauth_flows.testing.faults import write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler

    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db(transaction=True)

HOW = pytest.mark.parametrize("how", ["refused", "503"])


class Unavailable:
    """Say 503, and do nothing, as long as the outage lasts."""

    def __init__(self) -> None:
        self.is_over = False

    def play(self, handler: BaseHTTPRequestHandler, normal: Callable[[], Answer]) -> None:
        """Answer."""
        write(handler, normal() if self.is_over else Answer(503))


@contextmanager
def outage(fake: FakeProvider, how: str) -> Iterator[None]:
    """Let the token endpoint be down for the time of the block."""
    with ExitStack() as stack:
        if how == "refused":
            stack.enter_context(fake.down())
        else:
            fault = Unavailable()
            fake.script("token", *[fault] * 200)
            stack.callback(setattr, fault, "is_over", True)
        yield


@pytest.fixture
def connections(provider: Provider, user: User, fake: FakeProvider) -> Iterator[list[Connection]]:
    """Return three connections, at a provider whose API is another machine than its token endpoint."""
    with FakeProvider() as api:
        api.oauth2.grants = fake.oauth2.grants  # the same grants
        Provider.objects.update(api_base_url=f"{api.url}/api/")
        yield [make_connection(provider, user, fake, subject=str(number)) for number in range(3)]


def call(connections: list[Connection]) -> None:
    """Call each one's API, as a view of the site does."""
    for connection in connections:
        with flows.session(connection) as http:
            assert http.get("/echo").status_code == 200


def call_for(seconds: float, connections: list[Connection]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        call(connections)
        time.sleep(0.05)


def assert_nothing_is_marked() -> None:
    assert set(Connection.objects.values_list("status", "reason")) == {("active", "")}
    assert not ConnectionEvent.objects.filter(kind="needs_reauthorization").exists()
    assert Provider.objects.get().alarm == ""


@HOW
@pytest.mark.security("F10")
def test_an_outage_shorter_than_the_tokens_life_is_not_noticed(
    how: str, connections: list[Connection], fake: FakeProvider
) -> None:
    for connection in connections:
        shift_expiry(connection, timedelta(seconds=4))  # due for a refresh, and valid
    with outage(fake, how):
        call_for(2, connections)
    call_for(4, connections)  # beyond what the old tokens were valid for
    assert set(Token.objects.values_list("generation", "failure_count")) == {(2, 0)}
    assert_nothing_is_marked()


@HOW
@pytest.mark.security("F10")
def test_a_long_back_off_ends_with_the_token_at_the_latest(
    how: str, connections: list[Connection], fake: FakeProvider
) -> None:
    Token.objects.update(failure_count=9)  # it has been down for a while: the next wait is a quarter of an hour
    for connection in connections:
        shift_expiry(connection, timedelta(seconds=3))
    with outage(fake, how):
        call(connections)
    assert set(Token.objects.values_list("failure_count", flat=True)) == {10}
    call_for(4, connections)
    assert set(Token.objects.values_list("generation", "failure_count")) == {(2, 0)}


@HOW
@pytest.mark.security("F10")
def test_an_outage_longer_than_the_tokens_life_is_a_passing_error_and_nobody_has_to_mend_it(
    how: str, connections: list[Connection], fake: FakeProvider
) -> None:
    for connection in connections:
        shift_expiry(connection, timedelta(seconds=-1))
    errors: list[Any] = []
    with outage(fake, how):
        for connection in connections * 3:
            with pytest.raises(TokenUnavailable) as caught, flows.session(connection) as http:
                http.get("/echo")
            errors.append(caught.value)
    assert all(1 <= error.retry_after <= 3 for error in errors[3:]), errors  # who comes again hears when to come
    assert {error.code for error in errors[:3]} == {"provider_unreachable"}
    assert_nothing_is_marked()
    time.sleep(max(error.retry_after for error in errors[3:]))
    call(connections)
    assert set(Token.objects.values_list("generation", "failure_count", "last_failure", "attempt_count")) == {
        (2, 0, "", 0)
    }
    assert_nothing_is_marked()
