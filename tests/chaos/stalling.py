"""Threads that stop at a failpoint until the test lets them go on."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import connections

from django_oauth_flows import failpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def stalled_at(point: str, act: Callable[[], Any]) -> Iterator[list[Any]]:
    """Run ``act`` in a thread that stands at ``point`` during the block, and goes on after it.

    Yields a list that holds its result, or the exception it raised, once the block has ended. Others pass the point.
    """
    reached, go, ends = threading.Event(), threading.Event(), []

    def stop() -> None:
        if threading.current_thread() is thread and not reached.is_set():
            reached.set()
            go.wait(30)

    def run() -> None:
        try:
            ends.append(act())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            ends.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    with failpoints.armed(point, stop):
        thread.start()
        try:
            assert reached.wait(15), f"{point} was not reached: {ends}"
            yield ends
        finally:
            go.set()
            thread.join()
