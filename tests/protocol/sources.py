"""Token sources whose token can be replaced, or be gone."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from django_oauth_flows.protocol.messages import ClientRegistration, Credentials
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from django_oauth_flows.testing import FakeProvider


class Source:
    """A list of tokens, each worth something once the one before was refused."""

    def __init__(self, registration: ClientRegistration, *tokens: str, secret: str = "") -> None:
        self.registration, self.tokens, self.generation = registration, list(tokens), 0
        self.secret = Secret(secret) if secret else None
        self.rejected: list[int] = []
        self.taken: list[int] = []
        self.failure: Exception | None = None
        self._lock = threading.Lock()

    def current(self, *, rejected: Credentials | None = None) -> tuple[ClientRegistration, Credentials]:
        with self._lock:
            if rejected is not None:
                self.rejected.append(rejected.generation)
                if rejected.generation == self.generation and self.generation + 1 < len(self.tokens):
                    self.generation += 1
            if self.failure is not None and rejected is None:
                raise self.failure
            token = self.tokens[self.generation]
            return self.registration, Credentials(Secret(token), self.secret, generation=self.generation)

    def replaced(self, rejected: Credentials) -> None:
        self.taken.append(rejected.generation)

    async def acurrent(self, *, rejected: Credentials | None = None) -> tuple[ClientRegistration, Credentials]:
        return self.current(rejected=rejected)


def oauth2(fake: FakeProvider, register: Any, *stale: str, **changes: Any) -> Source:
    """Return a source with a living token, behind some that are not."""
    return Source(register(fake, **changes), *stale, fake.oauth2.issue()[0])


def oauth1(fake: FakeProvider, register: Any, **changes: Any) -> Source:
    """Return a source with living OAuth 1.0a credentials."""
    token, secret = fake.oauth1.issue()
    return Source(register(fake, protocol="oauth1", **changes), token, secret=secret)
