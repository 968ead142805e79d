"""The fake provider's OpenID Connect side: metadata, keys, ID tokens and userinfo, honest until a switch says otherwise.

Keys are made once per process: a new RSA key takes longer than most tests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from django_oauth_flows.testing.faults import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django_oauth_flows.testing.api import ProtectedAPI
    from django_oauth_flows.testing.oauth2 import FakeGrant, OAuth2Server
    from django_oauth_flows.testing.server import Received

Claims = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key, and the name under which its public half is published; ``kid`` None: it has no name."""

    private: Any = field(repr=False)
    algorithm: str = "RS256"
    kid: str | None = "key-1"

    def public(self) -> Claims:
        """Return the JSON Web Key that anybody may see."""
        import jwt

        made = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        named = {} if self.kid is None else {"kid": self.kid}
        return {**made, **named, "use": "sig", "alg": self.algorithm}


def new_key(number: int = 1, algorithm: str = "RS256") -> SigningKey:
    """Return the process's key of that number: another number, another key."""
    return _made(number, algorithm)


@cache
def _made(number: int, algorithm: str) -> SigningKey:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    curves: Any = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
    private: Any
    if algorithm in curves:
        private = ec.generate_private_key(curves[algorithm]())
    elif algorithm == "EdDSA":
        private = ed25519.Ed25519PrivateKey.generate()
    else:
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return SigningKey(private, algorithm, f"key-{number}")


class OpenIDServer:
    """Switches of one OpenID provider.

    ``change_claims`` and ``change_header`` edit an ID token before it is signed, ``change_token`` afterwards;
    ``change_answer`` and ``change_signed_answer`` do so with a signed authorization response;
    ``change_refreshed`` edits the claims of those that come with a refresh; ``change_metadata`` the discovery document;
    ``change_userinfo`` what userinfo tells, which is signed if ``signs_userinfo``. ``keys`` are published, the first signs.
    """

    def __init__(self, url: str, oauth2: OAuth2Server, api: ProtectedAPI) -> None:
        self.url = url
        self.keys: list[SigningKey] = []
        self.published: Any = None  # a whole key set, instead of the keys' public halves
        self.signing_key: SigningKey | None = None  # instead of the first
        self.shared_secret = ""  # signs with HS256 instead
        self.signs_userinfo = False
        self.issues_id_tokens = True
        self.always_issues_id_tokens = False  # without the scope openid as well
        self.change_claims: Callable[[Claims], None] = _nothing
        self.change_refreshed: Callable[[Claims], None] = _nothing
        self.change_header: Callable[[Claims], None] = _nothing
        self.change_token: Callable[[str], str] = str
        self.change_metadata: Callable[[Claims], None] = _nothing
        self.change_answer: Callable[[Claims], None] = _nothing
        self.change_signed_answer: Callable[[str], str] = str
        self.change_userinfo: Callable[[Claims], None] = _nothing
        self.issued: list[str] = []
        self._oauth2 = oauth2
        self._api = api
        oauth2.id_token, oauth2.sign_answer = self.id_token, self.answer

    @property
    def key(self) -> SigningKey:
        """Return the key that signs."""
        self._ready()
        return self.signing_key or self.keys[0]

    def rotate(self, *, number: int = 2, keeps_old: bool = False) -> None:
        """Sign with another key from now on, and publish it."""
        self._ready()
        self.keys = [new_key(number, self.keys[0].algorithm), *(self.keys if keeps_old else ())]

    def metadata(self, request: Received) -> Answer:
        """Answer with the discovery document."""
        document: Claims = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "revocation_endpoint": f"{self.url}/revoke",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/jwks",
            "scopes_supported": ["openid", "offline_access", "read", "write"],
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "subject_types_supported": ["public"],
        }
        self.change_metadata(document)
        return Answer(200, document)

    def jwks(self, request: Received) -> Answer:
        """Publish the keys."""
        self._ready()
        return Answer(200, {"keys": [key.public() for key in self.keys]} if self.published is None else self.published)

    def id_token(self, grant: FakeGrant, access_token: str, code: str) -> str | None:
        """Return the ID token that goes with an access token; None for a grant without ``openid``, as a rule."""
        is_asked = self.always_issues_id_tokens or "openid" in grant.scopes.split()
        if not is_asked or not self.issues_id_tokens:
            return None
        now = int(time.time())
        claims: Claims = {
            "iss": self.url,
            "sub": grant.subject,
            "aud": self._oauth2.client_id,
            "iat": now,
            "exp": now + 300,
            "name": self._oauth2.name,
            "at_hash": half_hash(access_token),
        }
        if code:
            claims |= {"nonce": grant.nonce, "c_hash": half_hash(code)}
            self.change_claims(claims)
        else:
            self.change_refreshed(claims)
        made = self.change_token(self.sign(claims, change_header=self.change_header))
        self.issued.append(made)
        return made

    def answer(self, back: Mapping[str, str]) -> str:
        """Return a signed authorization response. JARM §2.1."""
        claims: Claims = {**back, "iss": self.url, "aud": self._oauth2.client_id, "exp": int(time.time()) + 300}
        self.change_answer(claims)
        return self.change_signed_answer(self.sign(claims, change_header=self.change_header))

    def userinfo(self, request: Received) -> Answer:
        """Say which account the token is for, in JSON or signed."""
        answer = self._api.userinfo(request)
        if answer.status != 200:  # noqa: PLR2004
            return answer
        claims = dict(answer.body)
        if self.signs_userinfo:
            claims |= {"iss": self.url, "aud": self._oauth2.client_id}
        self.change_userinfo(claims)
        if not self.signs_userinfo:
            return Answer(200, claims)
        return Answer(200, self.sign(claims), {"Content-Type": "application/jwt"})

    def sign(self, claims: Mapping[str, Any], *, change_header: Callable[[Claims], None] | None = None) -> str:
        """Return the claims as a signed token."""
        key = self.key
        algorithm = "HS256" if self.shared_secret else key.algorithm
        header: Claims = {"alg": algorithm, "typ": "JWT"}
        if key.kid is not None and not self.shared_secret:
            header["kid"] = key.kid
        (change_header or _nothing)(header)
        return assemble(header, claims, key.private, algorithm, self.shared_secret)

    def _ready(self) -> None:
        if not self.keys:
            self.keys = [new_key()]


def nameless(key: SigningKey) -> SigningKey:
    """Return the key without a name, as it is published and named in tokens."""
    return replace(key, kid=None)


def assemble(header: Any, claims: Any, private: Any, algorithm: str, secret: str = "") -> str:
    """Sign any header and any claims (bytes: as they are), also such as no library would."""
    import jwt

    signing_input = f"{_encoded(header)}.{_encoded(claims)}"
    signer = jwt.get_algorithm_by_name(algorithm)
    signature = signer.sign(signing_input.encode(), signer.prepare_key(secret) if secret else private)
    return f"{signing_input}.{b64(signature)}"


def half_hash(secret: str, digest: str = "sha256") -> str:
    """Return ``at_hash`` or ``c_hash``: the left half of a hash. OpenID Connect Core 1.0 §3.1.3.6."""
    whole = hashlib.new(digest, secret.encode()).digest()
    return b64(whole[: len(whole) // 2])


def b64(raw: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _encoded(value: Any) -> str:
    return b64(value if isinstance(value, bytes) else json.dumps(value).encode())


def _nothing(_: Claims) -> None:
    """Change nothing."""
