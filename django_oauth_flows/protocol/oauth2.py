"""OAuth 2: build with oauthlib, send through our transport, read the answer ourselves.

oauthlib composes requests by the RFC; its reading of answers loses grants (a narrower scope raises, an odd lifetime
crashes) and its switches are process-wide environment variables, so neither is used.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode, urlsplit

import requests
from oauthlib.oauth2 import BackendApplicationClient, WebApplicationClient

from django_oauth_flows.exceptions import RequestBlocked, TokenEndpointError
from django_oauth_flows.protocol.client_auth import authenticate_client
from django_oauth_flows.protocol.dialect import is_reserved
from django_oauth_flows.protocol.endpoints import endpoint_of
from django_oauth_flows.protocol.identity import find_identity
from django_oauth_flows.protocol.messages import Identity, PendingAuthorization, RevocationResult
from django_oauth_flows.protocol.par import pushed
from django_oauth_flows.protocol.parsing import parse_token_response, raise_for_error
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.protocol.tokens import is_token
from django_oauth_flows.protocol.transport import send

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django_oauth_flows.protocol.dialect import Pairs
    from django_oauth_flows.protocol.messages import (
        AuthorizationResponse,
        ClientRegistration,
        Credentials,
        TokenResponse,
    )
    from django_oauth_flows.protocol.transport import ProtocolResponse

FORM = "application/x-www-form-urlencoded"
VERIFIER_BYTES = 48
"""Random bytes of a PKCE verifier, which then has 64 characters (RFC 7636 §4.1 allows 43 to 128)."""


class OAuth2Flow:
    """The requests of RFC 6749, RFC 7636 and RFC 7009 for one registration."""

    def __init__(self, registration: ClientRegistration) -> None:
        self.registration = registration

    def start(self, *, redirect_uri: str, scopes: Sequence[str], state: Secret) -> tuple[PendingAuthorization, str]:
        """Return what to remember, and where to send the browser. RFC 6749 §4.1.1, PKCE S256 by RFC 7636 §4."""
        registration, client = self.registration, WebApplicationClient(self.registration.client_id)
        verifier, challenge = None, {}
        if registration.code_challenge_method == "S256":
            verifier = Secret(secrets.token_urlsafe(VERIFIER_BYTES))
            challenge = {
                "code_challenge": client.create_code_challenge(verifier.reveal(), "S256"),
                "code_challenge_method": "S256",
            }
        endpoint = endpoint_of(self.registration, "authorization_endpoint")
        url = client.prepare_request_uri(
            _as_https(endpoint),
            redirect_uri=redirect_uri,
            scope=registration.scope_separator.join(scopes) or None,
            state=state.reveal(),
            **challenge,
            **({"response_mode": "form_post"} if registration.response_mode == "form_post" else {}),
            **_free(registration.dialect.authorization_parameters),
        )
        pending = PendingAuthorization(registration, redirect_uri, tuple(scopes), code_verifier=verifier)
        url = "&".join(filter(None, (_as_before(url, endpoint), self._resources())))
        if registration.server.pushed_authorization_request_endpoint:
            url = pushed(url, registration, self._push)
        return pending, url

    def exchange(self, response: AuthorizationResponse) -> TokenResponse:
        """Exchange the code, once; never repeated whatever happens. RFC 6749 §4.1.3."""
        pending = response.pending
        verifier = {"code_verifier": pending.code_verifier.reveal()} if pending.code_verifier else {}
        body = WebApplicationClient(self.registration.client_id).prepare_request_body(
            code=response.code.reveal(),
            redirect_uri=pending.redirect_uri,
            include_client_id=False,
            **verifier,
            **_free(self.registration.dialect.token_parameters),
        )
        return self._tokens(body)

    def refresh(self, refresh_token: Secret, *, scopes: Sequence[str] = ()) -> TokenResponse:
        """Ask for a new access token. RFC 6749 §6."""
        body = WebApplicationClient(self.registration.client_id).prepare_refresh_body(
            refresh_token=refresh_token.reveal(),
            scope=self.registration.scope_separator.join(scopes) or None,
            **_free(self.registration.dialect.refresh_parameters),
        )
        return self._tokens(body)

    def client_credentials(self, *, scopes: Sequence[str] = ()) -> TokenResponse:
        """Ask for a token of the client itself. RFC 6749 §4.4."""
        body = BackendApplicationClient(self.registration.client_id).prepare_request_body(
            scope=self.registration.scope_separator.join(scopes) or None,
            include_client_id=False,
            **_free(self.registration.dialect.token_parameters),
        )
        return self._tokens(body)

    def revoke(self, token: Secret, *, hint: Literal["refresh_token", "access_token"]) -> RevocationResult:
        """Revoke one token; a server that does not know it says so with success. RFC 7009 §2."""
        if not self.registration.server.revocation_endpoint:
            return RevocationResult("unsupported")
        endpoint = endpoint_of(self.registration, "revocation_endpoint")
        _, _, body = WebApplicationClient(self.registration.client_id).prepare_token_revocation_request(
            _as_https(endpoint), token.reveal(), hint
        )
        try:
            raise_for_error(self._post(endpoint, body))
        except TokenEndpointError as error:
            if error.error == "unsupported_token_type":
                return RevocationResult("unsupported")
            raise
        return RevocationResult("revoked")

    def identify(self, credentials: Credentials, extra: Mapping[str, Any]) -> Identity:
        """Find out which account the grant is for; raise :class:`TokenEndpointError` (``identity_unavailable``)."""

        def ask_userinfo() -> ProtocolResponse:
            url = endpoint_of(self.registration, "userinfo_endpoint")
            request = requests.Request("GET", url, headers={"Accept": "application/json"})
            return send(self.authenticate(request.prepare(), credentials), policy=self.registration.transport)

        return find_identity(self.registration.identity, extra, ask_userinfo)

    def authenticate(self, prepared: requests.PreparedRequest, credentials: Credentials) -> requests.PreparedRequest:
        """Add the token to an API request. RFC 6750 §2.1."""
        token = credentials.access_token.reveal()
        if not is_token(token):
            raise RequestBlocked("The stored token cannot be sent in a header.", code="header_not_allowed")
        prepared.headers["Authorization"] = f"{self.registration.dialect.api_auth_scheme} {token}"
        return prepared

    def _tokens(self, body: str) -> TokenResponse:
        body = "&".join(filter(None, (body, self._resources())))
        response = self._post(endpoint_of(self.registration, "token_endpoint"), body)
        return parse_token_response(response, dialect=self.registration.dialect)

    def _resources(self) -> str:
        """Return what the tokens are to be for, once per resource. RFC 8707 §2."""
        return urlencode([("resource", uri) for uri in self.registration.dialect.resources])

    def _push(self, endpoint: str, form: str) -> ProtocolResponse:
        in_header = self.registration.token_endpoint_auth_method == "client_secret_basic"
        return self._post(
            endpoint, urlencode({"client_id": self.registration.client_id}) + "&" + form if in_header else form
        )

    def _post(self, endpoint: str, body: str) -> ProtocolResponse:
        headers, parameters = authenticate_client(self.registration)
        request = requests.Request(
            "POST",
            endpoint,
            headers={"Accept": "application/json", "Content-Type": FORM, **headers},
            data="&".join(filter(None, (body, urlencode(parameters)))),
        )
        return send(request.prepare(), policy=self.registration.transport)


def _free(parameters: Pairs) -> dict[str, str]:
    """Return configured parameters without those that carry a promise of the protocol."""
    return {name: value for name, value in parameters if not is_reserved(name)}


def _as_https(url: str) -> str:
    """Spell a checked loopback URL as https: oauthlib can only be told to accept http for the whole process."""
    return "https:" + url.partition(":")[2]


def _as_before(url: str, endpoint: str) -> str:
    return urlsplit(endpoint).scheme + ":" + url.partition(":")[2]
