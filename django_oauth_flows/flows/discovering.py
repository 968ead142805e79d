"""Discover a provider from its issuer's URL: its endpoints are pinned then, and a later change needs staff's word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import router, transaction

from django_oauth_flows.conf import settings
from django_oauth_flows.exceptions import ConfigurationError, OAuthFlowsError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.history import logger
from django_oauth_flows.models import DiscoveredMetadata, Provider
from django_oauth_flows.models.discovered_metadata import object_in
from django_oauth_flows.models.provider_registration import own_issuer
from django_oauth_flows.protocol.client_auth import WITH_SECRET
from django_oauth_flows.protocol.dialect import DEFAULT_ALGORITHM
from django_oauth_flows.protocol.discovery import discover as read_issuer
from django_oauth_flows.protocol.discovery import ours
from django_oauth_flows.protocol.dpop import ALGORITHM
from django_oauth_flows.protocol.jarm import SIGNED_MODES
from django_oauth_flows.protocol.messages import TransportPolicy
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_oauth_flows.protocol.discovery import Discovered

OFFLINE = "offline_access"
MOST_TYPES = 20
"""Kinds of authorization details that are taken over of what an issuer lists."""

PINNED = (
    "authorization_endpoint",
    "token_endpoint",
    "revocation_endpoint",
    "userinfo_endpoint",
    "jwks_uri",
    "pushed_authorization_request_endpoint",
    "device_authorization_endpoint",
    "introspection_endpoint",
    "authorization_response_iss_parameter_supported",
)
"""The columns that are compared with the issuer's metadata later."""

ALIASES = "mtls_endpoint_aliases"
"""The key of the dialect that is compared like them."""


def discover(issuer: str, *, internal: bool = False, deadline: float = 20.0, dpop: bool = False) -> dict[str, Any]:
    """Return the columns of a ``Provider`` for ``issuer``, read from its metadata; nothing is stored.

    ``internal`` admits private addresses, and plain http to this machine. ``deadline``: seconds for each of at most
    three requests. ``dpop``: tokens are to be bound to keys (RFC 9449); that a server can does not mean that every API
    behind it can, so it is for staff to say. Raises :class:`ConfigurationError` (``issuer_not_allowed``,
    ``dpop_unsupported``) and :class:`TokenEndpointError`: ``metadata_missing``, ``metadata_invalid``, ``discovered_issuer_mismatch``. OpenID Connect Discovery 1.0 §4, RFC 8414 §3.
    """
    found = read_issuer(issuer, policy=policy_of(internal=internal, deadline=deadline))
    return {**columns_of(found, internal=internal), "dpop_bound_access_tokens": bound(found, dpop=dpop)}


def bound(found: Discovered, *, dpop: bool) -> bool:
    """Return ``dpop``; raise :class:`ConfigurationError` (``dpop_unsupported``) if the issuer does not know it by our algorithm."""
    if dpop and ALGORITHM not in (found.dpop_algorithms or ()):
        raise ConfigurationError(
            f"The issuer's metadata name no tokens that are bound to keys by {ALGORITHM}.",
            code="dpop_unsupported",
            hint="Do without DPoP there, or ask the service.",
        )
    return dpop


def policy_of(*, internal: bool, deadline: float = 20.0) -> TransportPolicy:
    """Return how to talk to an issuer that no row describes yet."""
    return TransportPolicy(
        internal=internal, proxy=settings.proxy, ca_bundle=settings.ca_bundle, deadline=float(deadline)
    )


def add_discovered_provider(
    issuer: str,
    *,
    slug: str,
    client_id: str,
    client_secret: str = "",
    name: str = "",
    scopes: Iterable[str] | None = None,
    api_base_url: str = "",
    internal: bool = False,
    dpop: bool = False,
) -> Provider:
    """Discover ``issuer`` and save a provider for it; one without ``client_secret`` is a public client.

    ``scopes`` default to ``openid``, and ``offline_access`` where the issuer knows it. Raises what :func:`discover`
    raises, and :class:`ConfigurationError` (``provider_misconfigured``) naming the first column that cannot be so.
    """
    found = discover(issuer, internal=internal, dpop=dpop)
    provider = Provider(slug=slug, name=name or slug, client_id=client_id, api_base_url=api_base_url, **found)
    if scopes is not None:
        ask_for_scopes(provider, scopes)
    if client_secret:
        provider.seal("client_secret", Secret(client_secret))
    elif provider.token_endpoint_auth_method in WITH_SECRET:
        provider.token_endpoint_auth_method = Provider.AuthMethod.NONE
    validated(provider)
    with transaction.atomic(using=router.db_for_write(Provider)):
        provider.save()
        note(provider, found)
    return provider


