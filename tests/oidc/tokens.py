"""ID tokens of any kind, and their verification by a client that knows the fake provider's keys."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from django_oauth_flows.protocol.dialect import Dialect
from django_oauth_flows.protocol.id_token import verified_id_token
from django_oauth_flows.protocol.messages import (
    AuthorizationResponse,
    ClientRegistration,
    IdentityClaims,
    PendingAuthorization,
    ServerMetadata,
    TokenResponse,
    TransportPolicy,
)
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing.openid import half_hash

if TYPE_CHECKING:
    from django_oauth_flows.testing import FakeProvider

NONCE, CODE, ACCESS = "the-nonce-of-this-login", "the-code", "the-access-token"


@dataclass(slots=True)
class Verifier:
    """A client of the fake; ``dialect`` is how it is registered."""

    fake: FakeProvider
    dialect: dict[str, Any] = field(default_factory=dict)
    now: float = field(default_factory=time.time)

    def registration(self) -> ClientRegistration:
        """Return the client's registration."""
        return ClientRegistration(
            name="fake",
            protocol="oauth2",
            server=ServerMetadata(issuer=self.fake.url, jwks_uri=f"{self.fake.url}/jwks"),
            client_id=self.fake.oauth2.client_id,
            client_secret=Secret(self.fake.oauth2.client_secret),
            identity=IdentityClaims("id_token"),
            dialect=Dialect.from_json(self.dialect),
            transport=TransportPolicy(internal=True),
        )

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of an honest token, changed; a value of ``...`` takes a claim out."""
        moment = int(self.now)
        usual = {
            "iss": self.fake.url,
            "sub": "account-1",
            "aud": self.fake.oauth2.client_id,
            "iat": moment,
            "exp": moment + 300,
            "nonce": NONCE,
            "at_hash": half_hash(ACCESS),
        }
        return {name: value for name, value in {**usual, **changes}.items() if value is not ...}

    def verify(self, token: str) -> dict[str, Any]:
        """Verify a token as after an exchange of ``CODE`` for ``ACCESS``."""
        pending = PendingAuthorization(self.registration(), "https://site.example/", ("openid",), nonce=Secret(NONCE))
        answer = TokenResponse(Secret(ACCESS), "Bearer", id_token=Secret(token))
        return verified_id_token(AuthorizationResponse(pending, Secret(CODE)), answer, now=self.now)

    def check(self, **changes: Any) -> dict[str, Any]:
        """Sign changed claims honestly, and verify them."""
        return self.verify(self.fake.openid.sign(self.claims(**changes)))

    def with_dialect(self, **dialect: Any) -> Verifier:
        """Return the client registered otherwise."""
        return replace(self, dialect=dialect)
