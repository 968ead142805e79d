"""Send one message to the site's webhook, signed as Standard Webhooks (standardwebhooks.com) asks.

The signature is HMAC-SHA-256 over id, time and body; the receiver refuses what is old, and knows a repetition by its id.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django_oauth_flows.protocol.messages import TransportPolicy
    from django_oauth_flows.protocol.secret import Secret
    from django_oauth_flows.protocol.transport import ProtocolResponse

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a secret, as the specification wants them."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where messages go. With several ``secrets`` each signs, so that the receiver may change to a new one when it likes."""

    url: str
    secrets: tuple[Secret, ...]
    policy: TransportPolicy

    def post(self, body: str, *, message_id: str, now: int) -> ProtocolResponse:
        """Post ``body`` under this id; ``now`` in seconds since 1970.

        Raises what :func:`~django_oauth_flows.protocol.transport.send` raises, and ``ValueError`` for a secret that is none.
        """
        import requests  # the system check of the settings needs no HTTP

        from django_oauth_flows.protocol.transport import send

        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(now),
            "webhook-signature": sign(f"{message_id}.{now}.{body}", self.secrets),
        }
        request = requests.Request("POST", self.url, headers=headers, data=body.encode())
        return send(request.prepare(), policy=self.policy)


def sign(content: str, secrets: Sequence[Secret]) -> str:
    """Return the value of ``webhook-signature``: one signature for each secret."""
    return " ".join(f"v1,{_signature(content, secret_key(secret))}" for secret in secrets)


def secret_key(secret: Secret) -> bytes:
    """Return the key in ``whsec_<base64>``; raise ``ValueError`` if there is none of 24 to 64 bytes."""
    scheme, prefix, encoded = secret.reveal().partition(PREFIX)
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if scheme or not prefix or not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"a webhook secret is {PREFIX} and base64 of {SHORTEST} to {LONGEST} bytes")
    return key


def _signature(content: str, key: bytes) -> str:
    return base64.b64encode(hmac.new(key, content.encode(), hashlib.sha256).digest()).decode()
