"""What only the rows can tell; runs under ``check --database`` and ``migrate``, and is silent on an unmigrated database."""

from __future__ import annotations

from datetime import timedelta
from itertools import combinations
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.core.checks import Error, Info, Warning  # noqa: A004 - Django's own name
from django.db import DatabaseError, models, router, transaction
from django.db.models.functions import Cast, Substr
from django.utils import timezone

from django_oauth_flows import crypto
from django_oauth_flows.exceptions import ConfigurationError, DecryptionError
from django_oauth_flows.management.reencrypting import SEALED
from django_oauth_flows.models import DiscoveredMetadata, Provider, Token
from django_oauth_flows.models.provider_rules import dangers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from django.core.checks import CheckMessage

    from django_oauth_flows.fields import Sealed


def check_providers(databases: Iterable[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Name the providers with a dangerous setting."""
    return _ask(Provider, databases, lambda alias: [m for p in Provider.objects.using(alias) for m in _dangers(p)])


def check_sealed_rows(databases: Iterable[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Count the secrets that no configured key opens, and those that wait for re-encryption."""
    return [m for model in SEALED for m in _ask(model, databases, lambda alias, model=model: _keys(model, alias))]  # type: ignore[misc]


LONG_DUE = timedelta(days=1)
"""So long after it fell due, even a daily sweep would have met a connection, and every back-off is over."""


def check_overdue(databases: Iterable[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Count the connections that no sweep refreshes; calls do, so that this is no fault."""
    return _ask(Token, databases, _overdue)


def _overdue(alias: str) -> list[CheckMessage]:
    from django_oauth_flows.flows.fleet import due  # with all that it takes to refresh

    overdue = due(within=-LONG_DUE).using(alias).count()
    if not overdue:
        return []
    said = f"{overdue} connections have been due for refresh for more than a day: no sweep has met them."
    hint = "Run from cron, every few minutes: manage.py refresh_connections. Until then, calls refresh what they need."
    return [Info(said, hint=hint, id="oauth_flows.I003")]


def check_discovered(databases: Iterable[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Name the providers whose issuers publish something else than their rows say."""
    return _ask(DiscoveredMetadata, databases, _differing)


def _differing(alias: str) -> list[CheckMessage]:
    rows = DiscoveredMetadata.objects.using(alias).select_related("provider")
    hint = "Look at it with manage.py rediscover_providers; if the change is right, edit the provider in the admin."
    return [
        Warning(
            f"The issuer of provider {row.provider.slug} publishes another {', '.join(sorted(row.differences))}.",
            hint=hint,
            id="oauth_flows.W031",
        )
        for row in rows
        if row.differences
    ]


def check_pairs(databases: Iterable[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Name the providers of which one could be taken for another: they share a client, or users but not codes."""
    return _ask(Provider, databases, lambda alias: list(_confusable(Provider.objects.using(alias).order_by("slug"))))


def _confusable(providers: Iterable[Provider]) -> Iterator[CheckMessage]:
    """Compare every two. RFC 9700 §4.4; a client assertion or a code for one must be worth nothing to the other."""
    for one, other in combinations(providers, 2):
        if (one.client_id, _address(one, "token_endpoint")) == (other.client_id, _address(other, "token_endpoint")):
            yield Warning(
                f"Providers {one.slug} and {other.slug} are the same client at the same token endpoint.",
                hint="Register a client for each at the service, or delete the one that is not needed.",
                id="oauth_flows.W050",
            )
        elif _host(one, "authorization_endpoint") == _host(other, "authorization_endpoint") != "" and (
            _host(one, "token_endpoint") != _host(other, "token_endpoint")
        ):
            yield Warning(
                f"Providers {one.slug} and {other.slug} send their users to the same host, and the codes to different ones.",
                hint="Compare the token endpoints with the service's documentation; best discover the endpoints: "
                "manage.py add_provider --issuer",
                id="oauth_flows.W051",
            )


def _address(provider: Provider, name: str) -> str:
    """Return an endpoint with what staff have filled in; what users fill in stays open."""
    address: str = getattr(provider, name)
    entered = provider.parameters if isinstance(provider.parameters, dict) else {}
    for placeholder, value in entered.items():
        address = address.replace(f"{{{placeholder}}}", str(value))
    return address


def _host(provider: Provider, name: str) -> str:
    try:
        return urlsplit(_address(provider, name)).netloc.lower()
    except ValueError:  # no address at all: other checks say so
        return ""


def _ask(
    model: type[models.Model], databases: Iterable[str] | None, question: Callable[[str], list[CheckMessage]]
) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    for alias in databases or ():
        if not router.allow_migrate_model(alias, model):
            continue
        try:
            with transaction.atomic(using=alias):
                messages += question(alias)
        except DatabaseError:
            continue  # not migrated, or down: other commands say so better
    return messages


DANGERS = {
    "no_pkce": (
        "oauth_flows.W010",
        "has PKCE switched off: a stolen authorization code can be redeemed",
        'code_challenge_method = "S256"',
    ),
    "internal": (
        "oauth_flows.W011",
        "is internal: its endpoints may have private addresses, and plain http on this machine",
        "internal = False, unless it runs in your own network",
    ),
    "plaintext": (
        "oauth_flows.W012",
        "signs with PLAINTEXT: its secrets travel in every request",
        'signature_method = "HMAC-SHA256"',
    ),
    "raw_basic_auth": (
        "oauth_flows.W013",
        "sends its client credentials without the encoding of RFC 6749 §2.3.1",
        'remove "raw_basic_auth" from its dialect',
    ),
    "plain_pkce": (
        "oauth_flows.W040",
        "has PKCE without a hash: whoever reads the authorization request can redeem a stolen code",
        'code_challenge_method = "S256"',
    ),
    "secrets_in_query": (
        "oauth_flows.W041",
        "is sent secrets in the query of addresses, which servers and proxies write down",
        'let its dialect say "form" or "json" for "token_request_format" and nothing of methods, if the service takes that',
    ),
    "endpoint_audience": (
        "oauth_flows.W060",
        "signs client assertions for another reader than its issuer, which another provider's row could name as well",
        'remove "client_assertion_audience" from its dialect, if the service takes its issuer as the audience',
    ),
    "unverified_id_tokens": (
        "oauth_flows.W030",
        "asks for the scope openid, but its ID tokens cannot be verified and are ignored",
        "issuer and jwks_uri, as the service's /.well-known/openid-configuration names them",
    ),
}
"""Id, what is so, and the remedy."""


def _dangers(provider: Provider) -> Iterator[CheckMessage]:
    name = f"Provider {provider.slug}"
    yield from _certificate(provider)
    for danger in dangers(provider):
        check, said, remedy = DANGERS[danger]
        yield Warning(f"{name} {said}.", hint=f"Edit {name} in the admin: {remedy}", id=check)
    if provider.protocol == Provider.Protocol.OAUTH1 and provider.signature_method.endswith("-SHA1"):
        better = provider.signature_method.replace("SHA1", "SHA256")
        hint = f'Edit {name} in the admin: signature_method = "{better}", if the service takes it'
        yield Info(
            f"{name} signs with SHA-1, which is old; many servers know nothing else.", hint=hint, id="oauth_flows.I002"
        )


ENDS_SOON = timedelta(days=30)
"""How long before its end a client certificate is spoken of."""


def _certificate(provider: Provider) -> Iterator[CheckMessage]:
    if provider.client_certificate is None:
        return
    from django_oauth_flows.protocol.certificates import expires_at  # cryptography is for those who have one

    try:
        certificate = provider.open("client_certificate")
        ends = expires_at(certificate) if certificate is not None else None
    except (ConfigurationError, DecryptionError):
        return  # said when it is used, and of its key by another check
    if ends is not None and ends - timezone.now() < ENDS_SOON:
        hint = (
            f"Register a new one at the service, and paste it with its key into provider {provider.slug} in the admin."
        )
        said = f"The client certificate of provider {provider.slug} ends on {ends:%Y-%m-%d}."
        yield Warning(said, hint=hint, id="oauth_flows.W042")


def _keys(model: type[Sealed], alias: str) -> list[CheckMessage]:
    try:
        known, current = crypto.known_key_ids(), crypto.current_key_id()
    except ConfigurationError:
        return []  # a malformed key has its own message
    found: dict[str, int] = {}
    for name in model.sealed_fields():
        for key_id, count in _count_by_key(model, name, alias):
            found[key_id] = found.get(key_id, 0) + count
    lost = sum(count for key_id, count in found.items() if key_id not in known)
    waiting = sum(count for key_id, count in found.items() if key_id in known and key_id != current)
    label = model._meta.verbose_name_plural
    messages: list[CheckMessage] = []
    if lost:
        said = f"{lost} secrets of {label} were encrypted with a key that is not configured."
        hint = 'Restore the missing key behind the present one: OAUTH_FLOWS = {"ENCRYPTION_KEYS": ["<present>", "<missing>"]}'
        messages.append(Error(said, hint=hint, obj=model, id="oauth_flows.E019"))
    if waiting:
        said = f"{waiting} secrets of {label} are still encrypted with an older key: do not remove it yet."
        messages.append(Info(said, hint="Run: manage.py reencrypt_secrets", obj=model, id="oauth_flows.I001"))
    return messages


def _count_by_key(model: type[Sealed], name: str, alias: str) -> Iterable[tuple[str, int]]:
    """Let the database count the column's values by the key id they begin with."""
    head = Substr(Cast(name, models.TextField()), 1, len(crypto.VERSION) + 10)
    rows = model._default_manager.using(alias).filter(**{f"{name}__isnull": False}).annotate(sealed_head=head)
    counted = rows.order_by().values_list("sealed_head").annotate(n=models.Count("pk"))
    return [(crypto.key_id_of(head), count) for head, count in counted]
