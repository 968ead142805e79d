"""Record state changes, and tell the site about them once they are committed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.db import router, transaction

from django_oauth_flows.models import Connection, ConnectionEvent
from django_oauth_flows.statements import Insert

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.dispatch import Signal

logger = logging.getLogger("oauth_flows")


_EVENT = Insert[ConnectionEvent]()


def record(
    kind: ConnectionEvent.Kind,
    connection: Connection,
    *,
    actor: AbstractBaseUser | AnonymousUser | None = None,
    outcome: str = "",
    correlation_id: str = "",
    using: str | None = None,
) -> None:
    """Append one event to the history."""
    event = ConnectionEvent(
        kind=kind,
        connection=connection,
        provider_id=connection.provider_id,
        actor_id=actor.pk if actor is not None else None,
        outcome=outcome,
        correlation_id=correlation_id,
    )
    _EVENT.run(event, using=using)


def announce(signal: Signal, connection: Connection, *, using: str | None = None, **facts: Any) -> None:
    """Send ``signal`` after the commit; a receiver that raises is logged and undoes nothing."""

    def send() -> None:
        for receiver, answer in signal.send_robust(Connection, connection=connection, **facts):
            if isinstance(answer, Exception):
                logger.error(
                    "oauth_flows.receiver_failed", extra={"receiver": repr(receiver), "error": type(answer).__name__}
                )

    transaction.on_commit(send, using=using or router.db_for_write(Connection), robust=True)
