"""Send what waits for the site's webhook: in the background only, oldest first, with back-off and an end.

Whoever causes a state change never waits for the receiver. The message lies in the outbox from the moment of the change,
and any number of workers send from there.
"""

from __future__ import annotations

import time
import uuid
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.db import router
from django.db.models import F, Q

from django_oauth_flows.conf import settings
from django_oauth_flows.exceptions import CannotPersist, ConfigurationError, OAuthFlowsError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.durable import in_callers_transaction
from django_oauth_flows.flows.history import logger
from django_oauth_flows.models import WebhookDelivery
from django_oauth_flows.protocol.messages import TransportPolicy
from django_oauth_flows.protocol.parsing import parse_retry_after
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.protocol.urls import check_endpoint
from django_oauth_flows.protocol.webhooks import Receiver, secret_key

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from django_oauth_flows.protocol.transport import ProtocolResponse

DEADLINE = 10.0
"""Seconds in total that the receiver may take to answer."""

LEASE = timedelta(seconds=60)

RETRIES = tuple(
    timedelta(**wait)
    for wait in (
        {"seconds": 5},
        {"minutes": 5},
        {"minutes": 30},
        {"hours": 2},
        {"hours": 5},
        {"hours": 10},
        {"hours": 14},
    )
)
"""The pauses between the tries, a day and a half in all; after the last one the message is given up."""

FAILURES = 3
"""After so many failures in a row the receiver is left alone until the next run: it is down."""

Outcome = WebhookDelivery.Outcome


def deliver_webhooks(*, limit: int = 100) -> int:
    """Send what is due to the site's webhook, at most ``limit`` messages; return how many were taken or given up.

    Nothing without a webhook. Any number of workers may run at once. Raises :class:`ConfigurationError`
    (``endpoint_not_allowed``, ``webhook_secret_invalid``) for a webhook that is set up wrongly, which costs no message a
    try, and :class:`CannotPersist` inside of a transaction, which would last as long as the receiver takes.
    """
    if not settings.webhook_url:
        return 0
    if in_callers_transaction():
        raise CannotPersist("Messages are not sent as a part of a transaction.", hint="Leave it first.")
    receiver, ended, in_a_row = _receiver(), 0, 0
    for row in untold().filter(_due()).order_by("created_at")[:limit]:
        outcome = _deliver(row, receiver)
        ended += outcome in (Outcome.DELIVERED, Outcome.FAILED)
        in_a_row = 0 if outcome in (Outcome.DELIVERED, "") else in_a_row + 1
        if in_a_row >= FAILURES:
            break
    return ended


def _receiver() -> Receiver:
    try:
        check_endpoint(settings.webhook_url, internal=settings.webhook_internal)
    except ValueError as problem:
        raise ConfigurationError(
            f"The webhook may not be called: {problem}.",
            code="endpoint_not_allowed",
            hint="Correct OAUTH_FLOWS['WEBHOOK_URL'].",
        ) from None
    secrets = tuple(Secret(text) for text in settings.webhook_secrets)
    try:
        usable = [secret_key(secret) for secret in secrets]
    except ValueError:
        usable = []
    if not usable:
        raise ConfigurationError(
            "The webhook's messages cannot be signed.",
            code="webhook_secret_invalid",
            hint="OAUTH_FLOWS['WEBHOOK_SECRETS'] is a list of whsec_ and base64 of 24 to 64 bytes.",
        )
    policy = TransportPolicy(
        internal=settings.webhook_internal, proxy=settings.proxy, ca_bundle=settings.ca_bundle, deadline=DEADLINE
    )
    return Receiver(settings.webhook_url, secrets, policy)


def _deliver(row: WebhookDelivery, receiver: Receiver) -> str:
    """Try one message, unless another worker is at it (""); return its outcome so far."""
    worker = uuid.uuid4()
    rows = _rows().filter(pk=row.pk)
    ours = {"lease_owner": worker, "lease_expires_at": DatabaseNow() + LEASE, "attempts": F("attempts") + 1}
    if not rows.filter(_due(), outcome=Outcome.PENDING).update(**ours):
        return ""
    row.refresh_from_db(fields=["attempts"])
    held = rows.filter(lease_owner=worker)
    try:
        answer = receiver.post(row.body, message_id=f"msg_{row.pk.hex}", now=int(time.time()))
    except OAuthFlowsError as error:
        return _not_now(row, held, failure=error.code, wait=0)
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        return _finish(held, Outcome.DELIVERED)
    failure = f"http_{answer.status}"
    if answer.status == HTTPStatus.GONE:  # the receiver's word for: never again
        return _give_up(row, held, failure=failure)
    return _not_now(row, held, failure=failure, wait=_wait(answer))


def _wait(answer: ProtocolResponse) -> int:
    """Return the seconds for which the receiver asks to be left alone."""
    return parse_retry_after(answer.headers.get("retry-after", "")) or 0


def _not_now(row: WebhookDelivery, held: QuerySet[WebhookDelivery], *, failure: str, wait: int) -> str:
    """Postpone, or give up after the last try."""
    if row.attempts > len(RETRIES):
        return _give_up(row, held, failure=failure)
    pause = max(RETRIES[row.attempts - 1], timedelta(seconds=wait))
    held.update(next_attempt_at=DatabaseNow() + pause, last_failure=failure, lease_owner=None, lease_expires_at=None)
    return str(Outcome.PENDING)


def _give_up(row: WebhookDelivery, held: QuerySet[WebhookDelivery], *, failure: str) -> str:
    logger.error("oauth_flows.webhook_given_up", extra={"delivery": str(row.pk), "failure": failure})
    return _finish(held, Outcome.FAILED, failure=failure)


def _finish(held: QuerySet[WebhookDelivery], outcome: WebhookDelivery.Outcome, *, failure: str = "") -> str:
    ended = {"lease_owner": None, "lease_expires_at": None, "next_attempt_at": None, "finished_at": DatabaseNow()}
    held.update(outcome=outcome, last_failure=failure, **ended)
    return str(outcome)


def untold() -> QuerySet[WebhookDelivery]:
    """Return what the site's webhook has not taken yet."""
    return _rows().filter(outcome=Outcome.PENDING)


def _rows() -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.using(router.db_for_write(WebhookDelivery))


def _due() -> Q:
    ready = Q(next_attempt_at=None) | Q(next_attempt_at__lte=DatabaseNow())
    free = Q(lease_expires_at=None) | Q(lease_expires_at__lt=DatabaseNow())
    return ready & free
