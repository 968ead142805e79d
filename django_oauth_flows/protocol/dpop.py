"""Proof of possession: whoever sends a request shows that it has the key that the token is bound to. RFC 9449.

A token has a key if it was asked for with one, and then each of its requests has a proof of its own: for one method, one
address, one moment and, at an API, one token. A server may demand that it names a nonce of the server's as well; which one
is learned from any answer, and the request that was refused for the lack of it is sent once more.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django_oauth_flows.exceptions import TokenEndpointError
from django_oauth_flows.protocol.parsing import raise_for_error
from django_oauth_flows.protocol.transport import send

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import requests

    from django_oauth_flows.protocol.messages import TransportPolicy
    from django_oauth_flows.protocol.secret import Secret
    from django_oauth_flows.protocol.transport import ProtocolResponse

HEADER, SCHEME = "DPoP", "DPoP"
ALGORITHM = "ES256"
"""What proofs are signed by: the one that every server which has proofs at all is likely to take."""

MAX_NONCES = 2048
"""How many nonces a process remembers; the one that was learned first is forgotten first."""

_NONCE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1000}")  # RFC 9449 §8.1, and short enough for a header
_CHALLENGE = re.compile(r"(?:^|[\s,])dpop\s", re.IGNORECASE)
_NONCE_WANTED = re.compile(r"""error\s*=\s*"?use_dpop_nonce(?:"|[\s,]|$)""", re.IGNORECASE)


def new_key() -> Secret:
    """Return a new key, for one grant."""
    from django_oauth_flows.protocol.keys import new_ec_key  # only who signs waits for cryptography to load

    return new_ec_key()


def thumbprint_of(key: Secret) -> str:
    """Return ``dpop_jkt``, what an authorization request commits to its key with. RFC 9449 §10."""
    from django_oauth_flows.protocol.keys import shown_thumbprint

    return shown_thumbprint(key)


def proof(key: Secret, *, method: str, url: str, now: int, token: Secret | None = None, nonce: str = "") -> str:
    """Return a proof for one request; ``token``: the one that an API call bears, ``now`` in seconds since 1970. RFC 9449 §4.2."""
    from django_oauth_flows.protocol.keys import sign_shown

    claims = {
        "jti": secrets.token_urlsafe(16),
        "htm": method,
        "htu": target(url),
        "iat": now,
        **({"ath": hash_of(token)} if token is not None else {}),
        **({"nonce": nonce} if nonce else {}),
    }
    return sign_shown(key, claims, kind="dpop+jwt")


def target(url: str) -> str:
    """Return what a proof says of where its request goes: all but query and fragment."""
    return url.partition("#")[0].partition("?")[0]


def hash_of(token: Secret) -> str:
    """Return ``ath``, which ties a proof to the access token beside it. RFC 9449 §4.2."""
    return base64.urlsafe_b64encode(hashlib.sha256(token.reveal().encode()).digest()).rstrip(b"=").decode()


def prove(prepared: requests.PreparedRequest, key: Secret, *, token: Secret | None = None) -> None:
    """Put a fresh proof on a request that is about to be sent, for the address that it has now."""
    url = str(prepared.url)
    prepared.headers[HEADER] = proof(
        key,
        method=str(prepared.method),
        url=url,
        now=int(time.time()),
        token=token,
        nonce=_nonces.of(url, key, at_api=token is not None),
    )


def send_proven(
    make: Callable[[], requests.PreparedRequest],
    key: Secret | None,
    *,
    policy: TransportPolicy,
    token: Secret | None = None,
) -> ProtocolResponse:
    """Send a protocol request with a proof, if there is a ``key``; once more if the server wants a nonce in it.

    It has not looked at anything else then: no code is used up, no refresh token refused (RFC 9449 §8). The request is
    made anew, since a client assertion in it is good for one. Both have the policy's deadline together. Raises what
    :func:`send` raises.
    """
    if key is None:
        return send(make(), policy=policy)
    until = time.monotonic() + policy.deadline
    response = _sent(make(), key, policy=policy, deadline=policy.deadline, token=token)
    if not _wants_nonce(response):
        return response
    return _sent(make(), key, policy=policy, deadline=until - time.monotonic(), token=token)


def learn(headers: Mapping[str, str], url: str, key: Secret, *, at_api: bool) -> None:
    """Remember the nonce that an answer from ``url`` names, whatever else it says. RFC 9449 §8.2, §9."""
    nonce = headers.get("dpop-nonce", "")
    if _NONCE.fullmatch(nonce) is not None:
        _nonces.keep(nonce, url, key, at_api=at_api)


def asks_for_nonce(headers: Mapping[str, str]) -> bool:
    """Tell whether an API refuses a request for the lack of a nonce alone, and says which it wants. RFC 9449 §9."""
    challenge = headers.get("www-authenticate", "")
    is_challenge = _CHALLENGE.search(challenge) is not None and _NONCE_WANTED.search(challenge) is not None
    return is_challenge and _NONCE.fullmatch(headers.get("dpop-nonce", "")) is not None


def blames_proof(headers: Mapping[str, str]) -> bool:
    """Tell whether an API has refused the proof: another token would fare no better."""
    challenge = headers.get("www-authenticate", "")
    return _NONCE_WANTED.search(challenge) is not None or "invalid_dpop_proof" in challenge


def _sent(
    prepared: requests.PreparedRequest, key: Secret, *, policy: TransportPolicy, deadline: float, token: Secret | None
) -> ProtocolResponse:
    prove(prepared, key, token=token)
    response = send(prepared, policy=policy, deadline=deadline)
    learn(response.headers, str(prepared.url), key, at_api=token is not None)
    return response


def _wants_nonce(response: ProtocolResponse) -> bool:
    if response.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED):
        return False
    if _NONCE.fullmatch(response.headers.get("dpop-nonce", "")) is None:
        return False
    if asks_for_nonce(response.headers):
        return True
    try:
        raise_for_error(response)
    except TokenEndpointError as error:
        return error.error == "use_dpop_nonce"
    return False


class NonceCache:
    """The last nonce that a server has given to a key. What it gave to one user's says nothing to another's.

    An authorization server and an API may share an origin, and give out nonces of their own.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, bool, bytes], str] = {}
        self._lock = threading.Lock()

    def of(self, url: str, key: Secret, *, at_api: bool) -> str:
        """Return the nonce for the server at ``url``, "" if it has given none."""
        return self._kept.get(_place(url, key, at_api=at_api), "")

    def keep(self, nonce: str, url: str, key: Secret, *, at_api: bool) -> None:
        """Remember a nonce instead of the one before."""
        place = _place(url, key, at_api=at_api)
        with self._lock:
            self._kept.pop(place, None)
            self._kept[place] = nonce
            while len(self._kept) > MAX_NONCES:
                del self._kept[next(iter(self._kept))]


def _place(url: str, key: Secret, *, at_api: bool) -> tuple[str, str, bool, bytes]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower(), at_api, hashlib.sha256(key.reveal().encode()).digest()


_nonces = NonceCache()


def _forget() -> None:
    """Start anew in a forked child: a lock that another thread held at the fork would stay locked."""
    global _nonces  # noqa: PLW0603 - nobody else holds it
    _nonces = NonceCache()


os.register_at_fork(after_in_child=_forget)
