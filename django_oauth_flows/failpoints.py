"""Named steps at which a test may stop, delay or kill a process: a public aid for tests, inert until one is armed.

::

    with failpoints.armed("after_response", lambda: os.kill(os.getpid(), signal.SIGKILL)):
        flows.refresh(connection)

Only code of the same process arms one. No setting and no environment variable does, and the package itself never does.
"""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Failpoint(StrEnum):
    """The steps, in the order in which they are reached. A token that is fresh reaches none."""

    CODE_EXCHANGED = "code_exchanged"  # a callback: the answer to the code is read, nothing of it is stored

    BEFORE_LEASE = "before_lease"  # a refresh is due, nothing is written
    AFTER_LEASE = "after_lease"  # the lease is taken and the attempt journalled, nothing is sent
    BEFORE_REQUEST = "before_request"  # the request is made up and about to be sent; again if it is repeated
    AFTER_RESPONSE = "after_response"  # the provider's answer is read, nothing of it is stored
    BEFORE_COMMIT = "before_commit"  # the new tokens are sealed, and about to be stored by one statement
    AFTER_COMMIT = "after_commit"  # they are committed, nobody has been told
    BEFORE_RELEASE = "before_release"  # the attempt has failed, the lease is still held


_acts: dict[Failpoint, Callable[[], object]] = {}


def reach(point: Failpoint) -> None:
    """Say that ``point`` is reached. Whatever it was armed with runs here, and what that raises is raised here."""
    if _acts and (act := _acts.get(point)) is not None:
        act()


def arm(point: str, act: Callable[[], object]) -> None:
    """Let this process run ``act`` whenever it reaches ``point``, in whichever thread does.

    Raises ``ValueError`` for a name that is not in :class:`Failpoint`.
    """
    _acts[Failpoint(point)] = act


def disarm(point: str) -> None:
    """Let ``point`` be passed again. Raises ``ValueError`` for a name that is not in :class:`Failpoint`."""
    _acts.pop(Failpoint(point), None)


@contextmanager
def armed(point: str, act: Callable[[], object]) -> Iterator[None]:
    """:func:`arm` for the time of the block."""
    arm(point, act)
    try:
        yield
    finally:
        disarm(point)
