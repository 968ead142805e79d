"""The fake provider's OAuth 1.0a server. Signatures are verified here straight from RFC 5849, without oauthlib."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from django_oauth_flows.testing.faults import Answer
from django_oauth_flows.testing.oauth2 import canary

if TYPE_CHECKING:
    from django_oauth_flows.testing.server import Received

Pairs = list[tuple[str, str]]

FORM = "application/x-www-form-urlencoded"


@dataclass(slots=True)
class FakeCredentials:
    """Temporary or token credentials."""

    secret: str
    callback: str = ""
    verifier: str = ""


class OAuth1Server:
    """State and switches of one server."""

    def __init__(self, url: str) -> None:
        self.client_id = "fake-consumer"
        self.client_secret = canary("consumer_secret")
        self.public_key: object = None  # an RSA public key of `cryptography`, for RSA-SHA*
        self.confirms_callback: str | None = "true"
        self.denies = False
        self.subject, self.name = "account-1", "Ada Lovelace"
        self.temporary_credentials: dict[str, FakeCredentials] = {}
        self.token_credentials: dict[str, FakeCredentials] = {}
        self._nonces: set[tuple[str, str]] = set()

    def temporary(self, request: Received) -> Answer:
        """Issue temporary credentials. RFC 5849 §2.1."""
        oauth = self._verified(request, {})
        if oauth is None:
            return _refusal()
        token, secret = canary("temporary"), canary("temporary_secret")
        self.temporary_credentials[token] = FakeCredentials(secret, callback=oauth.get("oauth_callback", ""))
        body = {"oauth_token": token, "oauth_token_secret": secret}
        if self.confirms_callback is not None:
            body["oauth_callback_confirmed"] = self.confirms_callback
        return Answer(200, urlencode(body), {"Content-Type": FORM})

    def authorize(self, request: Received) -> Answer:
        """Redirect back at once, as if the user had consented (or denied). RFC 5849 §2.2."""
        token = dict(request.query).get("oauth_token", "")
        credentials = self.temporary_credentials[token]
        separator = "&" if "?" in credentials.callback else "?"
        if self.denies:
            back = {"denied": token}
        else:
            credentials.verifier = canary("verifier")
            back = {"oauth_token": token, "oauth_verifier": credentials.verifier}
        return Answer(302, headers={"Location": f"{credentials.callback}{separator}{urlencode(back)}"})

    def token(self, request: Received) -> Answer:
        """Exchange temporary for token credentials. RFC 5849 §2.3."""
        oauth = self._verified(request, self.temporary_credentials)
        if oauth is None:
            return _refusal()
        temporary = self.temporary_credentials.pop(oauth["oauth_token"])
        if not temporary.verifier or temporary.verifier != oauth.get("oauth_verifier"):
            return _refusal("permission_denied")
        token, secret = self.issue()
        return Answer(200, urlencode({"oauth_token": token, "oauth_token_secret": secret}), {"Content-Type": FORM})

    def revoke(self, request: Received) -> Answer:
        """End the token credentials that signed this request."""
        oauth = self._verified(request, self.token_credentials)
        if oauth is None:
            return _refusal()
        del self.token_credentials[oauth["oauth_token"]]
        return Answer(200)

    def issue(self) -> tuple[str, str]:
        """Make token credentials without the dance."""
        token, secret = canary("token"), canary("token_secret")
        self.token_credentials[token] = FakeCredentials(secret)
        return token, secret

    def is_signed(self, request: Received) -> bool:
        """Tell whether an API request is signed with living token credentials."""
        return self._verified(request, self.token_credentials) is not None

    def _verified(self, request: Received, known: dict[str, FakeCredentials]) -> dict[str, str] | None:
        oauth, signed = collect_parameters(request)
        credentials = known.get(oauth.get("oauth_token", ""))
        if oauth.get("oauth_consumer_key") != self.client_id or (known and credentials is None):
            return None
        once = (oauth.get("oauth_nonce", ""), oauth.get("oauth_timestamp", ""))
        if once in self._nonces:
            return None
        self._nonces.add(once)
        secret = credentials.secret if credentials else ""
        good = verify(
            request, oauth, signed, client_secret=self.client_secret, token_secret=secret, key=self.public_key
        )
        return oauth if good else None


def collect_parameters(request: Received) -> tuple[dict[str, str], Pairs]:
    """Return the ``oauth_`` parameters wherever they stand, and all that is signed. RFC 5849 §3.4.1.3.1."""
    pairs: Pairs = list(request.query)
    if request.headers.get("content-type", "").startswith(FORM):
        pairs += parse_qsl(request.body.decode(), keep_blank_values=True)
    header = request.headers.get("authorization", "")
    if header[:6].lower() == "oauth ":
        for part in header[6:].split(","):
            name, _, value = part.strip().partition("=")
            if name.lower() != "realm":
                pairs.append((unquote(name), unquote(value.strip('"'))))
    oauth = {name: value for name, value in pairs if name.startswith("oauth_")}
    return oauth, [(name, value) for name, value in pairs if name != "oauth_signature"]


def base_string(method: str, url: str, signed: Pairs) -> str:
    """Return the signature base string. RFC 5849 §3.4.1."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}[parts.scheme]
    netloc = host if parts.port in (None, default) else f"{host}:{parts.port}"
    encoded = sorted((escape(name), escape(value)) for name, value in signed)
    normalised = "&".join(f"{name}={value}" for name, value in encoded)
    return "&".join((method.upper(), escape(f"{parts.scheme}://{netloc}{parts.path or '/'}"), escape(normalised)))


