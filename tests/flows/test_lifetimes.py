"""How long tokens live: what the server says, what staff know, what was seen; and what is done before they die."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db.models import F

from django_oauth_flows import flows
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.fleet import due
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import make_connection, make_provider, shift_expiry, walk

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def days(moment: Any) -> float | None:
    """Return how many days from now by the database's clock a moment is."""
    now = Provider.objects.annotate(now=DatabaseNow())[0].now  # type: ignore[attr-defined]
    return None if moment is None else round((moment - now) / DAY, 2)


def age(connection: Connection, by: timedelta) -> None:
    """Let the access token be issued so long ago, and be over at the server."""
    Token.objects.filter(connection=connection).update(issued_at=DatabaseNow() - by, last_refreshed_at=None)


@pytest.fixture
def silent(fake: FakeProvider) -> FakeProvider:
    """Return a fake that never says how long its tokens live."""
    fake.oauth2.expires_in = None
    return fake


def call(connection: Connection) -> int:
    """Call the API; return the status."""
    with flows.session(connection) as http:
        return http.get("/echo").status_code


# Learning how long an access token lives


def end_access(fake: FakeProvider) -> None:
    """Let every access token be over at the server."""
    for grant in fake.oauth2.grants:
        grant.access.clear()


def test_a_lifetime_of_which_nothing_is_said_is_learned_from_a_401(
    connection: Connection, silent: FakeProvider
) -> None:
    age(connection, 2 * HOUR)
    end_access(silent)
    assert call(connection) == 200
    learned = Provider.objects.get().learned_access_token_lifetime
    assert learned is not None
    assert 7200 <= learned < 7260
    assert flows.refresh(connection).refreshed
    token = Token.objects.get()
    assert token.expires_at is not None
    assert token.issued_at is not None
    assert (token.expires_at - token.issued_at).total_seconds() == learned
    assert token.next_refresh_at is not None
    assert token.next_refresh_at < token.expires_at


@pytest.mark.parametrize(("known", "seen", "then"), [(3600, 7200, 3600), (7200, 3600, 3600), (7200, 120, 7200)])
def test_the_shortest_lifetime_counts_and_a_revoked_token_teaches_nothing(
    known: int, seen: int, then: int, connection: Connection, silent: FakeProvider
) -> None:
    Provider.objects.update(learned_access_token_lifetime=known)
    age(connection, timedelta(seconds=seen))
    end_access(silent)
    assert call(connection) == 200
    learned = Provider.objects.get().learned_access_token_lifetime
    assert learned is not None
    assert then <= learned < then + 60


def test_nothing_is_learned_while_the_new_token_is_refused_as_well(
    connection: Connection, silent: FakeProvider
) -> None:
    age(connection, 2 * HOUR)
    silent.script("api", Answer(401), Answer(401))
    assert call(connection) == 401
    assert Provider.objects.get().learned_access_token_lifetime is None


def test_what_staff_know_is_not_learned(user: User, silent: FakeProvider) -> None:
    provider = make_provider(silent, access_token_lifetime=3600)
    connection = make_connection(provider, user, silent)
    Token.objects.update(expires_at=None, next_refresh_at=None)
    age(connection, 2 * HOUR)
    end_access(silent)
    assert call(connection) == 200
    assert Provider.objects.get().learned_access_token_lifetime is None


# How long a refresh token lives


@pytest.mark.security("F22")
def test_the_absolute_lifetime_of_a_grant_is_not_put_off_by_refreshing(user: User, fake: FakeProvider) -> None:
    provider = make_provider(fake, refresh_token_lifetime=90 * 86400)
    connection = make_connection(provider, user, fake)
    Connection.objects.update(authorized_at=DatabaseNow() - 80 * DAY)
    flows.refresh(connection)
    assert days(Token.objects.get().refresh_token_expires_at) == 10


@pytest.mark.security("F22")
@pytest.mark.parametrize("rotates", [True, False])
def test_the_idle_lifetime_is_put_off_by_every_use(rotates: bool, user: User, fake: FakeProvider) -> None:
    fake.oauth2.rotates = rotates
    connection = make_connection(make_provider(fake, refresh_token_idle_lifetime=30 * 86400), user, fake)
    Token.objects.update(refresh_token_expires_at=DatabaseNow() + DAY)
    flows.refresh(connection)
    assert days(Token.objects.get().refresh_token_expires_at) == 30


@pytest.mark.security("F22")
def test_what_the_server_says_of_a_refresh_token_goes_before_what_the_row_says(
    provider: Provider, browser: Client, fake: FakeProvider
) -> None:
    Provider.objects.update(refresh_token_idle_lifetime=30 * 86400)
    tokens = {"access_token": "canary_access_" + "0" * 32, "refresh_token": "canary_refresh_" + "0" * 32}
    said = Answer(200, {**tokens, "token_type": "Bearer", "refresh_token_expires_in": 5 * 86400})
    fake.script("token", said)
    fake.script("userinfo", Answer(200, {"sub": "account-1"}))
    assert walk(browser, provider).status_code == 303
    assert days(Token.objects.get().refresh_token_expires_at) == 5


def test_a_refresh_token_of_which_nothing_new_is_said_lives_as_long_as_before(user: User, fake: FakeProvider) -> None:
    fake.oauth2.rotates = False
    connection = make_connection(make_provider(fake), user, fake)
    Token.objects.update(refresh_token_expires_at=DatabaseNow() + 4 * DAY)
    flows.refresh(connection)
    assert days(Token.objects.get().refresh_token_expires_at) == 4


