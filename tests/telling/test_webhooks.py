"""The site's webhook hears of every state change: signed, in the background, again until it has taken it, or for good."""

from __future__ import annotations

import base64
import io
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.db import connections, transaction
from django.views.debug import SafeExceptionReporterFilter
from standardwebhooks import Webhook, WebhookVerificationError

from django_oauth_flows import flows
from django_oauth_flows.exceptions import CannotPersist, ConfigurationError, ReauthorizationRequiredError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.webhooks import RETRIES
from django_oauth_flows.models import Connection, ConnectionEvent, WebhookDelivery
from django_oauth_flows.testing import Answer, Drop, FakeProvider
from django_oauth_flows.testing.factories import shift_expiry, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider

pytestmark = pytest.mark.django_db(transaction=True)


def new_secret() -> str:
    """Return a secret that the canary plug-in finds wherever it should not be, encoded or not."""
    return "whsec_" + base64.b64encode(f"canary_webhook_{secrets.token_hex(16)}".encode()).decode()


SECRET, OLD_SECRET = new_secret(), new_secret()
TAKEN = Answer(204)


@pytest.fixture
def hook(settings: Any) -> Iterator[FakeProvider]:
    """Return the receiver: a server on loopback, which is what ``WEBHOOK_INTERNAL`` is for."""
    with FakeProvider() as server:
        settings.OAUTH_FLOWS = {
            **settings.OAUTH_FLOWS,
            "WEBHOOK_URL": f"{server.url}/hook",
            "WEBHOOK_SECRETS": [SECRET],
            "WEBHOOK_INTERNAL": True,
        }
        yield server


def end(connection: Connection, fake: FakeProvider) -> None:
    """Let the provider say that the grant is over."""
    shift_expiry(connection, timedelta(seconds=-1))
    fake.script("token", Answer(400, {"error": "invalid_grant"}))
    with pytest.raises(ReauthorizationRequiredError):
        flows.access_token(connection)


def queue(number: int = 1, **columns: Any) -> WebhookDelivery:
    """Put messages into the outbox; return the last one."""
    for _ in range(number):
        last = WebhookDelivery.objects.create(type="connection.test", body='{"type":"connection.test"}', **columns)
    return last


def later() -> None:
    """Let the time come for whatever waits."""
    WebhookDelivery.objects.filter(outcome="pending").update(next_attempt_at=DatabaseNow() - timedelta(seconds=1))


@dataclass(frozen=True)
class Slow:
    """Take the message, after a while in which another worker could take it, too."""

    def play(self, handler: BaseHTTPRequestHandler, normal: Callable[[], Answer]) -> None:
        """Answer."""
        time.sleep(0.3)
        TAKEN.play(handler, normal)


def verified(hook: FakeProvider, secret: str = SECRET) -> list[dict[str, Any]]:
    """Let an independent implementation of the specification check and open what has arrived."""
    return [Webhook(secret).verify(request.body, dict(request.headers)) for request in hook.requests]


@pytest.mark.security("L01", "L06", "L07")
def test_every_state_change_is_told_with_ids_and_codes(
    hook: FakeProvider, browser: Client, user: User, provider: Provider, fake: FakeProvider
) -> None:
    walk(browser, provider)
    connection = Connection.objects.get()
    end(connection, fake)
    flows.refresh(connection)
    flows.revoke(connection, actor=user)
    kinds = ["authorized", "needs_reauthorization", "recovered", "revoked", "revocation_finished"]
    assert [event.kind for event in ConnectionEvent.objects.order_by("id")] == kinds
    assert hook.requests == [], "nobody who causes a change waits for the receiver"
    hook.script("api", *[TAKEN] * 5)
    assert flows.deliver_webhooks() == 5
    assert flows.deliver_webhooks() == 0
    messages = verified(hook)
    assert [message["type"] for message in messages] == [f"connection.{kind}" for kind in kinds]
    assert messages[1]["data"] == {
        "connection": str(connection.pk),
        "provider": "fake",
        "owner_model": "auth.user",
        "owner_id": str(user.pk),
        "user": str(user.pk),
        "actor": None,
        "status": "reauthorization_required",
        "outcome": "invalid_grant",
        "correlation_id": "",
    }
    assert messages[3]["data"]["actor"] == str(user.pk)
    assert {request.headers["content-type"] for request in hook.requests} == {"application/json"}
    assert set(WebhookDelivery.objects.values_list("outcome", flat=True)) == {"delivered"}


