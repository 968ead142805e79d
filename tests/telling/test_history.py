"""The history: who did what to a connection, when, and how it ended. It is added to, handed out, and ends by its age alone."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ReauthorizationRequiredError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import Connection, ConnectionEvent, Token
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import make_connection, shift_expiry, walk
from tests.plugins.canaries import find

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def end(connection: Connection, fake: FakeProvider) -> None:
    """Let the provider say that the grant is over."""
    shift_expiry(connection, timedelta(seconds=-1))
    fake.script("token", Answer(400, {"error": "invalid_grant"}))
    with pytest.raises(ReauthorizationRequiredError):
        flows.access_token(connection)


def exported(user: User, *options: str) -> str:
    """Return what the command hands out about ``user``."""
    stdout = io.StringIO()
    call_command("export_connection_events", "--user", user.get_username(), *options, stdout=stdout)
    return stdout.getvalue()


@pytest.mark.security("L06")
def test_each_state_change_says_who_what_when_and_how_it_ended(
    browser: Client, user: User, make_user: Callable[..., User], provider: Provider, fake: FakeProvider
) -> None:
    staff = make_user("staff")
    before = timezone.now()
    walk(browser, provider)
    connection = Connection.objects.get()
    walk(browser, provider)
    end(connection, fake)
    flows.refresh(connection)
    flows.transfer(connection, to=staff, actor=staff)
    flows.revoke(connection, actor=user)
    imported = make_connection(provider, user, fake, subject="another", actor=staff)
    with flows.client_session(provider) as session:
        assert session.get("/echo").ok
    own = Connection.objects.get(grant_type="client_credentials")
    flows.revoke(own, actor=staff)
    with flows.client_session(provider) as session:
        assert session.get("/echo").ok
    told = [
        (event.connection, event.kind, event.outcome, event.actor)
        for event in ConnectionEvent.objects.order_by("id").exclude(kind="revocation_finished")
    ]
    assert told == [
        (connection, "authorized", "", user),
        (connection, "reauthorized", "", user),
        (connection, "needs_reauthorization", "invalid_grant", None),
        (connection, "recovered", "", None),
        (connection, "transferred", "auth.user", staff),
        (connection, "revoked", "pending", user),
        (imported, "imported", "", staff),
        (own, "authorized", "", None),
        (own, "revoked", "pending", staff),
        (own, "reauthorized", "", None),
    ]
    finished = ConnectionEvent.objects.filter(kind="revocation_finished")
    assert {event.outcome for event in finished} == {"revoked"}
    margin = timedelta(seconds=5)
    assert all(before - margin < event.created_at < timezone.now() + margin for event in ConnectionEvent.objects.all())
    assert find("history", repr(list(ConnectionEvent.objects.values()))) == []


@pytest.mark.security("L06")
def test_what_is_written_down_cannot_be_changed(
    connection: Connection, make_user: Callable[..., User], client_for: Callable[[User], Client]
) -> None:
    event = ConnectionEvent.objects.get()
    event.outcome = "nothing happened"
    with pytest.raises(TypeError, match="only added to"):
        event.save()
    boss = client_for(make_user("boss", is_staff=True, is_superuser=True))
    page = f"/admin/oauth_flows/connection/{connection.pk}/change/"
    form: dict[str, Any] = {
        "events-TOTAL_FORMS": 1, "events-INITIAL_FORMS": 1, "events-0-id": event.pk, "events-0-outcome": "x", "events-0-DELETE": "on",
    }  # fmt: skip
    assert boss.post(page, form).status_code == 403
    assert boss.post(f"/admin/oauth_flows/connectionevent/{event.pk}/change/", {"outcome": "x"}).status_code == 404
    event.refresh_from_db()
    assert event.outcome == ""


@pytest.mark.security("L06")
def test_a_person_gets_their_own_history_and_nobody_elses(
    connection: Connection, user: User, make_user: Callable[..., User], provider: Provider, fake: FakeProvider
) -> None:
    grace = make_user("grace")
    hers = make_connection(provider, grace, fake, subject="hers", actor=user)
    end(connection, fake)
    end(hers, fake)
    rows = json.loads(exported(user))
    assert [(row["connection"], row["what"], row["outcome"]) for row in rows] == [
        (str(connection.pk), "imported", ""),
        (str(hers.pk), "imported", ""),  # which the user did
        (str(connection.pk), "needs_reauthorization", "invalid_grant"),
    ]
    assert [row["by"] for row in rows] == ["", str(user.pk), ""]
    assert {row["provider"] for row in rows} == {"fake"}
    table = list(csv.DictReader(io.StringIO(exported(user, "--format", "csv"))))
    assert table == rows
    assert [row["connection"] for row in json.loads(exported(grace))] == [str(hers.pk)] * 2
    assert find("export", exported(user) + exported(grace)) == []
    with pytest.raises(CommandError, match="no user 'nobody'"):
        call_command("export_connection_events", "--user", "nobody")


@pytest.mark.security("L06", "L08")
def test_the_history_ends_by_its_age_alone(connection: Connection, user: User, settings: Any) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "EVENT_RETENTION_DAYS": 30}
    ConnectionEvent.objects.update(created_at=DatabaseNow() - timedelta(days=31))
    flows.revoke(connection, actor=user)
    connection.delete()
    user.delete()
    assert not Token.objects.exists()
    assert ConnectionEvent.objects.filter(kind="revoked", connection=None, actor=None).exists(), "it outlives them"
    call_command("prune_oauth_flows", stdout=io.StringIO())
    assert set(ConnectionEvent.objects.values_list("kind", flat=True)) == {"revoked", "revocation_finished"}
