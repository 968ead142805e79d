"""OAuth 1.0a: the three legs and signed API calls, by RFC 5849.

requests-oauthlib places the signature, oauthlib computes it; RSA keys are parsed once, nonces have 128 bits, and nothing is
signed that could travel in clear or carry somebody else's ``oauth_`` parameters.
"""

from __future__ import annotations

import re
import secrets
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests
from oauthlib.oauth1 import SIGNATURE_TYPE_AUTH_HEADER, SIGNATURE_TYPE_BODY, SIGNATURE_TYPE_QUERY, Client
from requests_oauthlib import OAuth1

from django_oauth_flows.exceptions import (
    AuthorizationError,
    ConfigurationError,
    RequestBlocked,
)
from django_oauth_flows.protocol.bearing import put_constants, with_parameters
from django_oauth_flows.protocol.endpoints import endpoint_of
from django_oauth_flows.protocol.identity import find_identity
from django_oauth_flows.protocol.identity_document import userinfo_request
from django_oauth_flows.protocol.keys import sign_rsa
from django_oauth_flows.protocol.messages import (
    Identity,
    PendingAuthorization,
    RevocationResult,
    TemporaryCredentials,
    TokenCredentials,
)
from django_oauth_flows.protocol.oauth1_answers import (
    CLOCK_PROBLEMS,
    problem_of,
    raise_for_problem,
    read_members,
    read_pair,
)
from django_oauth_flows.protocol.token_request import FORM, encoded, free
from django_oauth_flows.protocol.transport import send
from django_oauth_flows.protocol.userinfo import read_userinfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django_oauth_flows.protocol.dialect_values import Pairs
    from django_oauth_flows.protocol.messages import AuthorizationResponse, ClientRegistration, Credentials
    from django_oauth_flows.protocol.secret import Secret
    from django_oauth_flows.protocol.transport import ProtocolResponse

PLACEMENTS = {"header": SIGNATURE_TYPE_AUTH_HEADER, "query": SIGNATURE_TYPE_QUERY, "body": SIGNATURE_TYPE_BODY}
_STRICT_FORM = re.compile(r"[A-Za-z0-9_.\-=&;:%+~,*@!()/?'$]*")
"""What oauthlib takes for a form; browsers and ``curl`` leave more as it is."""

_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def _rsa(digest: str) -> Any:
    return lambda base_string, client: sign_rsa(client.private_key, digest, base_string)


