"""Play one server's dialect: translate its requests into the RFC's for the fake's own servers, and their answers back.

Written from the server's side, and as strict as the columns are: what comes under another name, in another place or by another
method than they say is refused with 400 and ``invalid_request``, so that a walk through it proves every knob.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from django_oauth_flows.protocol.assertions import ASSERTION_TYPE
from django_oauth_flows.testing.documents import as_xml, expiry, put
from django_oauth_flows.testing.faults import Answer
from django_oauth_flows.testing.oauth2 import form_post
from django_oauth_flows.testing.played import Played

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django_oauth_flows.testing.server import FakeProvider, Received

FORM = "application/x-www-form-urlencoded"
_NAME = re.compile(r"\{([^{}]+)\}")


class _Refused(Exception):
    """Why a request is not in the dialect."""


class Player(Played):
    """Speaks for what is played: made by ``FakeProvider.play``."""

    def __init__(self, fake: FakeProvider, columns: Mapping[str, Any]) -> None:
        super().__init__(fake, columns)
        self._posts = columns.get("response_mode") == "form_post"
        self._first: set[str] = set()  # tokens that are only good for being exchanged
        server = fake.oauth2
        server.public = self._auth == "none"
        server.code_challenge_method = columns.get("code_challenge_method", "S256")
        server.issues_refresh_tokens = not self.dialect.refreshes_with_access_token
        fake.openid.always_issues_id_tokens = columns.get("identity_source") == "id_token"

    def answer(self, request: Received) -> Answer:
        """Answer a request in the dialect."""
        endpoint = self.endpoint(request.path)
        act: dict[str, Callable[[Received], Answer]] = {
            "authorize": self._authorize1 if self.oauth1 else self._authorize,
            "par": self._push,
            "device": self._device,
            "token": self._token1 if self.oauth1 else self._token,
            "refresh_endpoint": self._token,
            "second_exchange": self._token,
            "temporary": self._token1,
            "revoke": self._fake.oauth1.revoke if self.oauth1 else self._revoke,
            "userinfo": self._userinfo,
            "jwks": self._fake.openid.jwks,
            "api": self._api,
        }
        try:
            return act[endpoint](request)
        except _Refused as problem:
            return Answer(400, {"error": "invalid_request", "error_description": str(problem)})

    # The authorization request

    def _authorize(self, request: Received) -> Answer:
        names, asked = dict(self.dialect.authorization_parameter_names), dict(request.query)
        plain = {self._original(name, names): value for name, value in asked.items()}
        if "request_uri" in plain:
            redirect_uri = self._fake.oauth2.pushed.get(plain["request_uri"], {}).get("redirect_uri", "")
        else:
            _demand(not self._given.get("pushed_authorization_request_endpoint"), "not pushed")
            self._demand_request(asked, plain)
            redirect_uri = plain["redirect_uri"]
        back = self._fake.oauth2.authorize(replace(request, url=f"{self._fake.url}/authorize?{urlencode(plain)}"))
        return self._returned(str(back.headers.get("Location", redirect_uri)), redirect_uri)

    def _push(self, request: Received) -> Answer:
        names, asked = dict(self.dialect.authorization_parameter_names), request.form
        client = {k: v for k, v in self.dialect.token_parameter_names if k in ("client_id", "client_secret")}
        plain = {self._original(name, {**names, **client}): value for name, value in asked.items()}
        headers = self._authenticated(request, plain, needed=True)
        self._demand_request(asked, plain)
        return self._fake.oauth2.push(replace(request, headers=headers, body=urlencode(plain).encode()))

    def _device(self, request: Received) -> Answer:
        names, asked = dict(self.dialect.authorization_parameter_names), request.form
        client = {k: v for k, v in self.dialect.token_parameter_names if k in ("client_id", "client_secret")}
        plain = {self._original(name, {**names, **client}): value for name, value in asked.items()}
        headers = self._authenticated(request, plain, needed=True)
        plain["scope"] = " ".join(_split(plain.get("scope", ""), self._given.get("scope_separator") or " "))
        return self._fake.oauth2.device(replace(request, headers=headers, body=urlencode(plain).encode()))

    def _demand_request(self, asked: Mapping[str, str], plain: dict[str, str]) -> None:
        """Demand an authorization request in the dialect; leave the RFC's in ``plain``, without its response mode."""
        names = dict(self.dialect.authorization_parameter_names)
        way = {"response_mode": "form_post"} if self._posts else {}
        _demand({k: plain.pop(k) for k in ("response_mode",) if k in plain} == way, "response_mode")
        _demand(plain.get("client_id") == self._fake.oauth2.client_id, "client_id")
        _demand(plain.get("response_type", "") == self.dialect.response_type, "response_type")
        _demand(all(name not in asked for name, other in names.items() if other and other != name), "renamed parameter")
        self._demand_constants(self.dialect.authorization_parameters, plain)
        scopes = _split(plain.get("scope", ""), self._given.get("scope_separator") or " ")
        if second := self.dialect.second_scope_parameter:
            _demand(not any(scope.startswith(f"{second}:") for scope in scopes), "second scope")
            scopes += [
                f"{second}:{item}" for item in _split(plain.pop(second, ""), self._given.get("scope_separator") or " ")
            ]
        _demand(set(self.dialect.refresh_scopes) <= set(scopes), "refresh_scopes")
        plain["scope"] = " ".join(scopes)

    def _returned(self, location: str, redirect_uri: str) -> Answer:
        _, _, query = location[len(redirect_uri) :].partition("?")
        answer = dict(parse_qsl(query))
        if "code" in answer:
            answer[self.dialect.callback_code_parameter] = answer.pop("code")
            answer |= {name: self.said[name] for name in self.dialect.kept_callback_parameters}
        if self.dialect.state_in_redirect_uri:
            del answer["state"]
        if self._posts:
            return form_post(redirect_uri, answer)
        separator = "&" if "?" in redirect_uri else "?"
        return Answer(302, headers={"Location": f"{redirect_uri}{separator}{urlencode(answer)}"})

    def _authorize1(self, request: Received) -> Answer:
        asked = dict(request.query)
        self._demand_constants(self.dialect.authorization_parameters, asked)
        self._demand_scopes(asked, "authorization")
        return self._fake.oauth1.authorize(request)

    # Token requests

    def _token(self, request: Received) -> Answer:
        endpoint, dialect = self.endpoint(request.path), self.dialect
        parameters = self._parameters(request)
        names, grants = dict(dialect.token_parameter_names), {v: k for k, v in dict(dialect.grant_type_values).items()}
        _demand(all(name not in parameters for name, other in names.items() if other != name), "renamed parameter")
        plain = {self._original(name, names): value for name, value in parameters.items()}
        swap = dialect.second_exchange
        if swap is not None and plain.get("grant_type") == swap.grant_type and swap.token_parameter in plain:
            return self._swap(request, plain[swap.token_parameter])
        _demand(plain.get("grant_type") not in dict(dialect.grant_type_values), "grant_type")
        plain["grant_type"] = grants.get(plain.get("grant_type", ""), plain.get("grant_type", ""))
        if not plain["grant_type"]:
            plain["grant_type"] = "authorization_code" if "code" in plain else "refresh_token"
        refreshes = plain["grant_type"] == "refresh_token"
        _demand(refreshes == (endpoint == "refresh_endpoint") or not dialect.refresh_endpoint, "refresh_endpoint")
        method = (dialect.refresh_request_method if refreshes else "") or dialect.token_request_method
        _demand(request.method == method, "method")
        self._demand_headers(dialect.token_request_headers, request)
        if plain["grant_type"] != "client_credentials":
            self._demand_constants(dialect.refresh_parameters if refreshes else dialect.token_parameters, plain)
        headers = self._authenticated(request, plain, needed=not refreshes or dialect.refresh_client_authentication)
        if refreshes and (name := dialect.refreshes_with_access_token):
            return self._by_access_token(plain.get(name, ""))
        if plain["grant_type"] == "authorization_code" and names.get("redirect_uri") == "":
            plain["redirect_uri"] = self._fake.oauth2.redirect_uri_of(plain.get("code", ""))
        body = urlencode(plain).encode()
        answer = self._fake.oauth2.token(replace(request, method="POST", headers=headers, body=body))
        if dialect.second_exchange is not None and not refreshes and isinstance(answer.body, dict):
            self._first.add(answer.body.get("access_token", ""))
        return self._spoken(answer)

    def _parameters(self, request: Received) -> dict[str, str]:
        if request.method != "POST" or self.dialect.token_request_format == "query":
            _demand(not request.body, "body")
            return dict(request.query)
        kind = request.headers.get("content-type", "")
        if self.dialect.token_request_format == "json":
            _demand(kind == "application/json", "content type")
            return dict(json.loads(request.body))
        _demand(kind == FORM, "content type")
        return request.form

    def _authenticated(self, request: Received, plain: dict[str, str], *, needed: bool) -> dict[str, str]:
        """Demand the client's one authentication; return headers with the RFC's in its place."""
        server, headers = self._fake.oauth2, dict(request.headers)
        given = headers.pop("authorization", "")
        if not needed:
            _demand(not given and "client_secret" not in plain and "client_id" not in plain, "authentication")
        elif self._auth == "client_secret_basic":
            template = self.dialect.basic_credentials or "{client_id}:{client_secret}"
            pair = template.replace("{client_id}", server.client_id).replace("{client_secret}", server.client_secret)
            _demand(given == "Basic " + base64.b64encode(pair.encode()).decode(), "basic authentication")
            _demand("client_secret" not in plain, "two authentications")
        elif self._auth in ("private_key_jwt", "client_secret_jwt"):
            place = self.dialect.client_assertion_parameter
            _demand(not given and place in plain, place)  # the server verifies it
            if place == "client_secret":
                _demand("client_assertion_type" not in plain, "client_assertion_type")
                plain |= {"client_assertion": plain.pop(place), "client_assertion_type": ASSERTION_TYPE}
            return headers
        else:
            _demand(not given and plain.get("client_id") == server.client_id, "client_id")
            secret = plain.get("client_secret", "")
            _demand(secret == ("" if self._auth == "none" else server.client_secret), "client_secret")
        plain["client_id"] = server.client_id
        if self._auth != "none":
            plain["client_secret"] = server.client_secret
        return headers

    def _swap(self, request: Received, token: str) -> Answer:
        swap, server = self.dialect.second_exchange, self._fake.oauth2
        assert swap is not None  # noqa: S101 - the caller has looked
        _demand(request.method == swap.method, "method")
        grant = server.grant_of(token)
        _demand(grant is not None, "token")
        assert grant is not None  # noqa: S101
        grant.access.pop(token)
        return self._spoken(server.tokens_for(grant))

    def _by_access_token(self, token: str) -> Answer:
        server = self._fake.oauth2
        grant = server.grant_of(token) if token not in self._first else None
        if grant is None:
            return self._spoken(Answer(400, {"error": "invalid_grant"}))
        grant.access.pop(token)
        return self._spoken(server.tokens_for(grant))

    def _spoken(self, answer: Answer) -> Answer:
        """Return a token response where the dialect has its members."""
        if answer.status != 200 or not isinstance(answer.body, dict):  # noqa: PLR2004
            return self._error(answer)
        dialect, paths = self.dialect, dict(self.dialect.token_response_paths)
        members: dict[str, Any] = {}
        for name, value in self._worded(answer.body).items():
            put(members, paths[name][-1] if name in paths else name, value)
        for name in dialect.kept_token_fields:
            put(members, name, self.said[name])
        if self._given.get("identity_source") == "token_response":
            for path, value in self._document:
                put(members, path, value)
        body: Any = put({}, dialect.token_response_envelope, members) if dialect.token_response_envelope else members
        if dialect.token_success_codes:
            put(body, paths["error"][0], dialect.token_success_codes[0])
        if dialect.token_response_format == "form":
            return Answer(200, urlencode(body), {"Content-Type": FORM})
        return Answer(200, body)

    def _worded(self, members: dict[str, Any]) -> dict[str, Any]:
        """Return the members of a token response with values as the dialect has them."""
        dialect, worded = self.dialect, dict(members)
        if "expires_in" in worded:
            worded["expires_in"] = expiry(worded["expires_in"], dialect.expiry_format)
        if dialect.token_type_aliases:
            worded["token_type"] = dialect.token_type_aliases[0]
        if second := dialect.second_scope_parameter:
            mark = f"{second}:"
            scopes = worded.get("scope", "").split()
            worded["scope"] = " ".join(scope for scope in scopes if not scope.startswith(mark))
            if "second_scope" in dict(dialect.token_response_paths):
                worded["second_scope"] = " ".join(s.removeprefix(mark) for s in scopes if s.startswith(mark))
        return worded

    def _error(self, answer: Answer) -> Answer:
        code = answer.body.get("error", "") if isinstance(answer.body, dict) else ""
        if code == "invalid_grant" and self.dialect.invalid_grant_errors:
            code = self.dialect.invalid_grant_errors[0]
        body: dict[str, Any] = {}
        put(body, dict(self.dialect.token_response_paths).get("error", ("error",))[0], code)
        return Answer(answer.status, body)

    # OAuth 1.0a

    def _token1(self, request: Received) -> Answer:
        dialect, server = self.dialect, self._fake.oauth1
        sent = dict(request.query) | request.form
        header = request.headers.get("authorization", "")
        is_exchange = "oauth_verifier" in sent or "oauth_verifier" in header
        method = dialect.token_request_method if is_exchange else dialect.temporary_request_method
        _demand(request.method == method, "method")
        self._demand_headers(dialect.token_request_headers, request)
        if not is_exchange:
            self._demand_constants(dialect.temporary_parameters, sent)
            self._demand_scopes(sent, "temporary")
            return server.temporary(request)
        self._demand_constants(dialect.token_parameters, sent)
        answer = server.token(request)
        if answer.status != 200:  # noqa: PLR2004
            return answer
        more = {name: self.said[name] for name in dialect.kept_token_fields}
        if self._given.get("identity_source") == "token_response":
            more |= dict(self._document)
        return Answer(200, "&".join(filter(None, (str(answer.body), urlencode(more)))), {"Content-Type": FORM})

    def _demand_scopes(self, sent: Mapping[str, str], place: str) -> None:
        name = dict(self.dialect.authorization_parameter_names).get("scope", "scope")
        if self._given.get("scopes") and self.dialect.oauth1_scopes_in == place:
            _demand(bool(sent.get(name)), "scope")

    # API, identity, revocation

    def _api(self, request: Received) -> Answer:
        return self._fake.api.answer(self._bearing(request))

    def _userinfo(self, request: Received) -> Answer:
        dialect, query = self.dialect, dict(request.query)
        _demand(request.method == dialect.userinfo_method, "method")
        _demand(request.body.decode() == dialect.userinfo_body, "body")
        self._demand_headers(dialect.userinfo_headers, request)
        self._demand_constants(dialect.userinfo_parameters, query)
        answer = self._fake.api.userinfo(self._bearing(request, scheme=dialect.userinfo_auth_scheme))
        if answer.status != 200:  # noqa: PLR2004
            return answer
        document: Any = {}
        for path, value in self._document:
            document = put(document, path, value)
        if dialect.userinfo_format == "xml":
            return Answer(200, as_xml(document), {"Content-Type": "application/xml"})
        return Answer(200, document)

    def _bearing(self, request: Received, *, scheme: str = "") -> Received:
        """Return the request with its token, taken from where the dialect has it, as a bearer token."""
        dialect, headers, query = self.dialect, dict(request.headers), dict(request.query)
        self._demand_headers(dialect.api_headers, request)
        self._demand_constants(dialect.api_parameters, query)
        if self.oauth1:
            return request
        given = headers.pop("authorization", "")
        if scheme == "none":
            _demand(not given, "authorization")
            found = re.search(r"canary_access_[0-9a-f]+", request.url)
            token = found[0] if found else ""
        elif dialect.api_token_parameter and not scheme:
            _demand(not given, "authorization")
            token = query.get(dialect.api_token_parameter, "")
        elif dialect.api_token_header and not scheme:
            token = (
                given
                if dialect.api_token_header.lower() == "authorization"
                else headers.get(dialect.api_token_header.lower(), "")
            )
        else:
            word, _, token = given.partition(" ")
            _demand(word == (scheme or dialect.api_auth_scheme), "scheme")
        _demand(token not in self._first, "the token before its exchange")
        return replace(request, headers={**headers, "authorization": f"Bearer {token}"})

    def _revoke(self, request: Received) -> Answer:
        dialect = self.dialect
        _demand(request.method == dialect.revocation_request_method, "method")
        sent = self._parameters(request) if request.method != "POST" or request.body or request.query else {}
        names = dict(dialect.token_parameter_names)
        plain = {self._original(name, names): value for name, value in sent.items()}
        _demand(("token" in plain) == (dialect.revocation_token_parameter == "token"), "token")
        if dialect.revocation_token_parameter:
            _demand(dialect.revocation_token_parameter in plain, "token")
            plain["token"] = plain.pop(dialect.revocation_token_parameter)
        if dialect.revocation_authentication == "token":
            bearing = self._bearing(replace(request, headers={**request.headers}), scheme="")
            plain.setdefault("token", bearing.headers["authorization"].removeprefix("Bearer "))
            server = self._fake.oauth2
            plain |= {"client_id": server.client_id, "client_secret": server.client_secret}
            headers = {name: value for name, value in request.headers.items() if name != "authorization"}
        else:
            headers = self._authenticated(request, plain, needed=True)
        return self._fake.oauth2.revoke(
            replace(request, method="POST", headers=headers, body=urlencode(plain).encode())
        )

    # Facts

    def _original(self, name: str, names: Mapping[str, str]) -> str:
        return next((original for original, other in names.items() if other == name), name)

    def _demand_constants(self, parameters: tuple[tuple[str, str], ...], sent: Mapping[str, str]) -> None:
        for name, text in parameters:
            _demand(name in sent, name)
            if not _NAME.search(text):
                _demand(sent[name] == text, name)

    def _demand_headers(self, headers: tuple[tuple[str, str], ...], request: Received) -> None:
        for name, text in headers:
            _demand(name.lower() in request.headers, name)
            if not _NAME.search(text):
                _demand(request.headers[name.lower()] == text, name)


def _demand(is_so: bool, what: str) -> None:
    if not is_so:
        raise _Refused(what)


def _split(text: str, separator: str) -> list[str]:
    return [part for part in text.split(separator) if part]
