"""The fake provider's OAuth 2 server. Every secret it issues begins with ``canary_``, so that a leak is seen."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlencode

from django_oauth_flows.testing.faults import Answer
from django_oauth_flows.testing.signed_requests import ClientSigning

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_oauth_flows.testing.server import Received


_AUTHENTICATION = frozenset({"client_secret", "client_assertion", "client_assertion_type"})


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


def _are_details(text: str) -> bool:
    """Tell whether these are authorization details as RFC 9396 §2 has them."""
    try:
        details = json.loads(text)
    except ValueError:
        return False
    return isinstance(details, list) and all(isinstance(d, dict) and isinstance(d.get("type"), str) for d in details)


@dataclass(slots=True)
class FakeGrant:
    """One consent: every token of it dies with it."""

    scopes: str
    subject: str
    alive: bool = True
    nonce: str = ""  # of the authorization request
    details: Any = None  # authorization details, RFC 9396
    access: dict[str, float] = field(default_factory=dict)  # token → expiry, monotonic
    refresh: dict[str, float] = field(default_factory=dict)  # token → when it was rotated away, 0 while current


class OAuth2Server:
    """State and switches of one authorization server."""

    def __init__(self, url: str) -> None:
        self.issuer = url
        self.client_id = "fake-client"
        self.client_secret = canary("client_secret")
        self.public = False
        self.signing = ClientSigning()  # what client assertions and request objects are verified with
        self.audience = url  # whom assertions must name as their reader
        self._assertions: set[str] = set()
        self.requires_par = False
        self.pushed: dict[str, dict[str, str]] = {}
        self.code_challenge_method = "S256"  # "plain", or "" for a server without PKCE
        self.sends_iss = False
        self.denies = False
        self.change_response: Callable[[dict[str, str]], None] = lambda _: None  # edits what goes to the callback
        self.subject, self.name = "account-1", "Ada Lovelace"
        self.granted_scopes: str | None = None  # None: as requested
        self.granted_details: Any = None  # None: as requested, RFC 9396
        self.sign_answer: Callable[[dict[str, str]], str] | None = None  # for the response modes that are signed
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
        else:
            asked = self._opened(asked)
        if not asked or not _are_details(asked.get("authorization_details", "[]")):
            return Answer(400, {"error": "invalid_request_object"})
        back = self._answer(asked)
        self.change_response(back)
        mode = asked.get("response_mode", "query")
        if mode.endswith("jwt") and self.sign_answer is not None:
            back = {"response": self.sign_answer(back)}
        if mode.startswith("form_post"):
            return form_post(asked["redirect_uri"], back)
        return Answer(302, headers={"Location": f"{asked['redirect_uri']}?{urlencode(back)}"})

    def push(self, request: Received) -> Answer:
        """Remember the parameters of an authorization request, for one use. RFC 9126 §2."""
        form = request.form
        if self._client(request, form) is not True:
            return Answer(401, {"error": "invalid_client"})
        form = self._opened(form, beside=_AUTHENTICATION)
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
        match form.get("grant_type"):
            case "authorization_code":
                return self._by_code(form)
            case "refresh_token":
                return self._by_refresh_token(form)
            case "client_credentials":
                grant = FakeGrant(form.get("scope", ""), "client")
                self.grants.append(grant)
                return self._tokens(grant, refreshable=False)
        return Answer(400, {"error": "unsupported_grant_type"})

    def revoke(self, request: Received) -> Answer:
        """Revoke a token, or its whole grant. RFC 7009."""
        form = request.form
        if self._client(request, form) is not True:
            return Answer(401, {"error": "invalid_client"})
        token = form.get("token", "")
        for grant in self.grants:
            if token in grant.access or token in grant.refresh:
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

    def redirect_uri_of(self, code: str) -> str:
        """Return the redirect URI that a code was asked for with."""
        return self._codes.get(code, {}).get("redirect_uri", "")

    def tokens_for(self, grant: FakeGrant) -> Answer:
        """Answer with another access token of a grant."""
        return self._tokens(grant, refreshable=False)

    @property
    def client_jwk(self) -> dict[str, str] | None:
        """Return the public key that the client's signatures are verified with."""
        return self.signing.jwk

    @client_jwk.setter
    def client_jwk(self, jwk: dict[str, str] | None) -> None:
        self.signing.jwk = jwk

    def _answer(self, asked: dict[str, str]) -> dict[str, str]:
        back = {"state": asked.get("state", "")}
        if self.denies:
            back["error"] = "access_denied"
        else:
            code = canary("code")
            self._codes[code] = asked
            back["code"] = code
        if self.sends_iss:
            back["iss"] = self.issuer
        return back

    def _opened(self, asked: dict[str, str], *, beside: frozenset[str] = frozenset()) -> dict[str, str]:
        """Return the parameters of a request that may be a signed object; {} for one that is refused."""
        return self.signing.opened(asked, client_id=self.client_id, issuer=self.issuer, beside=beside)

    def _client(self, request: Received, form: dict[str, str]) -> bool:
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

        try:
            claims = self.signing.claims(
                form["client_assertion"],
                audience=self.audience,
                issuer=self.client_id,
                secret=self.client_secret,
                require=["iss", "sub", "aud", "jti", "iat", "exp"],
            )
        except jwt.InvalidTokenError:
            return False
        is_new = claims["jti"] not in self._assertions
        self._assertions.add(claims["jti"])
        known = form.get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        is_short = claims["exp"] - claims["iat"] <= 60  # noqa: PLR2004 - seconds
        return is_new and known and is_short and claims["sub"] == self.client_id == form.get("client_id")

    def _by_code(self, form: dict[str, str]) -> Answer:
        asked = self._codes.pop(form.get("code", ""), None)
        if (
            asked is None
            or asked.get("code_challenge") != self._challenge(form.get("code_verifier", ""))
            or asked["redirect_uri"] != form.get("redirect_uri")
        ):
            return Answer(400, {"error": "invalid_grant"})
        scopes = asked.get("scope", "") if self.granted_scopes is None else self.granted_scopes
        grant = FakeGrant(scopes, self.subject, nonce=asked.get("nonce", ""))
        if "authorization_details" in asked:
            as_asked = self.granted_details is None
            grant.details = json.loads(asked["authorization_details"]) if as_asked else self.granted_details
        self.grants.append(grant)
        return self._tokens(grant, refreshable=self.issues_refresh_tokens, for_code=form["code"])

    def _challenge(self, verifier: str) -> str | None:
        """Return the challenge that a verifier answers. RFC 7636 §4.6."""
        if not self.code_challenge_method:
            return None
        if self.code_challenge_method == "plain":
            return verifier
        return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()

    def _by_refresh_token(self, form: dict[str, str]) -> Answer:
        presented, now = form.get("refresh_token", ""), time.monotonic()
        for grant in self.grants:
            if presented not in grant.refresh or not grant.alive:
                continue
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
        body = {"access_token": access, "token_type": self.token_type, "scope": grant.scopes}
        if grant.details is not None:
            body["authorization_details"] = grant.details
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
