"""OAuth 1.0a signatures made without oauthlib: Authlib's client, taught the four methods that it does not have."""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING, Any, ClassVar

from authlib.integrations.requests_client import OAuth1Session
from authlib.integrations.requests_client.oauth1_session import OAuth1Auth
from authlib.oauth1.rfc5849.signature import generate_signature_base_string
from authlib.oauth1.rfc5849.util import escape
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.serialization import load_pem_private_key

if TYPE_CHECKING:
    from collections.abc import Callable

AUTHLIB_METHODS = ("HMAC-SHA1", "RSA-SHA1", "PLAINTEXT")
OWN_METHODS = ("HMAC-SHA256", "HMAC-SHA512", "RSA-SHA256", "RSA-SHA512")


def _hmac_with(digest: str) -> Callable[[Any, Any], str]:
    def sign(client: Any, request: Any) -> str:
        key = f"{escape(client.client_secret or '')}&{escape(client.token_secret or '')}".encode()
        text = generate_signature_base_string(request).encode()
        return base64.b64encode(hmac.digest(key, text, digest)).decode()

    return sign


def _rsa_with(digest: type[SHA256 | SHA512]) -> Callable[[Any, Any], str]:
    def sign(client: Any, request: Any) -> str:
        key: Any = load_pem_private_key(client.rsa_key.encode(), password=None)
        text = generate_signature_base_string(request).encode()
        return base64.b64encode(key.sign(text, PKCS1v15(), digest())).decode()

    return sign


class AllMethodsAuth(OAuth1Auth):
    """Authlib's signer with all seven methods; the base string is Authlib's own."""

    SIGNATURE_METHODS: ClassVar[dict[str, Any]] = {
        **OAuth1Auth.SIGNATURE_METHODS,
        "HMAC-SHA256": _hmac_with("sha256"),
        "HMAC-SHA512": _hmac_with("sha512"),
        "RSA-SHA256": _rsa_with(SHA256),
        "RSA-SHA512": _rsa_with(SHA512),
    }


class AllMethodsSession(OAuth1Session):  # type: ignore[misc]
    """Authlib's OAuth 1.0a client with all seven signature methods."""

    auth_class = AllMethodsAuth
