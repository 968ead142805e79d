"""Register: let an issuer make a client for this site, so that nobody has to copy an id and a secret. RFC 7591."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.db import Error, router, transaction
from django.urls import reverse
from django.utils import timezone, translation

from django_oauth_flows.exceptions import ConfigurationError, OAuthFlowsError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.discovering import ask_for_scopes, bound, columns_of, note, policy_of, validated
from django_oauth_flows.flows.rotating import algorithm_for
from django_oauth_flows.flows.starting import language_of_addresses, redirect_uri
from django_oauth_flows.models import Provider, RegisteredClient
from django_oauth_flows.protocol import client_registration
from django_oauth_flows.protocol.discovery import discover as read_issuer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_oauth_flows.protocol.messages import TransportPolicy
    from django_oauth_flows.protocol.secret import Secret

logger = logging.getLogger("oauth_flows")

UNREGISTERED = "not-registered-yet"
"""Stands for the client id while the row is checked, before anybody is asked for one."""


def register_provider(
    issuer: str,
    *,
    slug: str,
    name: str = "",
    scopes: Iterable[str] | None = None,
    api_base_url: str = "",
    internal: bool = False,
    dpop: bool = False,
    client_name: str = "",
    initial_access_token: Secret | None = None,
    site_url: str = "",
) -> Provider:
    """Discover ``issuer``, register a client there whose only redirect URI is ours, and save a provider for it.

    ``client_name`` is what the service's pages call this site, by default its host. Where the service knows clients by
    their keys alone, a new private key is made, and the service reads its public half from us. Everything that can be
    wrong here is found before a client is made there.

    Raises what :func:`discover` raises; :class:`ConfigurationError`: ``registration_unsupported``, ``base_url_required``,
    ``provider_misconfigured``; :class:`TokenEndpointError`: ``registration_failed``, ``registration_invalid``.
    """
    policy = policy_of(internal=internal)
    found = read_issuer(issuer, policy=policy)
    if not found.server.registration_endpoint:
        raise ConfigurationError(
            "The issuer registers no clients by itself.",
            code="registration_unsupported",
            hint="Register the client in the service's console, and give its id: --client-id.",
        )
    columns = {**columns_of(found, internal=internal), "dpop_bound_access_tokens": bound(found, dpop=dpop)}
    provider = Provider(slug=slug, name=name or slug, client_id=UNREGISTERED, api_base_url=api_base_url, **columns)
    if scopes is not None:
        ask_for_scopes(provider, scopes)
    wanted = provider.scopes
    validated(provider)
    provider.scopes = wanted  # they may name the client
    callback = redirect_uri(provider, site_url=site_url)
    _make_key(provider)
    client = client_registration.register(
        found.server.registration_endpoint,
        _metadata(provider, callback, client_name=client_name),
        policy=policy,
        now=timezone.now().timestamp(),
        initial_access_token=initial_access_token,
    )
    _adopt(provider, client)
    try:
        _store(provider, client, columns)
    except (Error, ConfigurationError):
        _give_back(client, policy=policy)
        raise
    return provider


def _make_key(provider: Provider) -> None:
    """Make the key that the client proves itself by, or signs requests with, if it does either."""
    asserts = provider.token_endpoint_auth_method == Provider.AuthMethod.PRIVATE_KEY_JWT
    if asserts or provider.dialect.get("request_object_signing_alg"):
        from django_oauth_flows.protocol.keys import new_private_key  # not every site signs

        provider.seal("private_key", new_private_key(algorithm_for(provider)))


def _metadata(provider: Provider, callback: str, *, client_name: str) -> dict[str, Any]:
    """Return what the client is to be like, in the words of RFC 7591 §2 and OpenID Connect Dynamic Registration §2."""
    parts = urlsplit(callback)
    origin = f"{parts.scheme}://{parts.netloc}"
    asked: dict[str, Any] = {
        "redirect_uris": [callback],
        "client_name": client_name or parts.hostname,
        "client_uri": origin,
        "application_type": "web",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": provider.token_endpoint_auth_method,
        "scope": " ".join(provider.scopes),
    }
    if provider.dpop_bound_access_tokens:
        asked["dpop_bound_access_tokens"] = True  # RFC 9449 §5.2
    if provider.private_key is not None:
        with translation.override(language_of_addresses()):
            asked["jwks_uri"] = origin + reverse("oauth_flows:jwks", args=[provider.slug])
    if provider.jwks_uri:
        asked["id_token_signed_response_alg"] = provider.dialect.get("id_token_signed_response_alg", "RS256")
    for name in ("token_endpoint_auth_signing_alg", "request_object_signing_alg"):
        if name in provider.dialect:
            asked[name] = provider.dialect[name]
    return asked


def _adopt(provider: Provider, client: client_registration.RegisteredClient) -> None:
    provider.client_id = client.client_id
    provider.scopes = client.scopes
    provider.token_endpoint_auth_method = client.token_endpoint_auth_method
    provider.seal("client_secret", client.client_secret)
    if client.client_secret_expires_at:
        provider.client_secret_expires_at = datetime.fromtimestamp(client.client_secret_expires_at, tz=UTC)


def _store(provider: Provider, client: client_registration.RegisteredClient, columns: dict[str, Any]) -> None:
    validated(provider)  # once more: with what the service has said, and another row may have come in between
    with transaction.atomic(using=router.db_for_write(Provider)):
        provider.save(force_insert=True)
        note(provider, columns)
        record = RegisteredClient(
            provider=provider, registration_client_uri=client.registration_client_uri, registered_at=DatabaseNow()
        )
        record.seal("registration_access_token", client.registration_access_token)
        record.save(force_insert=True)


def _give_back(client: client_registration.RegisteredClient, *, policy: TransportPolicy) -> None:
    """Remove at the service what is not stored here; the error that brought us here matters more than one of this."""
    try:
        client_registration.unregister(client, policy=policy)
    except OAuthFlowsError as error:
        logger.warning("oauth_flows.client_left_behind", extra={"code": error.code})
