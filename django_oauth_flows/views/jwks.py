"""Our public keys, for the services that verify our assertions by them. RFC 7517 §5."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from django.http import Http404, HttpResponse, JsonResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from django_oauth_flows.exceptions import ConfigurationError, DecryptionError
from django_oauth_flows.flows.rotating import PUBLISHED_FOR
from django_oauth_flows.models import Connection, Provider

if TYPE_CHECKING:
    from django.http import HttpRequest

    from django_oauth_flows.protocol.dialect import Dialect

LIFETIME = PUBLISHED_FOR
"""Seconds for which anybody may keep the answer."""


@require_safe
@cache_control(public=True, max_age=LIFETIME)
def jwks(request: HttpRequest, slug: str) -> HttpResponse:
    """Return the public halves of one provider's private keys; 404 where none is used, as for a provider that is not there.

    While keys are changed there are two: services have fetched the next one before it signs, and what the last one has
    signed is still believed. A disabled provider's are shown as well: tokens are still revoked there.
    """
    provider = Provider.objects.filter(slug=slug, protocol=Provider.Protocol.OAUTH2).first()
    keys = _public_keys(provider) if provider is not None else []
    if not keys:
        raise Http404
    return JsonResponse({"keys": keys}, content_type="application/jwk-set+json")


def _public_keys(provider: Provider) -> list[dict[str, str]]:
    # The page is rarely asked for; cryptography and the dialect load then.
    from django_oauth_flows.protocol.dialect import Dialect
    from django_oauth_flows.protocol.keys import public_jwk

    found = []
    with suppress(ValueError, TypeError):
        algorithms = _algorithms(provider, Dialect.from_json(provider.dialect))
        for column in ("private_key", "next_private_key") if algorithms else ():
            with suppress(
                DecryptionError, ConfigurationError
            ):  # nothing can be signed with it either; a check tells staff
                if (private_key := provider.open(column)) is not None:
                    found.append(public_jwk(private_key, *algorithms))
    return found


def _algorithms(provider: Provider, dialect: Dialect) -> list[str]:
    """Return what the keys sign by, "" for the usual of their kind: assertions of clients and service accounts, requests."""
    signs, method = dialect.request_object_signing_alg, provider.token_endpoint_auth_method
    asserts = (
        method == Provider.AuthMethod.PRIVATE_KEY_JWT
        or (method == Provider.AuthMethod.NONE and not signs)  # what else would it have a key for
        or provider.connections.filter(grant_type=Connection.GrantType.JWT_BEARER).exists()
    )
    return [*([dialect.token_endpoint_auth_signing_alg] if asserts else ()), *([signs] if signs else ())]
