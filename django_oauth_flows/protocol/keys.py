"""Private keys: parsed once, since parsing costs fifty times what signing does."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from django_oauth_flows.exceptions import ConfigurationError

if TYPE_CHECKING:
    from django_oauth_flows.protocol.secret import Secret

_DIGESTS: dict[str, type[hashes.SHA1 | hashes.SHA256 | hashes.SHA512]] = {
    "SHA1": hashes.SHA1,
    "SHA256": hashes.SHA256,
    "SHA512": hashes.SHA512,
}


def sign_rsa(private_key: Secret, digest: str, message: str) -> str:
    """Return the base64 RSASSA-PKCS1-v1_5 signature of ``message``. RFC 5849 §3.4.3.

    Raises :class:`ConfigurationError` (``private_key_invalid``) if the PEM holds no RSA key.
    """
    signature = _load(private_key).sign(message.encode(), padding.PKCS1v15(), _DIGESTS[digest]())
    return base64.b64encode(signature).decode()


@lru_cache(maxsize=64)
def _load(private_key: Secret) -> rsa.RSAPrivateKey:
    try:
        key = load_pem_private_key(private_key.reveal().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigurationError(
            "The provider's private key is not an unencrypted RSA key in PEM.",
            code="private_key_invalid",
            hint="Paste the whole PEM, from BEGIN to END.",
        )
    return key
