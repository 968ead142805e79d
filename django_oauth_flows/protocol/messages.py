"""The nouns of both protocols as frozen values, in the spelling of their RFCs.

``ServerMetadata`` follows RFC 8414 §2, ``ClientRegistration`` RFC 7591 §2, ``TokenResponse`` RFC 6749 §5.1,
``TemporaryCredentials`` and ``TokenCredentials`` RFC 5849 §1.1. Values only: no I/O, nothing heavy to import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from django_oauth_flows.protocol.dialect import Dialect
from django_oauth_flows.protocol.placeholders import placeholders

if TYPE_CHECKING:
    from datetime import datetime

    from django_oauth_flows.protocol.quirks import Quirk
    from django_oauth_flows.protocol.secret import Secret

Params = Sequence[tuple[str, str]]
"""Query or form parameters in wire order, duplicates kept."""


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """Where one authorization server lives; endpoints have their placeholders resolved."""

    authorization_endpoint: str = ""
    token_endpoint: str = ""
    temporary_credential_endpoint: str = ""  # RFC 5849 §2.1; OAuth 1.0a only
    pushed_authorization_request_endpoint: str = ""  # RFC 9126 §5; set: every request is pushed
    device_authorization_endpoint: str = ""  # RFC 8628 §4
    revocation_endpoint: str = ""
    introspection_endpoint: str = ""  # RFC 7662
    userinfo_endpoint: str = ""
    registration_endpoint: str = ""  # RFC 7591; asked once, and then no part of a provider's row
    refresh_endpoint: str = ""  # where it is not the token endpoint
    issuer: str = ""
    jwks_uri: str = ""  # the keys that ID tokens are signed with
    authorization_response_iss_parameter_supported: bool = False  # RFC 9207 §3

    @property
    def known_issuer(self) -> str:
        """Return the issuer; "" while nobody has filled in its placeholders: nothing is for it, or from it, then."""
        return "" if placeholders(self.issuer) else self.issuer


@dataclass(frozen=True, slots=True)
class IdentityClaims:
    """Where to read the remote account's stable id and display name: paths into one document."""

    source: Literal["none", "userinfo", "token_response", "id_token"] = "none"
    subject_path: str = "sub"
    label_path: str = ""
    subject_template: str = ""  # an id made of several, instead of the path
    subject_prefix: str = ""  # what the id begins with, and is taken off


@dataclass(frozen=True, slots=True)
class TransportPolicy:
    """Which hosts may be talked to, and how. ``api_hosts`` entries are ``host`` or ``host:port``, without wildcards."""

    api_base_url: str = ""
    api_hosts: tuple[str, ...] = ()
    internal: bool = False  # allows private addresses, and plain http to loopback hosts
    proxy: str = field(default="", repr=False)  # may hold credentials
    ca_bundle: str = ""
    deadline: float = 20.0  # seconds, total, for one protocol request
    client_certificate: Secret | None = None  # shown to a server that asks for one, RFC 8705


