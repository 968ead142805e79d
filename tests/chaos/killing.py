"""Processes that die by SIGKILL, in the middle of what a test lets them do."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from django.db import connections

from django_oauth_flows import failpoints

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT: list[object] = []
"""The parent's database connections, in a child: kept, so that nothing closes them there."""


def start(act: Callable[[], object]) -> int:
    """Run ``act`` in a forked process; return its id."""
    if child := os.fork():
        return child
    for connection in connections.all(initialized_only=True):
        KEPT.append(connection.connection)
        connection.connection = None
    try:
        act()
    finally:
        os._exit(0)  # nothing may come back into the child's copy of pytest


def die() -> None:
    """End this process as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(point: str, act: Callable[[], object]) -> None:
    """Let a process do ``act``, and make sure that it was killed at the failpoint ``point``."""
    with failpoints.armed(point, die):
        child = start(act)
    assert was_killed(child), f"{point} was not reached"


def was_killed(child: int) -> bool:
    """Wait for a process to end, and tell whether it was killed."""
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
