"""OAuth 2: build with oauthlib, send through our transport, read the answer ourselves.

oauthlib composes requests by the RFC; its reading of answers loses grants (a narrower scope raises, an odd lifetime
crashes) and its switches are process-wide environment variables, so neither is used.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from oauthlib.oauth2 import BackendApplicationClient, WebApplicationClient

from django_oauth_flows.exceptions import ConfigurationError, TokenEndpointError
from django_oauth_flows.protocol.assertions import GRANT_TYPE as JWT_BEARER_GRANT
from django_oauth_flows.protocol.assertions import grant_assertion
from django_oauth_flows.protocol.authorization_request import in_dialect, redirect_uri_of, scope_parameters
from django_oauth_flows.protocol.bearing import put_constants, put_token
from django_oauth_flows.protocol.clocks import blamed_on_signatures, suspect_clock
from django_oauth_flows.protocol.details import PARAMETER as DETAILS
from django_oauth_flows.protocol.device import GRANT_TYPE as DEVICE_GRANT
from django_oauth_flows.protocol.device import authorize_device
from django_oauth_flows.protocol.dpop import blames_proof, new_key, prove, send_proven, thumbprint_of
from django_oauth_flows.protocol.endpoints import endpoint_of
from django_oauth_flows.protocol.exchange import exchanged
from django_oauth_flows.protocol.id_token import wants_id_token
from django_oauth_flows.protocol.identity import find_identity
from django_oauth_flows.protocol.identity_document import userinfo_request
from django_oauth_flows.protocol.jar import signed_request
from django_oauth_flows.protocol.kept import as_variables
from django_oauth_flows.protocol.messages import Credentials, Identity, PendingAuthorization, RevocationResult
from django_oauth_flows.protocol.par import pushed
from django_oauth_flows.protocol.parsing import parse_token_response, raise_for_error
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.protocol.token_request import (
    FREE_AT_TOKEN_ENDPOINT,
    client_variables,
    free,
    token_request,
)
from django_oauth_flows.protocol.urls import check_endpoint
from django_oauth_flows.protocol.userinfo import read_userinfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import requests

    from django_oauth_flows.protocol.device import DeviceAuthorization
    from django_oauth_flows.protocol.dialect import Dialect, SecondExchange
    from django_oauth_flows.protocol.dialect_values import Pairs
    from django_oauth_flows.protocol.exchange import ExchangedToken, ExchangeRequest
    from django_oauth_flows.protocol.messages import AuthorizationResponse, ClientRegistration, TokenResponse

PLAIN = frozenset({"request"})
"""Reserved for a request object (RFC 9101), and free for a word, which is all that the schema lets through."""

VERIFIER_BYTES = 48
"""Random bytes of a PKCE verifier, which then has 64 characters (RFC 7636 §4.1 allows 43 to 128)."""

NONCE_BYTES = 32
"""Random bytes of an OpenID Connect nonce."""


class OAuth2Flow:
    """The requests of RFC 6749, RFC 7636 and RFC 7009 for one registration."""

    def __init__(self, registration: ClientRegistration) -> None:
        self.registration = registration

    def start(self, *, redirect_uri: str, scopes: Sequence[str], state: Secret) -> tuple[PendingAuthorization, str]:
        """Return what to remember, and where to send the browser. RFC 6749 §4.1.1, PKCE by RFC 7636 §4."""
        registration, client = self.registration, WebApplicationClient(self.registration.client_id)
        dialect, (verifier, challenge) = registration.dialect, self._challenge(client)
        nonce = Secret(secrets.token_urlsafe(NONCE_BYTES)) if wants_id_token(registration, scopes) else None
        dpop_key = new_key() if registration.dpop_bound_access_tokens else None
        endpoint = endpoint_of(self.registration, "authorization_endpoint")
        url = client.prepare_request_uri(
            _as_https(endpoint),
            redirect_uri=redirect_uri_of(redirect_uri, state, dialect),
            state=state.reveal(),
            **scope_parameters(scopes, registration.scope_separator, dialect),
            **challenge,
            **{**self._quirky(), **({"nonce": nonce.reveal()} if nonce else {})},
            **({"dpop_jkt": thumbprint_of(dpop_key)} if dpop_key else {}),
            **({"response_mode": registration.response_mode} if registration.response_mode != "query" else {}),
            **({DETAILS: dialect.authorization_details} if dialect.authorization_details else {}),
            **dict(free(dialect.authorization_parameters, {"client_id": registration.client_id}, unreserved=PLAIN)),
        )
        pending = PendingAuthorization(
            registration, redirect_uri, tuple(scopes), state, code_verifier=verifier, nonce=nonce, dpop_key=dpop_key
        )
        url = "&".join([_as_before(url, endpoint), *(urlencode([pair]) for pair in _resources(dialect))])
        if dialect.request_object_signing_alg:
            url = signed_request(url, registration)
        if registration.server.pushed_authorization_request_endpoint:
            url = pushed(url, registration)
        return pending, in_dialect(url, endpoint, dialect)

    def exchange(self, response: AuthorizationResponse) -> TokenResponse:
        """Exchange the code, once; repeated only for a server that wants a nonce of its own first. RFC 6749 §4.1.3, RFC 9449 §8."""
        pending, dialect = response.pending, self.registration.dialect
        redirect_uri = redirect_uri_of(pending.redirect_uri, pending.state, dialect)
        verifier = {"code_verifier": pending.code_verifier.reveal()} if pending.code_verifier else {}
        body = WebApplicationClient(self.registration.client_id).prepare_request_body(
            code=response.code.reveal(),
            redirect_uri=redirect_uri,
            include_client_id=False,
            **verifier,
        )
        values = {**as_variables(response.extra), "code": response.code.reveal(), "redirect_uri": redirect_uri}
        if pending.state is not None:
            values["state"] = pending.state.reveal()
        tokens = self._tokens(body, dialect.token_parameters, values, dpop_key=pending.dpop_key)
        return tokens if dialect.second_exchange is None else self._swapped(tokens, dialect.second_exchange)

    def refresh(
        self, refresh_token: Secret, *, scopes: Sequence[str] = (), dpop_key: Secret | None = None
    ) -> TokenResponse:
        """Ask for a new access token, bound to the same key as the one before, if that was. RFC 6749 §6, RFC 9449 §5."""
        dialect = self.registration.dialect
        body = WebApplicationClient(self.registration.client_id).prepare_refresh_body(
            refresh_token=refresh_token.reveal(),
            scope=self.registration.scope_separator.join(scopes) or None,
        )
        if other := dialect.refreshes_with_access_token:
            body = urlencode([(other if name == "refresh_token" else name, value) for name, value in parse_qsl(body)])
        endpoint = endpoint_of(
            self.registration, "refresh_endpoint" if self.registration.server.refresh_endpoint else "token_endpoint"
        )
        return self._tokens(
            body,
            dialect.refresh_parameters,
            {"refresh_token": refresh_token.reveal()},
            endpoint=endpoint,
            method=dialect.refresh_request_method,
            authenticates=dialect.refresh_client_authentication,
            dpop_key=dpop_key,
        )

    def client_credentials(self, *, scopes: Sequence[str] = (), dpop_key: Secret | None = None) -> TokenResponse:
        """Ask for a token of the client itself; ``dpop_key``: of the one before. RFC 6749 §4.4."""
        body = BackendApplicationClient(self.registration.client_id).prepare_request_body(
            scope=self.registration.scope_separator.join(scopes) or None, include_client_id=False
        )
        return self._tokens(body, self.registration.dialect.token_parameters, {}, dpop_key=self._bound_to(dpop_key))

    def jwt_bearer(
        self, *, scopes: Sequence[str] = (), subject: str = "", dpop_key: Secret | None = None
    ) -> TokenResponse:
        """Ask for a token of ``subject``, or of the client itself, by an assertion that is made for this request. RFC 7523 §2.1.

        ``dpop_key``: of the one before. The assertion says who the client is: a public one authenticates by nothing else.
        """
        registration = self.registration
        parameters = {
            "grant_type": JWT_BEARER_GRANT,
            "assertion": grant_assertion(registration, scopes=scopes, subject=subject),
        }
        if scopes:
            parameters["scope"] = registration.scope_separator.join(scopes)
        is_known = registration.token_endpoint_auth_method != "none"
        return self._tokens(
            urlencode(parameters),
            registration.dialect.token_parameters,
            {},
            authenticates=is_known,
            dpop_key=self._bound_to(dpop_key),
        )

    def exchange_token(self, subject_token: Secret, asked: ExchangeRequest) -> ExchangedToken:
        """Swap an access token for one that is meant for others. RFC 8693 §2.1."""
        parameters = urlencode(asked.parameters(self.registration, subject_token))
        # For those alone whom the caller has named: a token for the provider's own API as well could be replayed there.
        tokens = self._tokens(parameters, (), {}, is_for_own_api=False)
        return exchanged(tokens, asked)

    def authorize_device(self, *, scopes: Sequence[str]) -> DeviceAuthorization:
        """Ask for a code that the user enters on another device. RFC 8628 §3.1."""
        registration, dialect = self.registration, self.registration.dialect
        asked = list(scope_parameters(scopes, registration.scope_separator, dialect).items())
        if dialect.authorization_details:
            asked.append((DETAILS, dialect.authorization_details))  # RFC 9396 §2
        return authorize_device(registration, scopes=asked, resources=_resources(dialect))

    def device_tokens(self, device_code: Secret, *, dpop_key: Secret | None = None) -> TokenResponse:
        """Ask once whether the user has entered the code; ``dpop_key``: the same for every poll. RFC 8628 §3.4.

        Raises :class:`TokenEndpointError`, whose ``error`` says what to do: ``authorization_pending``, ``slow_down``, ….
        """
        dialect = self.registration.dialect
        body = urlencode([("grant_type", DEVICE_GRANT), ("device_code", device_code.reveal())])
        tokens = self._tokens(body, dialect.token_parameters, {}, dpop_key=dpop_key)
        return tokens if dialect.second_exchange is None else self._swapped(tokens, dialect.second_exchange)

    def revoke(
        self, token: Secret, *, hint: Literal["refresh_token", "access_token"], dpop_key: Secret | None = None
    ) -> RevocationResult:
        """Revoke one token; a server that does not know it says so with success. RFC 7009 §2.

        ``dpop_key``: what it is bound to; the proof shows a server that asks for one that this is not a thief's doing.
        """
        registration, dialect = self.registration, self.registration.dialect
        if not registration.server.revocation_endpoint:
            return RevocationResult("unsupported")
        by_token = dialect.revocation_authentication == "token"
        if by_token and hint == "refresh_token":
            return RevocationResult("unsupported")  # the server takes an access token, and ends what belongs to it
        presented = Credentials(token, dpop_key=dpop_key) if by_token else None
        response = send_proven(
            lambda: self._revocation(token, hint, presented),
            dpop_key,
            policy=registration.own_transport,
            token=token if by_token else None,
        )
        if by_token and response.status == HTTPStatus.UNAUTHORIZED and not blames_proof(response.headers):
            return RevocationResult("revoked")  # the server does not know it any more
        try:
            raise_for_error(response, dialect=dialect)
        except TokenEndpointError as error:
            if error.error == "unsupported_token_type":
                return RevocationResult("unsupported")
            raise
        return RevocationResult("revoked")

    def _revocation(self, token: Secret, hint: str, presented: Credentials | None) -> requests.PreparedRequest:
        """Return the request that revokes ``token``, authenticated by the client or, if that is ``presented``, by itself."""
        registration, dialect = self.registration, self.registration.dialect
        parameters = (
            [(dialect.revocation_token_parameter, token.reveal())] if dialect.revocation_token_parameter else []
        )
        if presented is None:
            parameters.append(("token_type_hint", hint))
        request = token_request(
            registration,
            endpoint_of(registration, "revocation_endpoint"),
            parameters,
            method=dialect.revocation_request_method,
            authenticates=presented is None,
        )
        if presented is not None:
            put_token(request, registration, presented)
        return request

    def identify(
        self, credentials: Credentials, extra: Mapping[str, Any], id_token: Mapping[str, Any] = MappingProxyType({})
    ) -> Identity:
        """Find out which account the grant is for; ``id_token``: the claims of the verified ID token, if there is one.

        Raise :class:`TokenEndpointError` (``identity_unavailable``, ``userinfo_mismatch``).
        """

        def ask_userinfo() -> Any:
            def request() -> requests.PreparedRequest:
                prepared = userinfo_request(self.registration, credentials)
                self._bear(prepared, credentials, scheme=self.registration.dialect.userinfo_auth_scheme)
                return prepared

            response = send_proven(
                request, credentials.dpop_key, policy=self.registration.api_transport, token=credentials.access_token
            )
            return read_userinfo(response, self.registration, id_token)

        return find_identity(self.registration.identity, extra, ask_userinfo, id_token, kept=self.registration.kept)

    def authenticate(self, prepared: requests.PreparedRequest, credentials: Credentials) -> requests.PreparedRequest:
        """Add the token to an API request, and a proof if it is bound to a key. RFC 6750 §2.1, RFC 9449 §7.1."""
        put_constants(prepared, self.registration)
        self._bear(prepared, credentials)
        if credentials.dpop_key is not None:
            prove(prepared, credentials.dpop_key, token=credentials.access_token)
        return prepared

    def _bear(self, prepared: requests.PreparedRequest, credentials: Credentials, *, scheme: str = "") -> None:
        put_token(prepared, self.registration, credentials, scheme=scheme)
        if self.registration.quirk and self.registration.quirk.api_request:
            self.registration.quirk.api_request(self.registration, prepared, credentials)

    def _quirky(self) -> dict[str, str]:
        """Return what a quirk adds to an authorization request."""
        quirk = self.registration.quirk
        return quirk.authorization_request(self.registration) if quirk and quirk.authorization_request else {}

    def _bound_to(self, key: Secret | None) -> Secret | None:
        """Return what new tokens are to be bound to: ``key``, or a new one; nothing at a server that binds none."""
        if not self.registration.dpop_bound_access_tokens:
            return None
        return new_key() if key is None else key

    def _challenge(self, client: WebApplicationClient) -> tuple[Secret | None, dict[str, str]]:
        """Return a new PKCE verifier and the parameters that commit to it; none where PKCE is off."""
        method = self.registration.code_challenge_method
        if not method:
            return None, {}
        verifier = Secret(secrets.token_urlsafe(VERIFIER_BYTES))
        plain = verifier.reveal()  # oauthlib makes nothing of "plain"
        challenge = client.create_code_challenge(plain, "S256") if method == "S256" else plain
        return verifier, {"code_challenge": challenge, "code_challenge_method": method}

    def _swapped(self, first: TokenResponse, swap: SecondExchange) -> TokenResponse:
        """Swap the code's token for the one to keep; what the second answer does not say, the first has said."""
        try:
            check_endpoint(swap.endpoint, internal=self.registration.transport.internal)
        except ValueError as problem:
            message = f"{self.registration.name}: second_exchange: {problem}"
            raise ConfigurationError(message, code="endpoint_not_allowed") from None
        parameters = urlencode([("grant_type", swap.grant_type), (swap.token_parameter, first.access_token.reveal())])
        second = self._tokens(
            parameters,
            (),
            {},
            endpoint=swap.endpoint,
            method=swap.method,
            authenticates=swap.client_authentication,
            dpop_key=first.dpop_key,
        )
        return replace(
            second,
            refresh_token=second.refresh_token or first.refresh_token,
            scopes=first.scopes if second.scopes is None else second.scopes,
            id_token=second.id_token or first.id_token,
            extra={**first.extra, **second.extra},
        )

    def _tokens(
        self,
        body: str,
        additions: Pairs,
        values: Mapping[str, str],
        *,
        endpoint: str = "",
        method: str = "",
        authenticates: bool = True,
        is_for_own_api: bool = True,
        dpop_key: Secret | None = None,
    ) -> TokenResponse:
        """Send what oauthlib has composed, with the configured additions, in the dialect; read the answer."""
        registration = self.registration
        more = free(additions, {**client_variables(registration), **values}, unreserved=FREE_AT_TOKEN_ENDPOINT)
        if is_for_own_api:
            more += _resources(registration.dialect)
        place = endpoint or endpoint_of(registration, "token_endpoint")
        parameters = [*parse_qsl(body, keep_blank_values=True), *more]

        def request() -> requests.PreparedRequest:
            return token_request(
                registration, place, parameters, method=method, authenticates=authenticates, said=values
            )

        response = send_proven(request, dpop_key, policy=registration.own_transport)
        try:
            return parse_token_response(
                response, dialect=registration.dialect, quirk=registration.quirk, dpop_key=dpop_key
            )
        except TokenEndpointError as error:
            if error.code in blamed_on_signatures(registration, parameters, dpop_key):
                suspect_clock(error, response)
            raise


def _resources(dialect: Dialect) -> list[tuple[str, str]]:
    """Return what the tokens are to be for, once per resource. RFC 8707 §2."""
    return [("resource", uri) for uri in dialect.resources]


def _as_https(url: str) -> str:
    """Spell a checked loopback URL as https: oauthlib can only be told to accept http for the whole process."""
    return "https:" + url.partition(":")[2]


def _as_before(url: str, endpoint: str) -> str:
    return urlsplit(endpoint).scheme + ":" + url.partition(":")[2]