@dataclass(frozen=True, slots=True)
class ClientRegistration:
    """Our registration at one server, and how that server wants to be spoken to."""

    name: str  # the provider's slug: for messages and logs
    protocol: Literal["oauth1", "oauth2"]
    server: ServerMetadata
    client_id: str
    client_secret: Secret | None = None
    second_client_secret: Secret | None = None  # the one from before a change: some servers take the new one later
    token_endpoint_auth_method: Literal[
        "client_secret_basic",
        "client_secret_post",
        "client_secret_jwt",
        "private_key_jwt",
        "tls_client_auth",
        "self_signed_tls_client_auth",
        "none",
    ] = "client_secret_basic"
    scope_separator: str = " "
    code_challenge_method: Literal["S256", "plain", ""] = "S256"
    response_mode: Literal["query", "form_post", "jwt", "query.jwt", "form_post.jwt"] = "query"
    signature_method: str = "HMAC-SHA1"  # OAuth 1.0a
    signature_placement: Literal["header", "query", "body"] = "header"
    realm: str = ""
    private_key: Secret | None = None  # PEM; RSA-SHA* signatures, client assertions
    dpop_bound_access_tokens: bool = False  # RFC 9449 §5.2: every token is asked for with a key, and bound to it
    identity: IdentityClaims = IdentityClaims()
    dialect: Dialect = field(default_factory=Dialect)
    quirk: Quirk | None = None  # what only code can say of this server
    kept: Mapping[str, str] = field(
        default_factory=dict, repr=False
    )  # what one connection's provider has said, as variables
    transport: TransportPolicy = TransportPolicy()
    client_certificate: Secret | None = None  # PEM: certificates and key; None unless it is to be shown, RFC 8705
    tls_client_certificate_bound_access_tokens: bool = False  # RFC 8705 §3.4: it is shown to the API as well

    def within(self, seconds: float) -> ClientRegistration:
        """Return the same client, whose requests may take so long each."""
        return replace(self, transport=replace(self.transport, deadline=seconds))

    @property
    def own_transport(self) -> TransportPolicy:
        """Return the way to the endpoints that know this client, and to no others: with its certificate, if it has one."""
        if self.client_certificate is None:
            return self.transport
        return replace(self.transport, client_certificate=self.client_certificate)

    @property
    def api_transport(self) -> TransportPolicy:
        """Return the way to the API: with the certificate, if its tokens are bound to that."""
        return self.own_transport if self.tls_client_certificate_bound_access_tokens else self.transport


@dataclass(frozen=True, slots=True)
class TemporaryCredentials:
    """The request token of RFC 5849 §2.1."""

    token: Secret
    token_secret: Secret


@dataclass(frozen=True, slots=True)
class TokenCredentials:
    """The permanent credentials of RFC 5849 §2.3. ``extra`` holds the other members; keep only what is allow-listed."""

    token: Secret
    token_secret: Secret
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """A successful answer of the token endpoint, normalised.

    ``expires_in``/``refresh_token_expires_in``: whole seconds, None for unknown; ``expires_in`` is ``0`` for "already expired".
    ``scopes``: None if the server named none (RFC 6749 §5.1: then as requested), ``()`` if it granted none.
    ``refresh_token``: None also for an empty one. ``extra``: the other members; keep only what is allow-listed.
    """

    access_token: Secret
    token_type: str
    expires_in: int | None = None
    refresh_token: Secret | None = None
    refresh_token_expires_in: int | None = None
    scopes: tuple[str, ...] | None = None
    id_token: Secret | None = None
    dpop_key: Secret | None = None  # what the tokens are bound to, RFC 9449
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which account at the provider: ``subject`` is its stable id or None, ``label`` what a person recognises."""

    subject: str | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What authenticates one API call. ``token_secret`` is set for OAuth 1.0a only."""

    access_token: Secret
    token_secret: Secret | None = None
    token_type: str = "Bearer"
    dpop_key: Secret | None = None  # what the token is bound to: each request needs a proof, RFC 9449
    generation: int = 0
    endless_since: datetime | None = None  # when it was issued, if nobody says how long it lives


@dataclass(frozen=True, slots=True)
class PendingAuthorization:
    """One dance between its start and its callback. Make one with a flow's ``start``, or rebuild it from storage."""

    registration: ClientRegistration
    redirect_uri: str  # exactly as sent, for OAuth 1.0a with the state in its query
    scopes: tuple[str, ...] = ()
    state: Secret | None = None
    code_verifier: Secret | None = None
    nonce: Secret | None = None  # OpenID Connect: ties the ID token to this dance
    dpop_key: Secret | None = None  # what the tokens are going to be bound to, RFC 9449
    temporary_credentials: TemporaryCredentials | None = None
    by_device: bool = False  # RFC 8628: no redirect has carried a nonce there and back


@dataclass(frozen=True, slots=True)
class AuthorizationResponse:
    """Callback parameters that passed every check. Only ``validate_authorization_response`` makes one."""

    pending: PendingAuthorization
    code: Secret  # the authorization code, or OAuth 1.0a's verifier
    extra: Mapping[str, str] = field(default_factory=dict, repr=False)  # allow-listed callback parameters


@dataclass(frozen=True, slots=True)
class RevocationResult:
    """How the revocation endpoint answered: ``revoked``, or ``unsupported`` by this server (RFC 7009 §2.2)."""

    outcome: Literal["revoked", "unsupported"]