def verify(
    request: Received,
    oauth: dict[str, str],
    signed: Pairs,
    *,
    client_secret: str,
    token_secret: str,
    key: object = None,
) -> bool:
    """Check a signature by any of the seven methods. RFC 5849 §3.4.2–3.4.4."""
    method, signature = oauth.get("oauth_signature_method", ""), oauth.get("oauth_signature", "")
    shared = f"{escape(client_secret)}&{escape(token_secret)}"
    if method == "PLAINTEXT":
        return hmac.compare_digest(signature, shared) and request.url.startswith("https:")
    kind, _, digest = method.partition("-")
    text = base_string(request.method, request.url, signed).encode()
    if digest not in ("SHA1", "SHA256", "SHA512"):
        return False
    if kind == "HMAC":
        made = base64.b64encode(hmac.new(shared.encode(), text, digest.lower()).digest()).decode()
        return hmac.compare_digest(made, signature)
    return kind == "RSA" and _verify_rsa(key, signature, text, digest)


def escape(text: str) -> str:
    """Percent-encode as RFC 5849 §3.6 says."""
    return quote(text, safe="-._~")


def _verify_rsa(key: object, signature: str, text: bytes, digest: str) -> bool:
    """Do what RFC 8017 §8.2.2 says with plain numbers: rebuild the padded digest and compare."""
    numbers = key.public_numbers()  # type: ignore[attr-defined]
    size = (numbers.n.bit_length() + 7) // 8
    opened = pow(int.from_bytes(base64.b64decode(signature)), numbers.e, numbers.n).to_bytes(size)
    prefix = bytes.fromhex(
        {
            "SHA1": "3021300906052b0e03021a05000414",
            "SHA256": "3031300d060960864801650304020105000420",
            "SHA512": "3051300d060960864801650304020305000440",
        }[digest]
    )
    tail = b"\x00" + prefix + hashlib.new(digest.lower(), text).digest()
    return bool(opened == b"\x00\x01" + b"\xff" * (size - 2 - len(tail)) + tail)


def _refusal(problem: str = "signature_invalid") -> Answer:
    return Answer(401, urlencode({"oauth_problem": problem}), {"Content-Type": FORM})
