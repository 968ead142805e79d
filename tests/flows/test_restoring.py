"""A database that was brought back from a backup presents no refresh token of its own accord."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ReauthorizationRequiredError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.fleet import due
from django_oauth_flows.models import Connection, Token
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import make_connection, make_provider, shift_expiry

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def under_way(*, since: timedelta) -> dict[str, Any]:
    """Return the columns of a lease that was taken so long ago."""
    worker = uuid.uuid4()
    return {
        "lease_owner": worker, "lease_expires_at": DatabaseNow() - since + timedelta(seconds=13),
        "attempt_id": worker, "attempt_started_at": DatabaseNow() - since, "attempt_count": 1,
    }  # fmt: skip


def bring_back(rows: list[dict[str, Any]]) -> None:
    """Write rows as they were in the backup."""
    for row in rows:
        Token.objects.filter(pk=row["id"]).update(**{name: row[name] for name in row if name != "id"})


@pytest.fixture
def restored(provider: Provider, user: User, fake: FakeProvider) -> dict[str, Connection]:
    """Return connections of a backup: one was rotated after it, one was being refreshed during it, one did nothing."""
    made = {name: make_connection(provider, user, fake, subject=name) for name in ("rotated", "leased", "idle")}
    for connection in made.values():
        shift_expiry(connection, timedelta(seconds=30))  # due, and valid yet
    leased = Token.objects.filter(connection=made["leased"])
    leased.update(**under_way(since=timedelta(days=1)))
    backup = list(Token.objects.values())
    flows.refresh(made["rotated"])
    bring_back(backup)
    fake.requests.clear()
    return made


@pytest.mark.security("F04")
def test_no_sweep_presents_what_a_backup_holds_and_calls_do_as_they_need_it(
    restored: dict[str, Connection], fake: FakeProvider
) -> None:
    assert due().count() == 3
    assert flows.settle_restored() == 0
    assert flows.refresh_due(within=timedelta(days=1)) == []
    for connection in restored.values():
        assert flows.access_token(connection)
    assert fake.count("token") == 0  # served as they are, though they would be due
    assert set(Token.objects.values_list("lease_owner", "attempt_id", "attempt_count", "next_refresh_at")) == {
        (None, None, 1, None)
    }

    for connection in restored.values():
        shift_expiry(connection, timedelta(seconds=-1))
        Token.objects.filter(connection=connection).update(next_refresh_at=None)
    assert flows.access_token(restored["idle"])
    assert flows.access_token(restored["leased"])
    back = Token.objects.get(connection=restored["idle"])
    assert back.next_refresh_at is not None  # in the schedule again
    assert back.attempt_count == 0
    with pytest.raises(ReauthorizationRequiredError) as refused:
        flows.access_token(restored["rotated"])
    assert refused.value.reason == "outcome_unknown"
    assert fake.count("token") == 3


def test_a_failure_for_now_leaves_the_doubt(restored: dict[str, Connection], fake: FakeProvider) -> None:
    flows.settle_restored()
    shift_expiry(restored["rotated"], timedelta(seconds=-1))
    fake.script("token", Answer(429, "later"))
    with pytest.raises(Exception, match="just now"):
        flows.access_token(restored["rotated"])
    Token.objects.update(not_before=None)  # later
    with pytest.raises(ReauthorizationRequiredError) as refused:
        flows.access_token(restored["rotated"])
    assert refused.value.reason == "outcome_unknown"


def test_it_may_be_repeated_and_takes_batches(restored: dict[str, Connection]) -> None:
    steps: list[int] = []
    assert flows.settle_restored(batch_size=2, advance=steps.append) == 0
    assert steps == [2, 1]
    before = list(Token.objects.order_by("pk").values())
    assert flows.settle_restored(batch_size=1) == 0
    assert list(Token.objects.order_by("pk").values()) == before


def test_what_is_being_refreshed_just_now_is_left_alone(restored: dict[str, Connection]) -> None:
    leased = Token.objects.filter(connection=restored["leased"])
    leased.update(**under_way(since=timedelta(0)))
    before = leased.values().get()
    assert flows.settle_restored() == 1
    assert leased.values().get() == before
    leased.update(lease_expires_at=DatabaseNow() - timedelta(seconds=1))
    assert flows.settle_restored() == 0
    assert leased.get().lease_owner is None


def test_one_provider_can_be_settled_alone_and_the_sites_own_grants_go_on(
    restored: dict[str, Connection], user: User, fake: FakeProvider
) -> None:
    other = make_provider(fake, slug="other", token_endpoint_auth_method="client_secret_post")
    elsewhere = make_connection(other, user, fake)
    shift_expiry(elsewhere, timedelta(seconds=-1))
    with flows.client_session(other) as http:
        assert http.get("/echo").status_code == 200
    own = Connection.objects.get(grant_type="client_credentials")
    shift_expiry(own, timedelta(seconds=-1))
    assert flows.settle_restored(provider=restored["idle"].provider) == 0
    assert {token.connection_id for token in due()} == {elsewhere.pk, own.pk}
    flows.settle_restored()
    assert [token.connection_id for token in due()] == [own.pk]