class _SigningClient(Client):
    """oauthlib's client, signing RSA with a key that stays parsed."""

    SIGNATURE_METHODS = {  # noqa: RUF012 - oauthlib's own class attribute, extended
        **Client.SIGNATURE_METHODS,
        "RSA-SHA1": _rsa("SHA1"),
        "RSA-SHA256": _rsa("SHA256"),
        "RSA-SHA512": _rsa("SHA512"),
    }

    def __init__(self, *args: Any, private_key: Secret | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.private_key = private_key


class OAuth1Flow:
    """The requests of RFC 5849 for one registration."""

    def __init__(self, registration: ClientRegistration) -> None:
        self.registration = registration

    def start(self, *, redirect_uri: str, scopes: Sequence[str], state: Secret) -> tuple[PendingAuthorization, str]:
        """Ask for temporary credentials; return what to remember, and where to send the browser. RFC 5849 §2.1, §2.2.

        Our own state rides in the callback's query, since the protocol has none.
        """
        callback = f"{redirect_uri}?{urlencode({'state': state.reveal()})}"
        dialect = self.registration.dialect
        members = self._credentials(
            "temporary_credential_endpoint",
            callback_uri=callback,
            method=dialect.temporary_request_method,
            parameters=[*self._scopes(scopes, "temporary"), *self._free(dialect.temporary_parameters)],
        )
        confirmed = [value for name, value in members if name == "oauth_callback_confirmed"]
        if [value.lower() for value in confirmed] != ["true"]:
            raise AuthorizationError(
                "The service does not confirm where it will send you back to.",
                code="callback_not_confirmed",
                hint="It may speak OAuth 1.0 without the correction of 2009, which is not safe to use.",
            )
        token, token_secret = read_pair(members)
        pending = PendingAuthorization(
            self.registration,
            redirect_uri,
            tuple(scopes),
            temporary_credentials=TemporaryCredentials(token, token_secret),
        )
        endpoint = endpoint_of(self.registration, "authorization_endpoint")
        more = [*self._scopes(scopes, "authorization"), *self._free(self.registration.dialect.authorization_parameters)]
        return pending, with_parameters(endpoint, [("oauth_token", token.reveal()), *more])

    def exchange(self, response: AuthorizationResponse) -> TokenCredentials:
        """Exchange the verifier for token credentials, once. RFC 5849 §2.3."""
        temporary = response.pending.temporary_credentials
        if temporary is None:
            raise AuthorizationError("There are no temporary credentials to exchange.", code="token_mismatch")
        members = self._credentials(
            "token_endpoint",
            temporary=temporary,
            verifier=response.code,
            method=self.registration.dialect.token_request_method,
            parameters=self._free(self.registration.dialect.token_parameters),
        )
        token, token_secret = read_pair(members)
        extra = {name: value for name, value in members if not name.startswith("oauth_token")}
        return TokenCredentials(token, token_secret, extra)

    def identify(
        self, credentials: Credentials, extra: Mapping[str, Any], id_token: Mapping[str, Any] = MappingProxyType({})
    ) -> Identity:
        """Find out which account the grant is for; raise :class:`TokenEndpointError` (``identity_unavailable``)."""

        def ask_userinfo() -> Any:
            request = self._signed(userinfo_request(self.registration, credentials), credentials)
            return read_userinfo(send(request, policy=self.registration.transport), self.registration, id_token)

        return find_identity(self.registration.identity, extra, ask_userinfo, id_token, kept=self.registration.kept)

    def revoke(self, credentials: Credentials) -> RevocationResult:
        """Revoke token credentials where the server has a place for it: a signed POST. No RFC says how."""
        if not self.registration.server.revocation_endpoint:
            return RevocationResult("unsupported")
        response = self._send(
            requests.Request("POST", endpoint_of(self.registration, "revocation_endpoint")), credentials
        )
        # 401: the server does not know the token any more, which is what was asked for.
        if response.status != requests.codes.unauthorized:
            raise_for_problem(response)
        return RevocationResult("revoked")

    def authenticate(self, prepared: requests.PreparedRequest, credentials: Credentials) -> requests.PreparedRequest:
        """Sign an API request. RFC 5849 §3.

        Raises :class:`RequestBlocked` for what must not be signed: PLAINTEXT without TLS, a URL or form that already has
        ``oauth_`` parameters, or a form that cannot be read.
        """
        put_constants(prepared, self.registration)
        return self._signed(prepared, credentials)

    def _signed(self, prepared: requests.PreparedRequest, credentials: Credentials) -> requests.PreparedRequest:
        return self._sign(
            prepared, resource_owner_key=credentials.access_token, resource_owner_secret=credentials.token_secret
        )

    def _free(self, parameters: Pairs) -> list[tuple[str, str]]:
        return free(parameters, {"client_id": self.registration.client_id})

    def _scopes(self, scopes: Sequence[str], place: str) -> list[tuple[str, str]]:
        """Return the scope parameter, if ``place`` is the request that has it here; no RFC knows of scopes."""
        dialect = self.registration.dialect
        if not scopes or dialect.oauth1_scopes_in != place:
            return []
        name = dict(dialect.authorization_parameter_names).get("scope", "scope")
        return [(name, self.registration.scope_separator.join(scopes))]

    def _credentials(
        self,
        name: Literal["temporary_credential_endpoint", "token_endpoint"],
        *,
        temporary: TemporaryCredentials | None = None,
        verifier: Secret | None = None,
        callback_uri: str | None = None,
        method: str = "POST",
        parameters: Sequence[tuple[str, str]] = (),
    ) -> list[tuple[str, str]]:
        """Send one of the two credential requests, signed anew once if the server dislikes our clock or nonce."""
        url = endpoint_of(self.registration, name)
        for may_repeat in (True, False):
            prepared = encoded(url, parameters, self._headers(), method=method)
            if method == "POST" and not parameters:
                prepared.body = ""  # a form without members: the signature may be put there
            signed = self._sign(
                prepared,
                resource_owner_key=temporary.token if temporary else None,
                resource_owner_secret=temporary.token_secret if temporary else None,
                verifier=verifier.reveal() if verifier else None,
                callback_uri=callback_uri,
            )
            response = send(signed, policy=self.registration.transport)
            if not (may_repeat and problem_of(response) in CLOCK_PROBLEMS):
                break
        raise_for_problem(response)
        return read_members(response)

    def _headers(self) -> dict[str, str]:
        return dict(self._free(self.registration.dialect.token_request_headers))

    def _send(self, request: requests.Request, credentials: Credentials) -> ProtocolResponse:
        return send(self.authenticate(request.prepare(), credentials), policy=self.registration.transport)

    def _sign(
        self,
        prepared: requests.PreparedRequest,
        *,
        resource_owner_key: Secret | None,
        resource_owner_secret: Secret | None,
        verifier: str | None = None,
        callback_uri: str | None = None,
    ) -> requests.PreparedRequest:
        registration = self.registration
        self.check_signable(str(prepared.url))
        body: Any = prepared.body
        is_form = _prepare_type(prepared)
        placement = registration.signature_placement
        signer = OAuth1(
            registration.client_id,
            client_secret=registration.client_secret.reveal() if registration.client_secret else "",
            resource_owner_key=resource_owner_key.reveal() if resource_owner_key else None,
            resource_owner_secret=resource_owner_secret.reveal() if resource_owner_secret else None,
            signature_method=registration.signature_method,
            # Only a form has a body that can take parameters.
            signature_type=PLACEMENTS["header" if placement == "body" and not is_form else placement],
            realm=registration.realm or None,
            verifier=verifier,
            callback_uri=callback_uri,
            nonce=secrets.token_hex(16),
            decoding=None,
            client_class=_SigningClient,
            private_key=registration.private_key,
        )
        if is_form:
            prepared.body = _as_strict_form(body)
        signed = _apply(signer, prepared)
        if is_form and placement != "body":
            signed.body = body  # the same parameters, in the caller's spelling
        if isinstance(signed.body, (str, bytes)):
            signed.prepare_content_length(signed.body)  # the signature may stand in the body
        return signed

    def check_signable(self, url: str) -> None:
        """Raise :class:`RequestBlocked` or :class:`ConfigurationError` for what must not, or cannot, be signed."""
        registration, parts = self.registration, urlsplit(url)
        if registration.signature_method == "PLAINTEXT" and parts.scheme != "https":
            raise RequestBlocked(
                "PLAINTEXT signatures are the secrets themselves and need https.", code="scheme_not_allowed"
            )
        if _has_protocol_parameters(parts.query):
            raise RequestBlocked("The URL already contains oauth_ parameters.", code="parameter_not_allowed")
        if '"' in registration.realm or not registration.realm.isprintable():
            raise ConfigurationError("The realm must be printable and without quotes.", code="provider_misconfigured")
        if registration.signature_method.startswith("RSA-") and registration.private_key is None:
            raise ConfigurationError(
                f"Provider {registration.name} has no private key.",
                code="private_key_missing",
                hint="RSA signatures need the PEM of the key whose public half is registered there.",
            )


def _apply(signer: OAuth1, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    try:
        signed: requests.PreparedRequest = signer(prepared)
    except ValueError:
        raise RequestBlocked(
            "OAuth 1.0a cannot sign this request: a GET or HEAD request must not carry a form.",
            code="body_not_allowed",
            hint="Send the parameters in the URL, or with POST.",
        ) from None
    return signed


def _prepare_type(prepared: requests.PreparedRequest) -> bool:
    """Settle the content type, by which the body is signed or not; return whether it is a form."""
    content_type: Any = prepared.headers.get("Content-Type", "")
    body: Any = prepared.body
    text = content_type.decode("latin-1") if isinstance(content_type, bytes) else str(content_type)
    if body is None and prepared.method in ("GET", "HEAD"):
        prepared.headers.pop("Content-Type", None)  # of nothing; oauthlib would miss a form
        return False
    if FORM in text.lower():
        prepared.headers["Content-Type"] = FORM
        return True
    if body is not None and not isinstance(body, (str, bytes)):
        # Without a type oauthlib would read the stream to see whether it is a form.
        prepared.headers.setdefault("Content-Type", "application/octet-stream")
    return False


def _as_strict_form(body: Any) -> str:
    """Return a form body spelled as oauthlib accepts it, with the same parameters.

    Raises :class:`RequestBlocked` for what two readers could decode differently: then the signature would be wrong.
    """
    unreadable = RequestBlocked(
        "OAuth 1.0a signs the parameters of a form, and this body cannot be read as one.",
        code="body_not_allowed",
        hint="Encode the form, or send another Content-Type.",
    )
    try:
        text = body.decode() if isinstance(body, bytes) else body or ""
        if not isinstance(text, str) or _BAD_PERCENT.search(text):
            raise unreadable
        members = parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise unreadable from None
    if _has_protocol_parameters(text):
        raise RequestBlocked("The form already contains oauth_ parameters.", code="parameter_not_allowed")
    return text if _STRICT_FORM.fullmatch(text) else urlencode(members)


def _has_protocol_parameters(query: str) -> bool:
    return any(name.lower().startswith("oauth_") for name, _ in parse_qsl(query, keep_blank_values=True))
