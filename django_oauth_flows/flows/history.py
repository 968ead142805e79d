"""Record state changes, and tell the site about them once they are committed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.db import Error, connections, router, transaction

from django_oauth_flows.flows.outbox import DELIVERY, delivery_of
from django_oauth_flows.models import Connection, ConnectionEvent
from django_oauth_flows.statements import Insert

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.dispatch import Signal

logger = logging.getLogger("oauth_flows")


RECORD = Insert[ConnectionEvent]()


def record(
    kind: ConnectionEvent.Kind,
    connection: Connection,
    *,
    actor: AbstractBaseUser | AnonymousUser | None = None,
    outcome: str = "",
    correlation_id: str = "",
    using: str | None = None,
) -> None:
    """Append one event to the history, and queue it for the site's webhook if there is one."""
    happened = event(kind, connection, actor=actor, outcome=outcome, correlation_id=correlation_id)
    RECORD.run(happened, using=using)
    if (delivery := delivery_of(happened, connection)) is not None:
        DELIVERY.run(delivery, using=using)


def event(
    kind: ConnectionEvent.Kind,
    connection: Connection,
    *,
    actor: AbstractBaseUser | AnonymousUser | None = None,
    outcome: str = "",
    correlation_id: str = "",
) -> ConnectionEvent:
    """Describe what has happened."""
    return ConnectionEvent(
        kind=kind,
        connection=connection,
        provider_id=connection.provider_id,
        actor_id=actor.pk if actor is not None else None,
        outcome=outcome,
        correlation_id=correlation_id,
    )


def announce(signal: Signal, connection: Connection, *, using: str | None = None, **facts: Any) -> None:
    """Send ``signal`` after the commit; a receiver that raises is logged and undoes nothing of ours or the caller's.

    Our commit may lie within the caller's transaction (a second connection, a ``TestCase``). There a statement that
    fails would take that transaction along, so the receivers run in a savepoint, and what they wrote goes instead.
    """
    home = router.db_for_write(Connection)

    def send() -> None:
        if not connections[home].in_atomic_block:
            _send(signal, connection, facts)
            return
        try:
            with transaction.atomic(using=home):
                if _send(signal, connection, facts):
                    transaction.set_rollback(True, using=home)
        except Error as error:  # a receiver has swallowed it, but the savepoint has not
            logger.warning("oauth_flows.receiver_failed", extra={"error": type(error).__name__})

    transaction.on_commit(send, using=using or home, robust=True)


def _send(signal: Signal, connection: Connection, facts: Mapping[str, Any]) -> bool:
    """Send it; tell whether a receiver has failed with a statement."""
    answers = signal.send_robust(Connection, connection=connection, **facts)
    failures = [(receiver, answer) for receiver, answer in answers if isinstance(answer, Exception)]
    for receiver, error in failures:
        logger.error("oauth_flows.receiver_failed", extra={"receiver": repr(receiver), "error": type(error).__name__})
    return any(isinstance(error, Error) for _, error in failures)
