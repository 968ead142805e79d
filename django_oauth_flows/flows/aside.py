"""Run aside what may have to wait for a provider, so that neither an event loop nor Django's own thread waits along.

Django runs a process's (under ASGI: a request's) database work for coroutines in one thread, where ``atomic()`` and a
``TestCase`` hold. A provider that takes its time would keep everybody in that queue waiting. So what needs none is done
there, and what may need one in a thread of ours, with database connections of its own, for as long as it takes.
"""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar

from asgiref.sync import sync_to_async
from django.db import connections

from django_oauth_flows.flows.durable import is_tied

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

THREADS = 16
"""How many calls of one process may wait for providers at once, each with a database connection; others queue."""

_NAME = "oauth_flows_aside"


async def aside(call: Callable[[], T]) -> T:
    """Run ``call`` in a thread of ours; in Django's if only that one sees what is to be seen (a transaction is open).

    Whoever is cancelled leaves at once. The thread goes on, so that an answer that is on its way is stored and the lease
    ends; what had not begun never does. The interpreter waits for it before it exits.
    """
    if await sync_to_async(_belongs_here)():
        return await sync_to_async(call)()
    # Not by sync_to_async: a receiver's own coroutines would run in the caller's loop, and be cancelled with it.
    loop, context = asyncio.get_running_loop(), copy_context()
    return await loop.run_in_executor(_executor(), context.run, _completed, call)


def _belongs_here() -> bool:
    """Tell whether the call is to stay in this thread: its database connection is, or it is one of ours already."""
    # One of ours that waited for another would, with enough of its kind, wait for ever.
    return threading.current_thread().name.startswith(_NAME) or is_tied()


def _completed(call: Callable[[], T]) -> T:
    try:
        return call()
    finally:
        connections.close_all()  # this thread's; nobody else would


def _executor() -> ThreadPoolExecutor:
    global _threads  # noqa: PLW0603 - a fork forgets it
    with _lock:
        if _threads is None:
            _threads = ThreadPoolExecutor(THREADS, thread_name_prefix=_NAME)
        return _threads


_threads: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def _forget() -> None:
    """Start anew in a forked child, which has none of its parent's threads."""
    global _threads, _lock
    # A lock that another thread held at the fork would stay locked.
    _threads, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