def test_an_ordinary_refresh_is_no_news(hook: FakeProvider, connection: Connection) -> None:
    WebhookDelivery.objects.all().delete()
    flows.refresh(connection)
    assert not WebhookDelivery.objects.exists()


@pytest.mark.security("L06")
def test_the_message_is_written_with_the_change_or_not_at_all(
    hook: FakeProvider, connection: Connection, user: User
) -> None:
    WebhookDelivery.objects.all().delete()
    with transaction.atomic():
        flows.revoke(connection, actor=user)
        assert WebhookDelivery.objects.filter(type="connection.revoked").exists()
        transaction.set_rollback(True)
    assert not WebhookDelivery.objects.exists()


def test_a_site_without_a_webhook_writes_nothing(connection: Connection) -> None:
    flows.revoke(connection)
    assert not WebhookDelivery.objects.exists()
    queue()
    assert flows.deliver_webhooks() == 0


def test_while_secrets_change_each_of_them_signs(hook: FakeProvider, settings: Any) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "WEBHOOK_SECRETS": [SECRET, OLD_SECRET]}
    queue()
    hook.script("api", TAKEN)
    flows.deliver_webhooks()
    assert verified(hook, SECRET) == verified(hook, OLD_SECRET) == [{"type": "connection.test"}]
    with pytest.raises(WebhookVerificationError):
        verified(hook, new_secret())


@pytest.mark.parametrize("failure", [Answer(500), Answer(404), Drop(), Answer(302, headers={"Location": "/api/echo"})])
def test_what_fails_comes_again_the_same(hook: FakeProvider, failure: Any) -> None:
    row = queue()
    hook.script("api", failure, TAKEN)
    assert flows.deliver_webhooks() == 0
    row.refresh_from_db()
    assert (row.outcome, row.attempts) == ("pending", 1)
    assert row.last_failure in ("http_500", "http_404", "outcome_unknown", "provider_redirect")
    assert flows.deliver_webhooks() == 0, "not before its time"
    assert len(hook.requests) == 1, "nor is a redirect followed"
    later()
    assert flows.deliver_webhooks() == 1
    first, second = hook.requests
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == f"msg_{row.pk.hex}"
    verified(hook)


def test_the_pauses_grow_and_end(hook: FakeProvider, caplog: Any) -> None:
    row = queue()
    hook.script("api", *[Answer(503)] * 20)
    for pause in RETRIES:
        flows.deliver_webhooks()
        row = WebhookDelivery.objects.annotate(now=DatabaseNow()).get()
        assert abs(row.next_attempt_at - row.now - pause) < timedelta(seconds=20)
        later()
    assert flows.deliver_webhooks() == 1
    row.refresh_from_db()
    assert (row.outcome, row.last_failure, row.attempts) == ("failed", "http_503", len(RETRIES) + 1)
    assert row.finished_at is not None
    assert "oauth_flows.webhook_given_up" in caplog.messages
    later()
    assert flows.deliver_webhooks() == 0


def test_a_receiver_may_ask_for_more_time_or_for_no_more(hook: FakeProvider) -> None:
    queue(2)
    hook.script("api", Answer(429, headers={"Retry-After": "1800"}), Answer(410))
    assert flows.deliver_webhooks() == 1
    waits = WebhookDelivery.objects.annotate(now=DatabaseNow()).get(outcome="pending")
    assert waits.next_attempt_at - waits.now > timedelta(seconds=1700)  # type: ignore[attr-defined]
    assert WebhookDelivery.objects.get(outcome="failed").last_failure == "http_410"


def test_a_receiver_that_is_down_is_left_alone(hook: FakeProvider) -> None:
    queue(10)
    hook.script("api", *[Answer(500)] * 10)
    flows.deliver_webhooks()
    assert len(hook.requests) == 3


