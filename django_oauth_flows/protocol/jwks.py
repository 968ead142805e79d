"""The keys by which a server's signatures are known: fetched through our transport, kept, renewed. RFC 7517, RFC 7518.

PyJWT verifies; what may be verified with which key is decided here: one algorithm per provider, keys of its kind only,
never one that the token itself brings along.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import jwt
import requests

from django_oauth_flows.exceptions import OAuthFlowsError, TokenEndpointError
from django_oauth_flows.protocol.algorithms import FAMILIES, Family
from django_oauth_flows.protocol.endpoints import endpoint_of
from django_oauth_flows.protocol.jws import TokenRefused, read_json, take_apart
from django_oauth_flows.protocol.transport import MAX_BODY, send

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from django_oauth_flows.protocol.jws import SignedToken
    from django_oauth_flows.protocol.messages import ClientRegistration

logger = logging.getLogger("oauth_flows")

MOST_KEYS = 20
"""Keys of one set that are looked at."""

RENEWED_AFTER, KEPT_FOR = 3600.0, 24 * 3600.0
"""Seconds after which a set is fetched again, and for which one is used although it cannot be fetched any more."""

ASKED_EVERY = 60.0
"""Seconds between two extra fetches of one set, however many tokens name keys that it does not have."""

LONGEST_MEMBER = 4096
"""Characters of one number of a key: an RSA key of 16384 bits has 2731."""

_ABOUT = ("kty", "kid", "alg", "use", "key_ops")
_PUBLIC = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}

_SIGNATURES = jwt.PyJWS()


@dataclass(slots=True)
class _Kept:
    """What is known of one address: its last good keys, when they came, and when it was last asked out of turn or in vain."""

    keys: tuple[Mapping[str, Any], ...]
    fetched_at: float
    asked_at: float = -math.inf


class KeyCache:
    """Key sets by where they come from, for all users of a process. ``clock`` returns seconds that only ever grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[tuple[str, bool, str, str], _Kept] = {}
        self._lock = threading.Lock()

    def sets(self, registration: ClientRegistration) -> Iterator[tuple[Mapping[str, Any], ...]]:
        """Yield the keys to try, and once more, newly fetched, for a signature that none of them has made.

        A set that cannot be fetched is replaced by the last good one for a day. Raises :class:`TokenEndpointError`
        (``keys_unavailable``) if there is none.
        """
        with self._lock:
            now, before = self._clock(), self._kept.get(_home(registration))
        known = before
        if known is None or now - known.fetched_at >= RENEWED_AFTER:
            known = self._renewed(registration, before, is_due=True)
        yield known.keys
        if known is before and (newer := self._renewed(registration, known, is_due=False)) is not known:
            yield newer.keys

    def _renewed(self, registration: ClientRegistration, known: _Kept | None, *, is_due: bool) -> _Kept:
        """Return what the server publishes now, or ``known`` if it was asked a moment ago or does not answer."""
        home = _home(registration)
        with self._lock:
            now, present = self._clock(), self._kept.get(home)
            if present is not None:
                if present is not known and now - present.fetched_at < RENEWED_AFTER:
                    return present  # another thread has been faster
                if now - present.asked_at < ASKED_EVERY and now - present.fetched_at < KEPT_FOR:
                    return present
                present.asked_at = now  # before asking: the others go on with what there is
        try:
            keys = _fetched(registration)
        except OAuthFlowsError as error:
            if present is None or now - present.fetched_at >= KEPT_FOR:
                raise TokenEndpointError(
                    "The keys that the service signs with cannot be read.",
                    code="keys_unavailable",
                    hint="Try again later; if it persists, let the site's staff check the provider's jwks_uri.",
                ) from None
            logger.warning("oauth_flows.keys_not_renewed", extra={"provider": registration.name, "code": error.code})
            return present
        fresh = _Kept(keys, now) if is_due else _Kept(keys, now, asked_at=now)
        with self._lock:
            self._kept[home] = fresh
        return fresh


CACHE = KeyCache()
"""The process's own."""


