"""Our public keys, for the services that verify our assertions by them. RFC 7517 §5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import Http404, HttpResponse, JsonResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from django_oauth_flows.exceptions import ConfigurationError, DecryptionError
from django_oauth_flows.models import Provider

if TYPE_CHECKING:
    from django.http import HttpRequest

LIFETIME = 3600
"""Seconds for which anybody may keep the answer."""


@require_safe
@cache_control(public=True, max_age=LIFETIME)
def jwks(request: HttpRequest, slug: str) -> HttpResponse:
    """Return the public half of one provider's private key; 404 where none is used, as for a provider that is not there.

    A disabled provider's is shown as well: tokens are still revoked there.
    """
    # The page is rarely asked for; cryptography loads then.
    from django_oauth_flows.protocol.keys import public_jwk

    signing = Provider.objects.filter(token_endpoint_auth_method=Provider.AuthMethod.PRIVATE_KEY_JWT)
    provider = signing.filter(slug=slug, private_key__isnull=False).first()
    try:
        private_key = provider.open("private_key") if provider is not None else None
        keys = [public_jwk(private_key)] if private_key is not None else []
    except (DecryptionError, ConfigurationError):
        keys = []  # nothing can be signed with it either; the system checks tell staff
    if not keys:
        raise Http404
    return JsonResponse({"keys": keys}, content_type="application/jwk-set+json")
