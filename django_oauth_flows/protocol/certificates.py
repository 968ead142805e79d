"""Client certificates: what the client shows in a TLS handshake, to prove who it is or that a token is its own. RFC 8705.

One text in PEM holds the certificate, those between it and its authority, and the private key, so that none of them is
ever changed without the others.
"""

from __future__ import annotations

import re
import secrets
import ssl
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from django_oauth_flows.exceptions import ConfigurationError

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

    from django_oauth_flows.protocol.secret import Secret

_KEY = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)


def present(context: ssl.SSLContext, certificate: Secret) -> None:
    """Let ``context`` show the certificate to servers that ask for one.

    OpenSSL reads it from a file alone: one that only we may read, with the key encrypted, and gone right after. Raises
    :class:`ConfigurationError` (``client_certificate_invalid``).
    """
    chain, key = _parsed(certificate)
    password = secrets.token_hex(32).encode()
    hidden = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
    with NamedTemporaryFile(suffix=".pem") as file:
        file.write(b"".join([*(one.public_bytes(Encoding.PEM) for one in chain), hidden]))
        file.flush()
        try:
            context.load_cert_chain(file.name, password=password)
        except ssl.SSLError:
            raise _unusable("The client certificate cannot be used for TLS.") from None


def expires_at(certificate: Secret) -> datetime:
    """Return when the first of the certificates ends; raise as :func:`present` does, also for what could not be shown."""
    chain, _key = _parsed(certificate)
    return min(one.not_valid_after_utc for one in chain)


def _parsed(certificate: Secret) -> tuple[list[x509.Certificate], PrivateKeyTypes]:
    text = certificate.reveal()
    found = _KEY.search(text)
    if found is None:
        raise _unusable("There is no private key beside the client certificate.")
    try:
        chain = x509.load_pem_x509_certificates(_KEY.sub("", text).encode())
        key = load_pem_private_key(found[0].encode(), password=None)
        ours = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        theirs = chain[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _unusable("The client certificate or its key cannot be read.") from None
    if ours != theirs:
        raise _unusable("The private key is not that of the first certificate.")
    return chain, key


def _unusable(message: str) -> ConfigurationError:
    return ConfigurationError(
        message,
        code="client_certificate_invalid",
        hint="Paste the certificate, those above it and its unencrypted private key, all in PEM.",
    )
