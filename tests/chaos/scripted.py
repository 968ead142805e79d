"""The campaign's provider: in a process of its own, which nobody kills, and therefore the one who knows the truth."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from django_oauth_flows.testing import Answer, Drop, FakeProvider, Half, Reset
from django_oauth_flows.testing.faults import write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from http.server import BaseHTTPRequestHandler
    from multiprocessing.connection import Connection as Pipe

    from django_oauth_flows.testing import Fault, Received
    from django_oauth_flows.testing.oauth2 import FakeGrant

fork = get_context("fork")


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Act, then say 503: a gateway that gave up on the server behind it."""

    def play(self, handler: BaseHTTPRequestHandler, normal: Callable[[], Answer]) -> None:
        """Answer."""
        normal()
        write(handler, Answer(503))


FAULTS: dict[str, Fault] = {"drop": Drop(), "half": Half(), "reset": Reset(after=20), "503": Unavailable()}
"""What can become of an answer: the provider has acted each time, and nobody hears what it said."""


class ScriptedProvider(FakeProvider):
    """A fake provider whose faults are scripted for each grant, by its number in ``oauth2.grants``."""

    def __init__(self, *, grace: float, lifetime: int) -> None:
        super().__init__()
        self.oauth2.grace, self.oauth2.expires_in = grace, lifetime
        self.presented: Counter[int] = Counter()
        self.late: dict[
            int, float
        ] = {}  # grants → seconds after its rotation that a token was presented, beyond the grace
        self._scripts: dict[int, list[str]] = {}
        self._lost: dict[int, list[str]] = defaultdict(list)

    def fault_for(self, endpoint: str, request: Received) -> Fault | None:
        """Count what is presented, and return what is to become of the answer."""
        presented = request.form.get("refresh_token", "")
        found = (n for n, grant in enumerate(self.oauth2.grants) if presented in grant.refresh)
        if endpoint != "token" or (number := next(found, None)) is None:
            return None
        self.presented[number] += 1
        rotated_at = self.oauth2.grants[number].refresh[presented]
        if rotated_at and (age := time.monotonic() - rotated_at) > self.oauth2.grace:
            self.late.setdefault(number, age)
        if not self._scripts.get(number):
            return None
        name = self._scripts[number].pop(0)
        self._lost[number].append(name)
        return FAULTS[name]

    def script_grant(self, number: int, faults: Sequence[str]) -> None:
        """Let the next answers about a grant be lost so; what was scripted before and not played is off."""
        self._scripts[number] = list(faults)
        self._lost.pop(number, None)

    def lost(self, number: int) -> list[str]:
        """Return how answers were lost of the last script."""
        return self._lost.get(number, [])

    def truth(self) -> list[tuple[FakeGrant, int, float | None]]:
        """Return every grant, how often its refresh tokens were presented, and how late one came that came too late."""
        return [(grant, self.presented[n], self.late.get(n)) for n, grant in enumerate(self.oauth2.grants)]


class Remote:
    """A scripted provider in another process; ``ask`` calls one of its methods there."""

    def __init__(self, fake: ScriptedProvider) -> None:
        self._pipe, theirs = fork.Pipe()
        self._process = fork.Process(target=_serve, args=(fake, theirs, self._pipe), daemon=True)
        self._process.start()
        theirs.close()
        fake.server.server_close()  # it is the other process that listens

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call ``method`` and return what it returns."""
        self._pipe.send((method, arguments))
        return self._pipe.recv()

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()
        self._pipe.close()


def _serve(fake: ScriptedProvider, pipe: Pipe, parents: Pipe) -> None:
    parents.close()
    threading.Thread(target=fake.server.serve_forever, daemon=True).start()
    try:
        while True:
            method, arguments = pipe.recv()
            pipe.send(getattr(fake, method)(*arguments))
    except EOFError:  # the campaign is over
        return