@pytest.mark.parametrize("said", [0, -5])
def test_a_refresh_token_that_is_given_no_time_is_not_dead_at_once(
    said: int, provider: Provider, user: User, fake: FakeProvider
) -> None:
    connection = make_connection(provider, user, fake)
    tokens = {"access_token": "canary_access_" + "0" * 32, "refresh_token": "canary_refresh_" + "0" * 32}
    fake.script("token", Answer(200, {**tokens, "expires_in": 60, "refresh_token_expires_in": said}))
    flows.refresh(connection)
    assert Token.objects.get().refresh_token_expires_at is None


@pytest.mark.parametrize("life", [3600, 60])
def test_more_validity_than_tokens_have_is_not_asked_for_again_and_again(
    life: int, provider: Provider, user: User, fake: FakeProvider
) -> None:
    fake.oauth2.expires_in = life
    connection = make_connection(provider, user, fake)
    shift_expiry(connection, timedelta(seconds=-1))
    tokens = {flows.access_token(connection, min_validity=timedelta(hours=2)) for _ in range(3)}
    assert (len(tokens), fake.count("token")) == (1, 1)
    Token.objects.update(last_refreshed_at=DatabaseNow() - timedelta(minutes=5))
    assert {
        flows.access_token(connection, min_validity=timedelta(hours=2))
    } == tokens  # there is more than half of it left
    assert fake.count("token") == 1
    shift = timedelta(seconds=life * 0.6)
    Token.objects.update(issued_at=F("issued_at") - shift, expires_at=F("expires_at") - shift)
    assert {flows.access_token(connection, min_validity=timedelta(hours=2))} != tokens
    assert fake.count("token") == 2


# Before they die


@pytest.mark.security("F22")
def test_a_refresh_token_is_used_in_good_time_before_it_dies_unused(user: User, silent: FakeProvider) -> None:
    connection = make_connection(make_provider(silent, refresh_token_idle_lifetime=60 * 86400), user, silent)
    flows.refresh(connection)
    assert days(Token.objects.get().next_refresh_at) == 53
    Token.objects.update(next_refresh_at=DatabaseNow() - HOUR)
    assert due().count() == 1
    (sweep,) = flows.refresh_due()
    assert sweep.refreshed == 1
    assert days(Token.objects.get().next_refresh_at) == 53
    assert not due().exists()


@pytest.mark.security("F22")
def test_a_call_keeps_a_token_without_expiry_alive_as_a_sweep_does(user: User, silent: FakeProvider) -> None:
    connection = make_connection(make_provider(silent, refresh_token_idle_lifetime=60 * 86400), user, silent)
    Token.objects.update(next_refresh_at=DatabaseNow() - HOUR)
    assert call(connection) == 200
    assert silent.count("token") == 1


@pytest.mark.security("F22")
@pytest.mark.parametrize(
    "columns",
    [{"refresh_token_lifetime": 86400}, {"refresh_token_lifetime": 86400, "refresh_token_idle_lifetime": 10 * 86400}, {"refresh_token_idle_lifetime": 600}],
    ids=["absolute", "absolute first", "short"],
)  # fmt: skip
def test_what_cannot_be_put_off_is_not_refreshed_over_and_over(
    columns: dict[str, int], user: User, silent: FakeProvider
) -> None:
    connection = make_connection(make_provider(silent, **columns), user, silent)
    flows.refresh(connection)
    assert Token.objects.get().next_refresh_at is None


@pytest.mark.security("F22")
def test_who_will_be_needed_soon_can_be_listed(user: User, fake: FakeProvider) -> None:
    provider = make_provider(fake)
    rows = {
        name: make_connection(provider, user, fake, subject=name) for name in ("refresh", "access", "later", "never")
    }
    of = {name: Token.objects.filter(connection=row) for name, row in rows.items()}
    of["refresh"].update(refresh_token_expires_at=DatabaseNow() + 3 * DAY)
    of["later"].update(refresh_token_expires_at=DatabaseNow() + 30 * DAY)
    of["access"].update(refresh_token=None, expires_at=DatabaseNow() + DAY)
    shift_expiry(rows["never"], -HOUR)  # it is renewable
    with flows.client_session(provider) as http:
        http.get("/echo")
    names = Connection.objects.dying(7 * DAY).order_by("subject").values_list("subject", flat=True)
    assert list(names) == ["access", "refresh"]
    Connection.objects.update(status="reauthorization_required", reason="invalid_grant")
    assert not Connection.objects.dying(7 * DAY).exists()


def test_what_was_observed_ends_no_connection_that_cannot_be_renewed(
    provider: Provider, browser: Client, silent: FakeProvider
) -> None:
    silent.oauth2.issues_refresh_tokens = False
    Provider.objects.update(learned_access_token_lifetime=600)
    assert walk(browser, provider).status_code == 303
    assert Token.objects.get().expires_at is None


def test_a_repetition_that_fails_otherwise_teaches_nothing(connection: Connection, silent: FakeProvider) -> None:
    age(connection, 2 * HOUR)
    silent.script("api", Answer(401), Answer(503))
    assert call(connection) == 503
    assert Provider.objects.get().learned_access_token_lifetime is None


def test_an_absolute_lifetime_that_is_entered_later_counts_for_what_does_not_rotate(
    user: User, fake: FakeProvider
) -> None:
    fake.oauth2.rotates = False
    connection = make_connection(make_provider(fake), user, fake)
    Provider.objects.update(refresh_token_lifetime=90 * 86400)
    Connection.objects.update(authorized_at=DatabaseNow() - 80 * DAY)
    flows.refresh(connection)
    assert days(Token.objects.get().refresh_token_expires_at) == 10
