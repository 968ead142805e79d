"""What the protocol sees of a provider's row: frozen values, and a fingerprint of where secrets may go."""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from django_oauth_flows.conf import settings
from django_oauth_flows.exceptions import ConfigurationError, DecryptionError
from django_oauth_flows.models.provider_rules import ENDPOINTS
from django_oauth_flows.protocol.client_auth import WITH_CERTIFICATE
from django_oauth_flows.protocol.dialect import ENDPOINT_KEYS, Dialect
from django_oauth_flows.protocol.kept import as_variables, resolve
from django_oauth_flows.protocol.messages import ClientRegistration, IdentityClaims, ServerMetadata, TransportPolicy
from django_oauth_flows.protocol.placeholders import fill, runtime_names
from django_oauth_flows.protocol.quirks import quirk_named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django_oauth_flows.models.provider import Provider
    from django_oauth_flows.protocol.secret import Secret

logger = logging.getLogger("oauth_flows")


def registration(
    provider: Provider, parameters: Mapping[str, str], kept: Mapping[str, Any] | None = None
) -> ClientRegistration:
    """Do what :meth:`Provider.registration` says."""
    values = {**parameters, **provider.parameters}
    with _misconfiguration(provider):
        endpoints = {name: fill(getattr(provider, name), values) for name in ENDPOINTS}
        api_base_url = fill(provider.api_base_url, values)
        api_hosts = tuple(fill(host, values) for host in provider.api_hosts)
        dialect = Dialect.from_json(provider.dialect).filled(values)
        quirk = quirk_named(dialect.quirk) if dialect.quirk else None
    certificate = _client_certificate(provider)
    if certificate is not None:
        endpoints |= _aliases(provider, dialect)
    said = as_variables(kept or {})
    proxy = provider.open("proxy")
    return ClientRegistration(
        name=provider.slug,
        protocol=provider.protocol,  # type: ignore[arg-type]
        server=ServerMetadata(
            **endpoints,
            refresh_endpoint=dialect.refresh_endpoint,
            issuer=_issuer(provider, values),
            authorization_response_iss_parameter_supported=provider.authorization_response_iss_parameter_supported,
        ),
        client_id=provider.client_id,
        client_secret=provider.open("client_secret"),
        second_client_secret=_second_client_secret(provider),
        token_endpoint_auth_method=provider.token_endpoint_auth_method,  # type: ignore[arg-type]
        scope_separator=provider.scope_separator or " ",
        code_challenge_method=provider.code_challenge_method,  # type: ignore[arg-type]
        response_mode=provider.response_mode,  # type: ignore[arg-type]
        dpop_bound_access_tokens=provider.dpop_bound_access_tokens,
        client_certificate=certificate,
        tls_client_certificate_bound_access_tokens=provider.tls_client_certificate_bound_access_tokens,
        signature_method=provider.signature_method,
        signature_placement=provider.signature_placement,  # type: ignore[arg-type]
        realm=provider.realm,
        private_key=provider.open(signing_key(provider)),
        identity=IdentityClaims(
            provider.identity_source,  # type: ignore[arg-type]
            provider.subject_path,
            provider.label_path,
            dialect.subject_template,
            dialect.subject_prefix,
        ),
        dialect=dialect,
        quirk=quirk,
        kept=said,
        transport=TransportPolicy(
            api_base_url=_api_base(provider, api_base_url, said, dialect),
            api_hosts=api_hosts,
            internal=provider.internal,
            proxy=proxy.reveal() if proxy else settings.proxy,
            ca_bundle=provider.ca_bundle or settings.ca_bundle,
            deadline=float(provider.request_deadline),
        ),
    )


def fingerprint(provider: Provider, parameters: Mapping[str, str]) -> str:
    """Do what :meth:`Provider.fingerprint` says."""
    values = {**parameters, **provider.parameters}
    parts = [provider.protocol, _issuer(provider, values), provider.client_id]
    with _misconfiguration(provider):
        parts += [
            fill(getattr(provider, name), values)
            for name in ("authorization_endpoint", "token_endpoint", "temporary_credential_endpoint")
        ]
        if provider.pushed_authorization_request_endpoint:
            parts.append(fill(provider.pushed_authorization_request_endpoint, values))
        if isinstance(provider.dialect, dict) and not ENDPOINT_KEYS.isdisjoint(provider.dialect):
            # Refresh tokens go there, as they do to the token endpoint.
            parts += [json.dumps(Dialect.from_json(provider.dialect).filled(values).endpoints, sort_keys=True)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def own_issuer(provider: Provider) -> str:
    """Return the issuer with what staff have filled in; raise :class:`ConfigurationError` if that is not all."""
    with _misconfiguration(provider):
        return fill(provider.issuer, provider.parameters)


def _issuer(provider: Provider, values: Mapping[str, str]) -> str:
    """Return the issuer; where nobody has filled it in, as it is written: no answer names that, and most calls need none."""
    with suppress(ValueError):
        return fill(provider.issuer, values)
    return provider.issuer


def _api_base(provider: Provider, template: str, said: Mapping[str, str], dialect: Dialect) -> str:
    """Return the API base URL; "" while nobody has said what its variables are, or where that may not lead."""
    if not runtime_names(template):
        return template
    try:
        return resolve(template, said, patterns=dialect.api_host_patterns, internal=provider.internal)
    except ValueError:
        if said:
            logger.warning("oauth_flows.api_base_not_allowed", extra={"provider": str(provider.pk)})
        return ""


def signing_key(provider: Provider) -> str:
    """Return the column of the key that signs now: the next one from its time on, when everybody can have fetched it."""
    at = provider.next_private_key_at
    is_due = provider.next_private_key is not None and at is not None and at <= timezone.now()
    return "next_private_key" if is_due else "private_key"


def _client_certificate(provider: Provider) -> Secret | None:
    """Return what is to be shown in handshakes, None if nothing in this row asks for it. RFC 8705."""
    bound = provider.tls_client_certificate_bound_access_tokens
    if not bound and provider.token_endpoint_auth_method not in WITH_CERTIFICATE:
        return None
    certificate = provider.open("client_certificate")
    if certificate is None and bound:
        raise ConfigurationError(
            f"Provider {provider.slug} has no client certificate to bind tokens to.", code="client_certificate_missing"
        )
    return certificate


def _aliases(provider: Provider, dialect: Dialect) -> dict[str, str]:
    """Return where endpoints are for who shows a certificate; userinfo is shown it where tokens are bound to it."""
    aliases = dict(dialect.mtls_endpoint_aliases)
    if not provider.tls_client_certificate_bound_access_tokens:
        aliases.pop("userinfo_endpoint", None)
    return aliases


def _second_client_secret(provider: Provider) -> Secret | None:
    """Return the one from before a change, while it may still be needed; one that does not open is not needed."""
    until = provider.second_client_secret_expires_at
    if until is not None and until <= timezone.now():
        return None
    with suppress(DecryptionError):
        return provider.open("second_client_secret")
    return None


@contextmanager
def _misconfiguration(provider: Provider) -> Iterator[None]:
    """Say of a value that cannot be used whose it is."""
    try:
        yield
    except ValueError as problem:
        raise ConfigurationError(f"Provider {provider.slug}: {problem}", code="provider_misconfigured") from None
