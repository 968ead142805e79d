"""Remember what connections are used for, without a write on the way: one UPDATE per connection and quarter of an hour."""

from __future__ import annotations

import atexit
import threading
import time
from typing import TYPE_CHECKING, Any

from django.core.signals import request_finished
from django.db import Error

from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.history import logger
from django_oauth_flows.models import Connection

if TYPE_CHECKING:
    from uuid import UUID

INTERVAL = 900.0
"""Seconds between two writes about the same connection by one process."""


class _Usage:
    """Uses noted since the last write, by connection; shared by the threads of the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[UUID, str] = {}
        self._written: dict[UUID, float] = {}

    def note(self, connection_id: UUID, purpose: str) -> None:
        with self._lock:
            self._pending[connection_id] = purpose or self._pending.get(connection_id, "")

    def due(self) -> dict[UUID, str]:
        if not self._pending:
            return {}
        with self._lock:
            oldest = time.monotonic() - INTERVAL
            due = {pk: purpose for pk, purpose in self._pending.items() if self._written.get(pk, oldest) <= oldest}
            for pk in due:
                del self._pending[pk]
                self._written[pk] = time.monotonic()
            return due


_usage = _Usage()


def note(connection_id: UUID, purpose: str) -> None:
    """Note a use, in memory."""
    _usage.note(connection_id, purpose[:100])


def flush(**_: Any) -> None:
    """Write what is due. Runs after a request has been answered and when the process ends; never raises."""
    for connection_id, purpose in _usage.due().items():
        values: dict[str, Any] = {"last_used_at": DatabaseNow()}
        if purpose:
            values["last_purpose"] = purpose
        try:
            Connection.objects.filter(pk=connection_id).update(**values)
        except Error:  # a broken connection's is not a DatabaseError
            logger.info("oauth_flows.usage_not_recorded", extra={"connection": str(connection_id)})


request_finished.connect(flush, dispatch_uid="oauth_flows.usage")
atexit.register(flush)