def verified(
    token: str,
    registration: ClientRegistration,
    *,
    algorithm: str,
    types: Collection[str] = ("jwt",),
    cache: KeyCache = CACHE,
) -> dict[str, Any]:
    """Return the claims of a token that ``registration``'s server has signed with ``algorithm``.

    Raises :class:`TokenRefused` for a token that is malformed or not signed by it, and :class:`TokenEndpointError`
    (``keys_unavailable``) if nobody can tell.
    """
    parts = take_apart(token, algorithm=algorithm, types=types)
    family = FAMILIES[algorithm]
    if family.kind == "oct":
        if not any(_has_signed(parts, token, key, algorithm) for key in _shared_keys(registration, family)):
            raise TokenRefused("its signature is wrong")
        return read_json(parts.payload)
    for keys in cache.sets(registration):
        if any(_has_signed(parts, token, key, algorithm) for key in _candidates(keys, parts, family, algorithm)):
            return read_json(parts.payload)
    raise TokenRefused("its signature is wrong, or made with a key that the service does not publish")


def _home(registration: ClientRegistration) -> tuple[str, bool, str, str]:
    transport = registration.transport
    return registration.server.jwks_uri, transport.internal, transport.ca_bundle, transport.proxy


def _fetched(registration: ClientRegistration) -> tuple[Mapping[str, Any], ...]:
    """Ask for the key set; raise for anything but one with keys in it."""
    url = endpoint_of(registration, "jwks_uri")
    request = requests.Request("GET", url, headers={"Accept": "application/json"})
    response = send(request.prepare(), policy=registration.transport)
    try:
        keys = read_json(response.body, limit=MAX_BODY).get("keys")
    except TokenRefused:
        keys = None
    if response.status != HTTPStatus.OK or not isinstance(keys, list):
        raise TokenEndpointError("The service's answer is no set of keys.", status=response.status)
    usable = tuple(filter(None, map(_public, keys[: 5 * MOST_KEYS])))
    if not usable:
        raise TokenEndpointError("The service publishes no keys.", status=response.status)
    return usable[:MOST_KEYS]


def _public(key: Any) -> Mapping[str, Any] | None:
    """Return a key's public members, and what it is for; None for what is none, or longer than any.

    Whoever publishes the private half by mistake is not to crash us with it, and the cache has no business with it.
    """
    members = _PUBLIC.get(str(key.get("kty"))) if isinstance(key, dict) else None
    if members is None or any(len(str(key.get(name, ""))) > LONGEST_MEMBER for name in members):
        return None
    return {name: key[name] for name in (*_ABOUT, *members) if name in key}


def _candidates(
    keys: Iterable[Mapping[str, Any]], parts: SignedToken, family: Family, algorithm: str
) -> Iterator[jwt.PyJWK]:
    """Yield the keys that may have made the signature: those of its name, of any name if it names none."""
    for key in keys:
        if parts.key_id is not None and key.get("kid") != parts.key_id:
            continue
        if family.admits(key) and key.get("alg", algorithm) in (algorithm, family.older_name):
            try:
                made = jwt.PyJWK(dict(key), algorithm)
            except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
                continue  # one bad key does not spoil the others
            if family.is_strong(made.key):
                yield made


def _shared_keys(registration: ClientRegistration, family: Family) -> Iterator[jwt.PyJWK]:
    """Yield the client's secrets as keys, if they are long enough to be any. RFC 7518 §3.2."""
    for secret in (registration.client_secret, registration.second_client_secret):
        raw = secret.reveal().encode() if secret else b""
        if len(raw) >= family.least_bytes:
            encoded = jwt.utils.base64url_encode(raw).decode()
            yield jwt.PyJWK({"kty": "oct", "k": encoded}, family.name)


def _has_signed(parts: SignedToken, token: str, key: jwt.PyJWK, algorithm: str) -> bool:
    try:
        payload = _SIGNATURES.decode(token, key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError, TypeError):
        return False
    return bool(payload == parts.payload)
