"""The fake provider's OAuth 2 server. Every secret it issues begins with ``canary_``, so that a leak is seen."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlencode

from django_oauth_flows.testing.dpop import ProofChecker, ProofRefused
from django_oauth_flows.testing.faults import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_oauth_flows.testing.server import Received


def canary(kind: str) -> str:
    """Return a secret that a scan for ``canary_`` finds wherever it turns up."""
    return f"canary_{kind}_{secrets.token_hex(16)}"


def form_post(redirect_uri: str, parameters: dict[str, str]) -> Answer:
    """Answer with a page whose form posts itself to the client. OAuth 2.0 Form Post Response Mode §2."""
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in parameters.items()
    )
    page = (
        f'<body onload="document.forms[0].submit()"><form method="post" action="{escape(redirect_uri)}">{fields}</form>'
    )
    return Answer(200, page.encode(), {"Content-Type": "text/html; charset=utf-8"})


@dataclass(slots=True)
class FakeGrant:
    """One consent: every token of it dies with it."""

    scopes: str
    subject: str
    alive: bool = True
    nonce: str = ""  # of the authorization request
    certificate: bytes = b""  # what its access tokens are bound to, RFC 8705 §3
    jkt: str = ""  # thumbprint of the key that its tokens are bound to, RFC 9449 §6
    access: dict[str, float] = field(default_factory=dict)  # token → expiry, monotonic
    refresh: dict[str, float] = field(default_factory=dict)  # token → when it was rotated away, 0 while current


class OAuth2Server:
    """State and switches of one authorization server."""

    def __init__(self, url: str) -> None:
        self.issuer = url
        self.client_id = "fake-client"
        self.client_secret = canary("client_secret")
        self.public = False
        self.client_jwk: dict[str, str] | None = None  # the public key that client assertions are verified with
        self._assertions: set[str] = set()
        self.client_certificate = b""  # as DER: what the client has to show instead of anything else, RFC 8705
        self.binds_to_certificate = False
        self.dpop = ProofChecker()  # of proofs at the token and revocation endpoints
        self.requires_dpop = False
        self.dpop_token_type = "DPoP"
        self.requires_par = False
        self.pushed: dict[str, dict[str, str]] = {}
        self.code_challenge_method = "S256"  # "plain", or "" for a server without PKCE
        self.sends_iss = False
        self.denies = False
        self.change_response: Callable[[dict[str, str]], None] = lambda _: None  # edits what goes to the callback
        self.subject, self.name = "account-1", "Ada Lovelace"
        self.granted_scopes: str | None = None  # None: as requested
        self.expires_in: Any = 3600
        self.token_type = "Bearer"
        self.issues_refresh_tokens = True
        self.rotates = True
        self.grace = 0.0  # seconds in which a rotated refresh token still works
        self.reuse_ends_grant = True
        self.revocation_ends_grant = False
        self.id_token: Callable[[FakeGrant, str, str], str | None] | None = None  # for a grant, access token and code
        self.grants: list[FakeGrant] = []
        self._codes: dict[str, dict[str, str]] = {}

    def authorize(self, request: Received) -> Answer:
        """Redirect back at once, as if the user had consented (or denied)."""
        asked = dict(request.query)
        if "request_uri" in asked:
            if set(asked) != {"client_id", "request_uri"} or asked["request_uri"] not in self.pushed:
                return Answer(400, {"error": "invalid_request_uri"})
            asked = self.pushed.pop(asked["request_uri"])
        elif self.requires_par:
            return Answer(400, {"error": "invalid_request"})
        back = {"state": asked.get("state", "")}
        if self.denies:
            back["error"] = "access_denied"
        else:
            code = canary("code")
            self._codes[code] = asked
            back["code"] = code
        if self.sends_iss:
            back["iss"] = self.issuer
        self.change_response(back)
        if asked.get("response_mode") == "form_post":
            return form_post(asked["redirect_uri"], back)
        return Answer(302, headers={"Location": f"{asked['redirect_uri']}?{urlencode(back)}"})

    def push(self, request: Received) -> Answer:
        """Remember the parameters of an authorization request, for one use. RFC 9126 §2."""
        form = request.form
        if self._client(request, form) is not True:
            return Answer(401, {"error": "invalid_client"})
        if form.get("client_id") != self.client_id or "request_uri" in form or "code_challenge" not in form:
            return Answer(400, {"error": "invalid_request"})
        request_uri = f"urn:ietf:params:oauth:request_uri:{secrets.token_urlsafe(16)}"
        self.pushed[request_uri] = form
        return Answer(201, {"request_uri": request_uri, "expires_in": 60})

    def token(self, request: Received) -> Answer:
        """Answer the three grants of RFC 6749 that the package uses."""
        form = request.form
        if self._client(request, form) is not True:
            return Answer(401, {"error": "invalid_client"})
        try:
            key = self._proven(request)
        except ProofRefused as refused:
            return Answer(400, {"error": refused.error, "error_description": refused.reason}, refused.headers)
        answer = self._granted(form, key)
        if self.binds_to_certificate and answer.status == 200:  # noqa: PLR2004
            self._grant_with(answer.body["access_token"]).certificate = request.certificate
        return replace(answer, headers={**answer.headers, **self.dpop.headers(key)}) if key else answer

    def revoke(self, request: Received) -> Answer:
        """Revoke a token, or its whole grant. RFC 7009."""
        form = request.form
        if self._client(request, form) is not True:
            return Answer(401, {"error": "invalid_client"})
        token = form.get("token", "")
        try:
            key = self._proven(request)
        except ProofRefused as refused:
            return Answer(400, {"error": refused.error, "error_description": refused.reason}, refused.headers)
        for grant in self.grants:
            if token in grant.access or token in grant.refresh:
                if grant.jkt != key:
                    return Answer(400, {"error": "invalid_dpop_proof"})
                if self.revocation_ends_grant or token in grant.refresh:
                    grant.alive = False
                grant.access.pop(token, None)
        return Answer(200)

    def issue(self, *, scopes: str = "read", expires_in: float = 3600.0) -> tuple[str, str]:
        """Make a grant without the dance; return an access and a refresh token."""
        grant = FakeGrant(scopes, self.subject)
        self.grants.append(grant)
        access, refresh = canary("access"), canary("refresh")
        grant.access[access] = time.monotonic() + expires_in
        grant.refresh[refresh] = 0
        return access, refresh

    def grant_of(self, access_token: str) -> FakeGrant | None:
        """Return the living grant of a token that has not expired."""
        for grant in self.grants:
            if grant.alive and grant.access.get(access_token, 0) > time.monotonic():
                return grant
        return None

    def _grant_with(self, access_token: str) -> FakeGrant:
        return next(grant for grant in self.grants if access_token in grant.access)

    def redirect_uri_of(self, code: str) -> str:
        """Return the redirect URI that a code was asked for with."""
        return self._codes.get(code, {}).get("redirect_uri", "")

    def tokens_for(self, grant: FakeGrant) -> Answer:
        """Answer with another access token of a grant."""
        return self._tokens(grant, refreshable=False)

    def _client(self, request: Received, form: dict[str, str]) -> bool:
        if self.client_certificate:
            is_shown = request.certificate == self.client_certificate and form.get("client_id") == self.client_id
            return is_shown and "client_secret" not in form and "authorization" not in request.headers
        if self.public:
            return form.get("client_id") == self.client_id and "authorization" not in request.headers
        if "client_assertion" in form:
            return "client_secret" not in form and "authorization" not in request.headers and self._asserts(form)
        basic = request.headers.get("authorization", "")
        if basic.startswith("Basic "):
            pair = base64.b64decode(basic[6:]).decode().split(":")
            used = [unquote_plus(part) for part in pair]
            return used == [self.client_id, self.client_secret] and "client_secret" not in form
        return (form.get("client_id"), form.get("client_secret")) == (self.client_id, self.client_secret)

    def _asserts(self, form: dict[str, str]) -> bool:
        """Verify a client assertion: made by the client, for this issuer alone, for once, and for a minute. RFC 7523 §3."""
        import jwt

        assertion = form["client_assertion"]
        key = self.client_secret if self.client_jwk is None else jwt.PyJWK(self.client_jwk).key
        algorithms = ["HS256"] if self.client_jwk is None else [self.client_jwk["alg"]]
        try:
            claims = jwt.decode(
                assertion,
                key,
                algorithms=algorithms,
                audience=self.issuer,
                issuer=self.client_id,
                options={"require": ["iss", "sub", "aud", "jti", "iat", "exp"], "strict_aud": True},
            )
        except jwt.InvalidTokenError:
            return False
        is_new = claims["jti"] not in self._assertions
        self._assertions.add(claims["jti"])
        known = form.get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        is_short = claims["exp"] - claims["iat"] <= 60  # noqa: PLR2004 - seconds
        return is_new and known and is_short and claims["sub"] == self.client_id == form.get("client_id")

    def _proven(self, request: Received) -> str:
        """Return the thumbprint of the key that a request is proven with, "" for none where none is required."""
        return self.dpop.check(request) if self.requires_dpop or "dpop" in request.headers else ""

    def _granted(self, form: dict[str, str], key: str) -> Answer:
        match form.get("grant_type"):
            case "authorization_code":
                return self._by_code(form, key)
            case "refresh_token":
                return self._by_refresh_token(form, key)
            case "client_credentials":
                grant = FakeGrant(form.get("scope", ""), "client", jkt=key)
                self.grants.append(grant)
                return self._tokens(grant, refreshable=False)
        return Answer(400, {"error": "unsupported_grant_type"})

    def _by_code(self, form: dict[str, str], key: str) -> Answer:
        asked = self._codes.pop(form.get("code", ""), None)
        if (
            asked is None
            or asked.get("dpop_jkt", key) != key  # RFC 9449 §10
            or asked.get("code_challenge") != self._challenge(form.get("code_verifier", ""))
            or asked["redirect_uri"] != form.get("redirect_uri")
        ):
            return Answer(400, {"error": "invalid_grant"})
        scopes = asked.get("scope", "") if self.granted_scopes is None else self.granted_scopes
        grant = FakeGrant(scopes, self.subject, nonce=asked.get("nonce", ""), jkt=key)
        self.grants.append(grant)
        return self._tokens(grant, refreshable=self.issues_refresh_tokens, for_code=form["code"])

    def _challenge(self, verifier: str) -> str | None:
        """Return the challenge that a verifier answers. RFC 7636 §4.6."""
        if not self.code_challenge_method:
            return None
        if self.code_challenge_method == "plain":
            return verifier
        return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()

    def _by_refresh_token(self, form: dict[str, str], key: str) -> Answer:
        presented, now = form.get("refresh_token", ""), time.monotonic()
        for grant in self.grants:
            if presented not in grant.refresh or not grant.alive:
                continue
            if grant.jkt != key:
                break  # it is for whoever has the key, RFC 9449 §5
            rotated_at = grant.refresh[presented]
            if rotated_at and now - rotated_at > self.grace:
                grant.alive = not self.reuse_ends_grant
                break
            if self.rotates:
                grant.refresh[presented] = rotated_at or now
            return self._tokens(grant, refreshable=self.rotates)
        return Answer(400, {"error": "invalid_grant"})

    def _tokens(self, grant: FakeGrant, *, refreshable: bool, for_code: str = "") -> Answer:
        access = canary("access")
        lifetime = self.expires_in if isinstance(self.expires_in, (int, float)) else 3600
        grant.access[access] = time.monotonic() + lifetime
        token_type = self.dpop_token_type if grant.jkt else self.token_type
        body = {"access_token": access, "token_type": token_type, "scope": grant.scopes}
        if self.expires_in is not None:
            body["expires_in"] = self.expires_in
        if refreshable:
            refresh = canary("refresh")
            grant.refresh[refresh] = 0
            body["refresh_token"] = refresh
        id_token = self.id_token(grant, access, for_code) if self.id_token is not None else None
        if id_token is not None:
            body["id_token"] = id_token
        return Answer(200, body)