@pytest.mark.parametrize("url", ["https://127.0.0.1:{port}/", "https://169.254.169.254/"])
def test_private_addresses_need_the_sites_word(url: str, hook: FakeProvider, settings: Any) -> None:
    address = url.format(port=hook.server.server_address[1])
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "WEBHOOK_URL": address, "WEBHOOK_INTERNAL": False}
    queue()
    flows.deliver_webhooks()
    assert WebhookDelivery.objects.get().last_failure == "provider_unreachable"
    assert hook.connections == 0


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "127.0.0.1:{port}", "https://user:pw@127.0.0.1:{port}/"])
def test_an_address_that_may_not_be_called_costs_no_try(url: str, hook: FakeProvider, settings: Any) -> None:
    address = url.format(port=hook.server.server_address[1])
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "WEBHOOK_URL": address, "WEBHOOK_INTERNAL": False}
    queue()
    with pytest.raises(ConfigurationError) as failure:
        flows.deliver_webhooks()
    assert failure.value.code == "endpoint_not_allowed"
    assert WebhookDelivery.objects.get().attempts == hook.connections == 0


def test_nothing_is_sent_within_a_transaction(hook: FakeProvider) -> None:
    queue()
    with pytest.raises(CannotPersist), transaction.atomic():
        flows.deliver_webhooks()
    assert hook.connections == 0


@pytest.mark.skipif(database.vendor == "sqlite", reason="SQLite lets its one writer wait")
def test_of_many_workers_one_sends_each(hook: FakeProvider) -> None:
    queue(4)
    hook.script("api", *[Slow()] * 4)

    def work() -> None:
        try:
            flows.deliver_webhooks()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    ids = [request.headers["webhook-id"] for request in hook.requests]
    assert len(ids) == len(set(ids)) == 4


def test_a_worker_that_has_died_leaves_its_message_to_the_next(hook: FakeProvider) -> None:
    row = queue(lease_owner="00000000-0000-4000-8000-000000000000")
    rows = WebhookDelivery.objects.filter(pk=row.pk)
    rows.update(lease_expires_at=DatabaseNow() + timedelta(seconds=30))
    hook.script("api", TAKEN)
    assert flows.deliver_webhooks() == 0
    rows.update(lease_expires_at=DatabaseNow() - timedelta(seconds=1))
    assert flows.deliver_webhooks() == 1


@pytest.mark.security("L01")
def test_the_secret_is_in_no_message_page_or_report(hook: FakeProvider, settings: Any) -> None:
    said = str(SafeExceptionReporterFilter().get_safe_settings())
    assert SECRET not in said
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "WEBHOOK_SECRETS": [SECRET + "!"]}
    queue()
    with pytest.raises(ConfigurationError) as failure:
        flows.deliver_webhooks()
    assert failure.value.code == "webhook_secret_invalid"
    assert "canary" not in repr(failure.value) + failure.value.hint
    with pytest.raises(CommandError, match="cannot be signed"):
        call_command("deliver_webhooks")


def said_by(command: str, *options: str) -> str:
    """Run a command; return what it said."""
    stdout = io.StringIO()
    call_command(command, *options, stdout=stdout)
    return stdout.getvalue()


def test_the_commands_send(hook: FakeProvider) -> None:
    queue(2)
    hook.script("api", TAKEN, Answer(500), TAKEN)
    assert "webhook messages: 1 finished, 1 still to send" in said_by("deliver_webhooks")
    assert "webhook messages: 1 still to send" in said_by("prune_oauth_flows", "--dry-run")
    later()
    assert "webhook messages: 1 finished" in said_by("prune_oauth_flows")


@pytest.mark.security("L08")
def test_old_messages_go(hook: FakeProvider, settings: Any) -> None:
    old, young = queue(), queue()
    WebhookDelivery.objects.filter(pk=old.pk).update(created_at=DatabaseNow() - timedelta(days=366))
    hook.script("api", TAKEN, TAKEN)
    call_command("prune_oauth_flows")
    assert WebhookDelivery.objects.get() == young


@pytest.mark.security("M01", "M03")
def test_staff_may_look_and_change_nothing(
    hook: FakeProvider, make_user: Callable[..., User], client_for: Callable[[User], Client]
) -> None:
    row = queue(last_failure="http_500")
    staff = make_user("staff", is_staff=True)
    page, listed = f"/admin/oauth_flows/webhookdelivery/{row.pk}/change/", "/admin/oauth_flows/webhookdelivery/"
    assert client_for(staff).get(page).status_code == 403
    staff.user_permissions.set(Permission.objects.filter(codename__endswith="_webhookdelivery"))
    client = client_for(staff)
    assert "http_500" in client.get(listed).content.decode()
    assert "connection.test" in client.get(page).content.decode()
    assert client.post(page, {"body": "x"}).status_code == 403
    client.post(listed, {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"})
    row.refresh_from_db()
    assert row.body == '{"type":"connection.test"}'
