"""What the verbs return and pass to each other."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from django_oauth_flows.protocol.json_paths import follow
from django_oauth_flows.protocol.messages import Credentials, Identity, TokenCredentials, TokenResponse
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from django_oauth_flows.models import Connection, Provider

AUTHORIZATION_LIFETIME = 600
"""Seconds a user has to come back from the provider; also how long a parked grant waits for a yes."""

CompletionKind = Literal[
    "connected", "already_connected", "in_progress", "different_account", "account_shared", "tested"
]

SECRETS = ("access_token", "token_secret", "refresh_token", "dpop_key")
"""What is secret of a grant: the columns that travel from ``Token`` to ``Revocation``."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class BrowserCookie:
    """The cookie that binds one authorization to one browser: set it HttpOnly, SameSite=Lax, Secure on https."""

    name: str
    value: Secret
    path: str
    max_age: int  # seconds


@dataclass(frozen=True, slots=True)
class StartedAuthorization:
    """Where to send the browser, and the cookie to send with it."""

    authorization_url: str = field(repr=False)
    cookie: BrowserCookie


@dataclass(frozen=True, slots=True)
class Completion:
    """How a callback ended.

    ``connected``, or ``already_connected`` for a repeat of it; ``in_progress`` while a parallel request completes it;
    ``different_account`` and ``account_shared``: the grant is parked until the user answers the parked page, to which
    ``cookie`` belongs; ``tested``: it was staff's test of the provider, nothing was connected, the report says the rest.
    """

    kind: CompletionKind
    request_id: UUID
    connection: Connection | None = None
    next_url: str = ""
    cookie: BrowserCookie | None = None


@dataclass(frozen=True, slots=True)
class ParkedAuthorization:
    """A grant that waits for the user's yes."""

    kind: CompletionKind
    request_id: UUID
    provider: Provider
    connection: Connection | None  # the one that was to be reconnected
    label: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class PendingDevice:
    """A code that waits to be entered on another device: what to show, and when to look again. RFC 8628 §3.3."""

    request_id: UUID
    provider: Provider
    connection: Connection | None  # the one that is to be reconnected
    user_code: str = field(repr=False)
    verification_uri: str
    verification_uri_complete: str = field(repr=False)  # with the code in it, for a QR code; "" if there is none
    expires_at: datetime
    wait: int  # seconds until the provider may be asked
    kind: Literal["pending"] = "pending"  # beside those of a completion


@dataclass(frozen=True, slots=True)
class StartedDevice:
    """What to show, and the cookie that binds the browser that may see it."""

    pending: PendingDevice
    cookie: BrowserCookie


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """How a refresh ended well: ``refreshed`` is False when another worker's fresh token was adopted."""

    refreshed: bool
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Grant:
    """The tokens of one grant, of either protocol, on their way into storage. Lifetimes in seconds, None if unknown."""

    access_token: Secret
    token_secret: Secret | None = None
    refresh_token: Secret | None = None
    dpop_key: Secret | None = None
    token_type: str = "Bearer"
    expires_in: int | None = None
    refresh_token_expires_in: int | None = None
    scopes: tuple[str, ...] | None = None  # None: as requested
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        tokens: TokenResponse | TokenCredentials,
        *,
        kept: tuple[str, ...] = (),
        callback: Mapping[str, str] | None = None,
    ) -> Grant:
        """Build from a protocol answer, keeping only the allow-listed ``kept`` members of the rest.

        ``callback``: the allow-listed parameters that came with the code. What no database could store is left out.
        """
        found = {name: value for name in kept if (value := follow(tokens.extra, name)) is not None}
        members = {**(callback or {}), **found}
        extra = {name: value for name, value in members.items() if _is_storable(value)}
        if isinstance(tokens, TokenCredentials):
            return cls(access_token=tokens.token, token_secret=tokens.token_secret, token_type="OAuth", extra=extra)
        return cls(
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
            dpop_key=tokens.dpop_key,
            token_type=tokens.token_type,
            expires_in=tokens.expires_in,
            refresh_token_expires_in=tokens.refresh_token_expires_in,
            scopes=tokens.scopes,
            extra=extra,
        )

    @property
    def credentials(self) -> Credentials:
        """Return what authenticates an API call."""
        return Credentials(
            access_token=self.access_token,
            token_secret=self.token_secret,
            token_type=self.token_type,
            dpop_key=self.dpop_key,
        )

    def to_parked(self, identity: Identity) -> Secret:
        """Serialise for parking; only ever stored sealed."""
        return Secret(
            json.dumps(
                {
                    **{name: secret.reveal() if secret else None for name, secret in self._secrets()},
                    "token_type": self.token_type,
                    "expires_in": self.expires_in,
                    "refresh_token_expires_in": self.refresh_token_expires_in,
                    "scopes": self.scopes,
                    "extra": dict(self.extra),
                    "subject": identity.subject,
                    "label": identity.label,
                }
            )
        )

    @classmethod
    def from_parked(cls, parked: Secret) -> tuple[Grant, Identity]:
        """Read back what :meth:`to_parked` wrote."""
        values = json.loads(parked.reveal())
        identity = Identity(subject=values.pop("subject"), label=values.pop("label"))
        for name in SECRETS:
            values[name] = Secret(values[name]) if values[name] else None
        values["scopes"] = None if values["scopes"] is None else tuple(values["scopes"])
        return cls(**values), identity

    def _secrets(self) -> list[tuple[str, Secret | None]]:
        return [(name, getattr(self, name)) for name in SECRETS]


def _is_storable(value: Any, *, depth: int = _MAX_DEPTH) -> bool:
    """Tell whether every database takes ``value`` in a JSON column, and gives it back as it was.

    None takes a lone surrogate; PostgreSQL no NUL; none but Python calls NaN a number; MariaDB nests 32 levels deep.
    """
    if isinstance(value, str):
        return _UNSTORABLE.search(value) is None
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return depth > 0 and all(_is_storable(item, depth=depth - 1) for item in (*value, *value.values()))
    if isinstance(value, list):
        return depth > 0 and all(_is_storable(item, depth=depth - 1) for item in value)
    return value is None or isinstance(value, int)
