"""Rotate: go over to another private key while everybody goes on believing what we sign.

Services keep our key set for as long as we let them. So the next key is published first, signs only when every copy of the
set has it, and the one before stays published beside it until the rotation is finished.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import router, transaction
from django.utils import timezone

from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.flows.locking import hold
from django_oauth_flows.models import Provider
from django_oauth_flows.models.provider_registration import signing_key
from django_oauth_flows.protocol.dialect import Dialect

PUBLISHED_FOR = 3600
"""Seconds for which anybody may keep our key set."""

LEAD = timedelta(seconds=2 * PUBLISHED_FOR)
"""How long before it signs a new key is published: a copy may have been fetched just before, and its clock be slow."""


@dataclass(frozen=True, slots=True)
class KeyRotation:
    """A new key's id, and from when on it signs."""

    key_id: str
    signs_at: datetime


def rotate_private_key(provider: Provider, *, algorithm: str = "", lead: timedelta = LEAD) -> KeyRotation:
    """Make a new private key, which nobody ever sees, and publish it; it signs after ``lead``, the first one at once.

    ``algorithm`` (RS256, PS256, ES256, ES384, ES512, EdDSA) defaults to what the provider's dialect demands, else ES256. A
    rotation that is over is finished by it. Raises :class:`ConfigurationError`: ``rotation_pending`` while an earlier
    new key does not sign yet, ``provider_misconfigured`` for another algorithm than the dialect demands or an OAuth 1.0a
    provider.
    """
    from django_oauth_flows.protocol.keys import new_private_key, public_jwk  # not every site signs

    made = new_private_key(algorithm_for(provider, algorithm))  # takes its time; nothing is held meanwhile
    alias = router.db_for_write(Provider)
    with transaction.atomic(using=alias):
        row = _held(provider, alias=alias)
        if Dialect.from_json(row.dialect).assertion_key_id:
            raise ConfigurationError(
                f"Provider {row.slug} knows keys by ids of its own; it would not know a new one.",
                code="provider_misconfigured",
                hint="Make the key at the service, and enter it with its “assertion_key_id”.",
            )
        if row.next_private_key is not None and signing_key(row) == "private_key":
            raise ConfigurationError(
                f"Provider {row.slug} is already going over to another key.",
                code="rotation_pending",
                hint=f"It signs from {row.next_private_key_at:%Y-%m-%d %H:%M} on; rotate again after that.",
            )
        _promote(row)
        column = "private_key" if row.private_key is None else "next_private_key"
        row.seal(column, made)
        now = timezone.now()
        row.next_private_key_at = now + lead if column == "next_private_key" else None
        row.save(using=alias, update_fields=_COLUMNS)
    provider.refresh_from_db(fields=_COLUMNS)
    return KeyRotation(public_jwk(made)["kid"], row.next_private_key_at or now)


def finish_rotation(provider: Provider) -> bool:
    """Forget the key from before a rotation, once the new one signs; tell whether there was one to forget."""
    alias = router.db_for_write(Provider)
    with transaction.atomic(using=alias):
        row = _held(provider, alias=alias)
        is_over = row.next_private_key is not None and signing_key(row) == "next_private_key"
        if is_over:
            _promote(row)
            row.save(using=alias, update_fields=_COLUMNS)
    provider.refresh_from_db(fields=_COLUMNS)
    return is_over


_COLUMNS = ["private_key", "next_private_key", "next_private_key_at", "updated_at"]


def _held(provider: Provider, *, alias: str) -> Provider:
    return hold(Provider.objects.using(alias).filter(pk=provider.pk))[0]


def _promote(row: Provider) -> None:
    """Let the key that signs be the only one."""
    if signing_key(row) == "next_private_key":
        row.seal("private_key", row.open("next_private_key"))
        row.next_private_key = row.next_private_key_at = None


def algorithm_for(provider: Provider, algorithm: str = "") -> str:
    """Return what a new key is to sign by: ``algorithm``, if the dialect agrees, else what it demands, else ES256."""
    if provider.protocol != Provider.Protocol.OAUTH2:
        raise ConfigurationError("OAuth 1.0a keys are replaced by hand.", code="provider_misconfigured")
    dialect = Dialect.from_json(provider.dialect)
    demanded = {dialect.token_endpoint_auth_signing_alg, dialect.request_object_signing_alg} - {""}
    chosen = algorithm or next(iter(sorted(demanded)), "ES256")
    kinds = {_kind(name) for name in (*demanded, chosen)}
    if len(kinds) > 1:
        raise ConfigurationError(
            f"Provider {provider.slug}: one key cannot sign by {', '.join(sorted({*demanded, chosen}))}.",
            code="provider_misconfigured",
            hint="Let the dialect's token_endpoint_auth_signing_alg and request_object_signing_alg fit the key.",
        )
    return chosen


def _kind(algorithm: str) -> str:
    return "RSA" if algorithm in ("RS256", "PS256") else algorithm
