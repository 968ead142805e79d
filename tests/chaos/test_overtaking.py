"""Group F under real concurrency: a worker stands at a named step while others refresh, disconnect or reconnect."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows import flows
from django_oauth_flows.exceptions import Disconnected, TokenUnavailable
from django_oauth_flows.failpoints import Failpoint
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.testing import Delay
from django_oauth_flows.testing.factories import answer, consent, shift_expiry
from tests.chaos.stalling import stalled_at
from tests.concurrency.test_refresh import in_threads

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

UNLOCKED = [Failpoint.AFTER_LEASE, Failpoint.BEFORE_REQUEST, Failpoint.AFTER_RESPONSE, Failpoint.AFTER_COMMIT]
"""Steps at which a worker holds no lock, so that others can come first."""


@pytest.fixture
def expired(connection: Connection) -> Connection:
    """Return a connection whose access token has expired."""
    shift_expiry(connection, timedelta(seconds=-1))
    return connection


def stored(connection: Connection) -> Token:
    return Token.objects.select_related("connection").get(connection=connection)


@pytest.mark.security("F03")
@pytest.mark.parametrize("point", [Failpoint.BEFORE_REQUEST, Failpoint.AFTER_RESPONSE])
def test_a_worker_that_outlives_its_lease_does_not_overwrite_the_later_grant(
    point: Failpoint, expired: Connection, fake: FakeProvider
) -> None:
    Provider.objects.update(lease_duration=1, reuse_grace=30)
    fake.oauth2.grace = 30
    with stalled_at(point, lambda: flows.access_token(expired)) as stale:
        later = flows.access_token(expired)  # waits until the other's lease has ended
    token = stored(expired)
    access_token, refresh_token = token.open("access_token"), token.open("refresh_token")
    assert access_token is not None
    assert refresh_token is not None
    assert [access_token.reveal(), token.generation] == [later, 2]
    assert stale == [later]  # whoever comes too late adopts it
    assert fake.count("token") == 2
    assert fake.oauth2.grants[0].refresh[refresh_token.reveal()] == 0


@pytest.mark.security("F03")
def test_a_provider_slower_than_the_lease_ends_nothing(expired: Connection, fake: FakeProvider) -> None:
    Provider.objects.update(lease_duration=1, reuse_grace=30)
    fake.oauth2.grace = 30
    fake.script("token", Delay(seconds=2.0))
    began = time.monotonic()
    results = in_threads(2, lambda: flows.access_token(expired))
    assert all(isinstance(result, TokenUnavailable) for result in results), results
    assert time.monotonic() - began < 15
    Token.objects.update(not_before=None)
    assert flows.access_token(expired)
    assert stored(expired).generation == 2
    assert fake.oauth2.grants[0].alive


@pytest.mark.security("F12", "D06")
@pytest.mark.parametrize("how", ["disconnected", "owner deleted"])
@pytest.mark.parametrize("point", UNLOCKED)
def test_a_disconnect_at_any_step_of_a_refresh_is_final(
    point: Failpoint, how: str, expired: Connection, user: User, fake: FakeProvider
) -> None:
    Provider.objects.update(revocation_effect="token")
    with stalled_at(point, lambda: flows.access_token(expired)) as late:
        flows.revoke(expired) if how == "disconnected" else user.delete()
    flows.work_off_revocations()
    assert isinstance(late[0], Disconnected), late
    assert not Token.objects.exists()
    assert list(Connection.objects.values_list("status", flat=True)) == (["revoked"] if how == "disconnected" else [])
    (grant,) = fake.oauth2.grants
    assert not grant.alive
    newest = {token for token, rotated_at in grant.refresh.items() if not rotated_at}
    assert newest <= {request.form["token"] for request in fake.received("revoke")}  # also one that came too late


@pytest.mark.security("F13")
@pytest.mark.parametrize("point", UNLOCKED)
def test_a_reconnect_at_any_step_of_a_refresh_is_what_stays(
    point: Failpoint, expired: Connection, browser: Client, fake: FakeProvider
) -> None:
    with stalled_at(point, lambda: flows.access_token(expired)) as late:
        started: Any = browser.post(f"/oauth/connections/{expired.pk}/reconnect/")
        assert answer(browser, consent(started["Location"])).status_code == 303
    _, newer = fake.oauth2.grants
    token = stored(expired)
    access_token, refresh_token = token.open("access_token"), token.open("refresh_token")
    assert access_token is not None
    assert refresh_token is not None
    assert late == [access_token.reveal()]
    assert newer.alive
    assert access_token.reveal() in newer.access
    assert newer.refresh == {refresh_token.reveal(): 0}
    shift_expiry(expired, timedelta(seconds=-1))
    assert flows.access_token(expired) in newer.access