def ask_for_scopes(provider: Provider, scopes: Iterable[str]) -> None:
    """Let a discovered provider ask for these scopes, and what goes with them."""
    provider.scopes = tuple(scopes)
    provider.dialect.pop("authorization_parameters", None)
    provider.dialect.update(_asking_for_consent(provider.scopes))


def validated(provider: Provider) -> None:
    """Raise :class:`ConfigurationError` (``provider_misconfigured``) naming the first column that cannot be so."""
    try:
        provider.full_clean()
    except ValidationError as problems:
        column, messages = next(iter(problems.message_dict.items()))
        raise ConfigurationError(f"{column}: {messages[0]}", code="provider_misconfigured") from None


def rediscover(provider: Provider) -> dict[str, tuple[str, str]]:
    """Ask the provider's issuer again; return where it says something else than the row: column → (the row's, the issuer's).

    The row stays as it is: editing it is staff's word. What was found is kept for the admin and the system checks; a look
    that fails leaves the last good one. Raises what :func:`discover` raises, and :class:`ConfigurationError`
    (``provider_misconfigured``) for an issuer with a placeholder that staff have not filled in.
    """
    try:
        found = discover(own_issuer(provider), internal=provider.internal, deadline=provider.request_deadline)
    except OAuthFlowsError as error:
        DiscoveredMetadata.objects.filter(provider=provider).update(failure=error.code)
        raise
    noted = note(provider, found)
    if noted.differences:
        facts = {"provider": str(provider.pk), "columns": sorted(noted.differences)}
        logger.warning("oauth_flows.metadata_changed", extra=facts)
    return noted.differences


def note(provider: Provider, found: dict[str, Any]) -> DiscoveredMetadata:
    """Keep what the issuer has said, to compare the row with."""
    noted, _created = DiscoveredMetadata.objects.update_or_create(
        provider=provider,
        defaults={
            "columns": {name: found[name] for name in PINNED} | _pinned_aliases(provider, found),
            "fetched_at": DatabaseNow(),
            "failure": "",
        },
    )
    noted.provider = provider
    return noted


def _pinned_aliases(provider: Provider, found: dict[str, Any]) -> dict[str, str]:
    """Return where the issuer has the endpoints that receive what theirs do, for who shows a certificate; "" for nowhere."""
    ours, theirs = object_in(provider.dialect, ALIASES), object_in(found.get("dialect"), ALIASES)
    return {f"{ALIASES}.{name}": theirs.get(name, "") for name in (*ours, *theirs)}


def columns_of(found: Discovered, *, internal: bool) -> dict[str, Any]:
    """Return the columns of a ``Provider`` for what an issuer has said."""
    server = found.server
    verifiable = bool(server.jwks_uri)
    offered = found.scopes if found.scopes is not None else ("openid",) if verifiable else ()
    scopes = tuple(scope for scope in ("openid", OFFLINE) if scope in offered)
    return {
        "issuer": server.issuer,
        **{name: getattr(server, name) for name in PINNED},
        "token_endpoint_auth_method": found.auth_method,
        "scopes": scopes,
        "identity_source": _identity_source(found),
        "label_path": "name" if verifiable or server.userinfo_endpoint else "",
        "response_mode": found.response_mode,
        "dialect": {**_dialect(found), **_asking_for_consent(scopes), **_aliases(found)},
        "internal": internal,
    }


def _dialect(found: Discovered) -> dict[str, Any]:
    """Return what the issuer demands or knows that no column says."""
    said: dict[str, Any] = {}
    if found.server.jwks_uri and found.id_token_algorithm != DEFAULT_ALGORITHM:
        said["id_token_signed_response_alg"] = found.id_token_algorithm
    if found.auth_method == "private_key_jwt":
        said["token_endpoint_auth_signing_alg"] = ours(found.auth_algorithms)
    if found.requires_signed_requests:
        said["request_object_signing_alg"] = ours(found.request_algorithms)
    if found.response_mode in SIGNED_MODES and (algorithm := ours(found.response_algorithms)) != DEFAULT_ALGORITHM:
        said["authorization_signed_response_alg"] = algorithm
    if found.details_types:
        said["authorization_details_types"] = list(found.details_types)[:MOST_TYPES]
    return said


def _aliases(found: Discovered) -> dict[str, Any]:
    return {ALIASES: dict(found.mtls_endpoint_aliases)} if found.mtls_endpoint_aliases else {}


def _asking_for_consent(scopes: Iterable[str]) -> dict[str, Any]:
    """Let a server that may ignore ``offline_access`` unless its user is asked ask them. OpenID Connect Core 1.0 §11."""
    return {"authorization_parameters": {"prompt": "consent"}} if OFFLINE in scopes else {}


def _identity_source(found: Discovered) -> str:
    if found.server.jwks_uri:
        return Provider.IdentitySource.ID_TOKEN
    return Provider.IdentitySource.USERINFO if found.server.userinfo_endpoint else Provider.IdentitySource.NONE
