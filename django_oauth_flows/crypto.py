"""Encryption at rest: AES-256-GCM, the row as associated data, keys that rotate online.

A sealed value reads ``v1.<key id>.<base64url(nonce ‖ ciphertext)>``. The key id picks the key directly; the associated
data ties the value to one column of one row of one owner at one provider, so that it opens nowhere else.
"""

from __future__ import annotations

import base64
import binascii
import os
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from django.conf import settings as django_settings

from django_oauth_flows.conf import settings
from django_oauth_flows.exceptions import ConfigurationError, DecryptionError
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SECRET_KEY_ENTRY = "SECRET_KEY"
"""In ``ENCRYPTION_KEYS``: the keys derived from ``SECRET_KEY`` and its fallbacks; the only entry if there is none."""

VERSION = "v1"
KEY_BYTES = 32
NONCE_BYTES = 12


def seal(secret: Secret, *, context: bytes) -> str:
    """Encrypt with the first configured key; only the same ``context`` opens it again."""
    key_id, cipher = next(iter(_keyring().items()))
    nonce = os.urandom(NONCE_BYTES)
    sealed = cipher.encrypt(nonce, secret.reveal().encode("utf-8", "surrogatepass"), context)
    return f"{VERSION}.{key_id}.{_b64encode(nonce + sealed)}"


def unseal(value: str, *, context: bytes) -> Secret:
    """Decrypt; raise :class:`DecryptionError` for an unknown key, an altered value, or another context."""
    from cryptography.exceptions import InvalidTag

    try:
        version, key_id, payload = value.split(".")
        blob = _b64decode(payload)
    except (ValueError, binascii.Error):
        raise DecryptionError("A stored secret is not in the sealed format.") from None
    if _b64encode(blob) != payload:  # padding, or bits that stand for nothing
        raise DecryptionError("A stored secret is not in the sealed format.")
    cipher = _keyring().get(key_id)
    if version != VERSION or cipher is None:
        raise DecryptionError("A stored secret was sealed with a key that is not configured.")
    try:
        return Secret(cipher.decrypt(blob[:NONCE_BYTES], blob[NONCE_BYTES:], context).decode("utf-8", "surrogatepass"))
    except (InvalidTag, ValueError):
        raise DecryptionError("A stored secret was altered, or belongs to another row.") from None


def current_key_id() -> str:
    """Return the id of the key that seals new values."""
    return next(iter(_keyring()))


def known_key_ids() -> frozenset[str]:
    """Return the ids of all keys that can open values."""
    return frozenset(_keyring())


def key_id_of(value: str) -> str:
    """Return the key id inside a sealed value, "" if it is not in the sealed format."""
    version, _, rest = value.partition(".")
    return rest.partition(".")[0] if version == VERSION else ""


def generate_key() -> str:
    """Return a new random key for ``OAUTH_FLOWS["ENCRYPTION_KEYS"]``."""
    return _b64encode(os.urandom(KEY_BYTES))


def decode_key(key: str) -> bytes:
    """Return a configured key's bytes; raise :class:`ConfigurationError` unless it is base64url of 32 bytes."""
    try:
        material = _b64decode(key)
    except (ValueError, binascii.Error):
        material = b""
    if len(material) != KEY_BYTES:
        raise ConfigurationError(
            "An entry of OAUTH_FLOWS['ENCRYPTION_KEYS'] is not the base64url encoding of 32 bytes.",
            code="encryption_key_invalid",
            hint='Make one: python -c "from django_oauth_flows.crypto import generate_key; print(generate_key())"',
        )
    return material


def _keyring() -> Mapping[str, AESGCM]:
    """Return the ciphers by key id: the first writes, all read."""
    keys = settings.encryption_keys or (SECRET_KEY_ENTRY,)
    derived = SECRET_KEY_ENTRY in keys
    secrets = (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS) if derived else ()
    return _derive_all(keys, secrets, settings.environment)


@lru_cache(maxsize=8)
def _derive_all(keys: tuple[str, ...], secrets: tuple[str | bytes, ...], environment: str) -> Mapping[str, AESGCM]:
    materials: list[bytes] = []
    for key in keys:
        from_site = [s.encode() if isinstance(s, str) else bytes(s) for s in secrets]
        materials += from_site if key == SECRET_KEY_ENTRY else [decode_key(key)]
    return MappingProxyType(dict(_derive(material, environment) for material in materials))


def _derive(material: bytes, environment: str) -> tuple[str, AESGCM]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    def expand(purpose: str, length: int) -> bytes:
        info = f"django_oauth_flows/v1/{purpose}/{environment}".encode()
        return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(material)

    return expand("key-id", 4).hex(), AESGCM(expand("encryption", KEY_BYTES))


def _b64encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _b64decode(text: str) -> bytes:
    raw = text.encode("ascii")
    return base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
