"""The fake provider's OAuth 2 server. Every secret it issues begins with ``canary_``, so that a leak is seen."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlencode

from django_oauth_flows.testing.dpop import ProofChecker, ProofRefused
from django_oauth_flows.testing.faults import Answer
from django_oauth_flows.testing.signed_requests import ClientSigning

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_oauth_flows.testing.server import Received


_AUTHENTICATION = frozenset({"client_secret", "client_assertion", "client_assertion_type"})
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


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
    certificate: bytes = b""  # what its access tokens are bound to, RFC 8705 §3
    jkt: str = ""  # thumbprint of the key that its tokens are bound to, RFC 9449 §6
    access: dict[str, float] = field(default_factory=dict)  # token → expiry, monotonic
    refresh: dict[str, float] = field(default_factory=dict)  # token → when it was rotated away, 0 while current


@dataclass(slots=True)
class FakeDevice:
    """One code that waits to be entered."""

    user_code: str
    scopes: str
    interval: float
    expires_at: float  # monotonic, as is the next one
    polled_at: float = 0.0
    decision: str = ""  # "approved", or "access_denied"


class OAuth2Server:
    """State and switches of one authorization server."""

    def __init__(self, url: str) -> None:
        self.issuer = url
        self.client_id = "fake-client"
        self.client_secret = canary("client_secret")
        self.public = False
        self.signing = ClientSigning()  # what client assertions and request objects are verified with
        self.audience = url  # whom assertions must name as their reader
        self.assertion_issuer = ""  # who client assertions must say that they are from, if not the client
        self.assertion_audience = ""  # whom assertions that are grants must be for, if not the issuer
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
        self.device_interval: Any = 5  # what is said; a poll that comes sooner is told to slow down, whatever is said
        self.device_expires_in: Any = 1800
        self.change_device: Callable[[dict[str, Any]], None] = lambda _: None  # edits what the device is answered
        self.devices: dict[str, FakeDevice] = {}  # by device code

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
        """Answer the grants that the package uses."""
        form = request.form
        by_assertion = form.get("grant_type") == JWT_BEARER and not request.headers.get("authorization")
        if not by_assertion and self._client(request, form) is not True:
            return Answer(401, {"error": "invalid_client"})
        try:
            key = self._proven(request)
        except ProofRefused as refused:
            return Answer(400, {"error": refused.error, "error_description": refused.reason}, refused.headers)
        answer = self._granted(form, key)
        if self.binds_to_certificate and answer.status == 200:  # noqa: PLR2004
            self._grant_with(answer.body["access_token"]).certificate = request.certificate
        return replace(answer, headers={**answer.headers, **self.dpop.headers(key)}) if key else answer

    def device(self, request: Received) -> Answer:
        """Give out a code to be entered on another device. RFC 8628 §3.2."""
        form = request.form
        if self._client(request, form) is not True:
            return Answer(401, {"error": "invalid_client"})
        if form.get("client_id") != self.client_id:
            return Answer(400, {"error": "invalid_request"})
        user_code = "-".join("".join(secrets.choice("BCDFGHJKLMNPQRSTVWXZ") for _ in range(4)) for _ in range(2))
        page = f"{self.issuer}/activate"
        body: dict[str, Any] = {
            "device_code": canary("device_code"),
            "user_code": user_code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={user_code}",
            "expires_in": self.device_expires_in,
            "interval": self.device_interval,
        }
        interval = self.device_interval if isinstance(self.device_interval, (int, float)) else 5
        lifetime = self.device_expires_in if isinstance(self.device_expires_in, (int, float)) else 1800
        known = FakeDevice(user_code, form.get("scope", ""), interval, time.monotonic() + lifetime)
        self.devices[body["device_code"]] = known
        self.change_device(body)
        return Answer(200, body)

    def decide(self, user_code: str, decision: str = "approved") -> None:
        """Enter a user code, as if on another device, and approve, or decide for ``access_denied``."""
        next(device for device in self.devices.values() if device.user_code == user_code).decision = decision

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
        issuer = self.assertion_issuer or self.client_id
        claims = self._claims(form["client_assertion"], audience=self.audience, issuer=issuer)
        known = form.get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        return claims is not None and known and claims["sub"] == self.client_id == form.get("client_id")

    def _claims(self, assertion: str, *, audience: str, issuer: str) -> dict[str, Any] | None:
        """Return the claims of an assertion that the client has made for ``audience`` alone, for once; None for another."""
        import jwt

        try:
            claims = self.signing.claims(
                assertion,
                audience=audience,
                issuer=issuer,
                secret=self.client_secret,
                require=["iss", "sub", "aud", "jti", "iat", "exp"],
            )
        except jwt.InvalidTokenError:
            return None
        is_new = claims["jti"] not in self._assertions
        self._assertions.add(claims["jti"])
        is_short = claims["exp"] - claims["iat"] <= 60  # noqa: PLR2004 - seconds
        return claims if is_new and is_short else None

    def _proven(self, request: Received) -> str:
        """Return the thumbprint of the key that a request is proven with, "" for none where none is required."""
        return self.dpop.check(request) if self.requires_dpop or "dpop" in request.headers else ""

    def _granted(self, form: dict[str, str], key: str) -> Answer:
        answers = {
            "authorization_code": self._by_code,
            "refresh_token": self._by_refresh_token,
            "client_credentials": self._for_client,
            DEVICE_CODE: self._by_device_code,
            JWT_BEARER: self._by_assertion,
            TOKEN_EXCHANGE: self._by_token,
        }
        if (act := answers.get(form.get("grant_type", ""))) is not None:
            return act(form, key)
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
        if "authorization_details" in asked:
            as_asked = self.granted_details is None
            grant.details = json.loads(asked["authorization_details"]) if as_asked else self.granted_details
        self.grants.append(grant)
        return self._tokens(grant, refreshable=self.issues_refresh_tokens, for_code=form["code"])

    def _by_assertion(self, form: dict[str, str], key: str) -> Answer:
        """Answer an assertion of the client that is signed with its key. RFC 7523 §3.1."""
        audience = self.assertion_audience or self.issuer
        claims = self._claims(form.get("assertion", ""), audience=audience, issuer=self.client_id)
        if claims is None or self.client_jwk is None:
            return Answer(400, {"error": "invalid_grant"})
        grant = FakeGrant(str(claims.get("scope", "")), str(claims["sub"]), jkt=key)
        self.grants.append(grant)
        return self._tokens(grant, refreshable=False)

    def _by_token(self, form: dict[str, str], key: str) -> Answer:
        """Swap an access token of ours for one that is meant for others. RFC 8693 §2.2."""
        if form.get("subject_token_type") != ACCESS_TOKEN:
            return Answer(400, {"error": "invalid_request"})
        present = self.grant_of(form.get("subject_token", ""))
        if present is None:
            return Answer(400, {"error": "invalid_request"})
        grant = FakeGrant(form.get("scope", present.scopes), present.subject, jkt=key)
        self.grants.append(grant)
        answer = self._tokens(grant, refreshable=False)
        assert isinstance(answer.body, dict)  # noqa: S101 - made just now
        answer.body["issued_token_type"] = ACCESS_TOKEN
        return answer

    def introspect(self, request: Received) -> Answer:
        """Say what an access token is worth. RFC 7662 §2.2."""
        form = request.form
        if self._client(request, form) is not True:
            return Answer(401, {"error": "invalid_client"})
        grant, now = self.grant_of(form.get("token", "")), time.time()
        if grant is None:
            return Answer(200, {"active": False})
        left = grant.access[form["token"]] - time.monotonic()
        return Answer(200, {"active": True, "scope": grant.scopes, "exp": int(now + left), "iat": int(now)})

    def _for_client(self, form: dict[str, str], key: str) -> Answer:
        grant = FakeGrant(form.get("scope", ""), "client", jkt=key)
        self.grants.append(grant)
        return self._tokens(grant, refreshable=False)

    def _by_device_code(self, form: dict[str, str], key: str) -> Answer:
        """Answer one poll. RFC 8628 §3.5."""
        now, device = time.monotonic(), self.devices.get(form.get("device_code", ""))
        if device is None:
            return Answer(400, {"error": "invalid_grant"})
        if now >= device.expires_at:
            return Answer(400, {"error": "expired_token"})
        is_early, device.polled_at = bool(device.polled_at) and now - device.polled_at < device.interval, now
        if is_early:
            device.interval += 5
            return Answer(400, {"error": "slow_down"})
        if device.decision != "approved":
            return Answer(400, {"error": device.decision or "authorization_pending"})
        del self.devices[form["device_code"]]
        scopes = device.scopes if self.granted_scopes is None else self.granted_scopes
        grant = FakeGrant(scopes, self.subject, jkt=key)
        self.grants.append(grant)
        return self._tokens(grant, refreshable=self.issues_refresh_tokens)

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
