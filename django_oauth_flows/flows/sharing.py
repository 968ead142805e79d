"""Which connections stand on one grant: revoking at some servers ends more than the token that was presented."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from django.db import router
from django.db.models import BooleanField, Case, Exists, OuterRef, Q, Value, When

from django_oauth_flows.flows.locking import hold, write_first
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.models.connection import digest_parameters

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable

    from django.db.models import QuerySet

_KEY = ("provider_id", "parameters_digest", "subject", "owner_model", "owner_id")


def shares_grant(connections: Iterable[Connection]) -> set[uuid.UUID]:
    """Return the ids of those whose grant another live connection shares, so that disconnecting will not revoke it.

    One query, however many connections; each must have its provider loaded.
    """
    asked = {c.pk: _grant_key(c) for c in connections if _reaches_others(c.provider)}
    if not asked:
        return set()
    # Where no account is named, or none could be learnt, only the same owner's connections can stand on one grant.
    accounts = Q(subject__in={subject for _, _, subject, *_ in asked.values() if subject is not None})
    nameless = [(owner_model, owner_id) for _, _, subject, owner_model, owner_id in asked.values() if subject is None]
    owners = Q(owner_model__in={model for model, _ in nameless}, owner_id__in={pk for _, pk in nameless})
    live = _live().filter(accounts | owners, provider__in={key[0] for key in asked.values()})
    standing = {pk: _stands_on(*key) for pk, *key in live.values_list("pk", *_KEY)}
    count = Counter(key for keys in standing.values() for key in keys)
    return {pk for pk, key in asked.items() if count[key] > (key in standing.get(pk, ()))}


def stands_on_shared_grant() -> Case:
    """Return the expression for what :func:`shares_grant` finds out, as a column of a query for connections."""
    same = Q(provider=OuterRef("provider"), parameters_digest=OuterRef("parameters_digest"))
    nameless = Q(owner_model=OuterRef("owner_model"), owner_id=OuterRef("owner_id"))
    others = Connection.objects.order_by().exclude(status=Connection.Status.REVOKED).exclude(pk=OuterRef("pk"))
    own = Q(status=Connection.Status.REVOKED) | Q(provider__revocation_effect=Provider.RevocationEffect.TOKEN)
    return Case(
        When(own, then=Value(False)),
        When(subject=None, then=Exists(others.filter(same, nameless))),
        default=Exists(others.filter(same, subject=OuterRef("subject"))),
        output_field=BooleanField(),
    )


def is_shared(connection: Connection) -> bool:
    """Tell whether revoking ``connection``'s tokens could end another live connection."""
    return bool(shares_grant([connection]))


def hold_grant(connection: Connection, *, deleting: bool = False) -> tuple[Connection | None, bool]:
    """Hold the connection for a disconnect, or for ``deleting`` its row.

    Return it as it is now (None: gone), and whether another stands on its grant. Those others are held as well: of two owners who leave at once, the later finds the earlier gone, and ends the grant.
    """
    write_first(_rows().filter(pk=connection.pk))  # the provider may have to be read
    held = hold(_rows().filter(_standing_with(connection)), deleting=deleting)
    current = next((row for row in held if row.pk == connection.pk), None)
    if current is not None:
        current.provider = connection.provider
        if _grant_key(current) != _grant_key(
            connection
        ):  # given to another owner, or its account learnt, since it was read
            held = hold(_rows().filter(_standing_with(current)), deleting=deleting)
    shared = any(row.pk != connection.pk and row.status != Connection.Status.REVOKED for row in held)
    return current, shared


def hold_grants(rows: QuerySet[Connection]) -> None:
    """Hold all of ``rows``, which are about to be deleted, and what stands on their grants, in one order."""
    write_first(rows)
    wanted = Q(pk__in=[])
    for connection in rows.select_related("provider"):
        wanted |= _standing_with(connection)
    hold(_rows().filter(wanted), deleting=True)


def _reaches_others(provider: Provider) -> bool:
    return provider.revocation_effect != Provider.RevocationEffect.TOKEN


def _standing_with(connection: Connection) -> Q:
    """Return what finds the connection, whatever has become of it, and those whose grant may be its own."""
    itself = Q(pk=connection.pk)
    if not _reaches_others(connection.provider):
        return itself
    provider_id, digest, subject, owner_model, owner_id = _grant_key(connection)
    same = Q(provider_id=provider_id, parameters_digest=digest)
    standing = Q(owner_model=owner_model, owner_id=owner_id) if subject is None else Q(subject=subject)
    return itself | (same & standing)


def _grant_key(connection: Connection) -> tuple[Any, ...]:
    digest = digest_parameters(connection.parameters)
    return _shared_by(connection.provider_id, digest, connection.subject, connection.owner_model, connection.owner_id)


def _shared_by(provider_id: Any, digest: str, subject: str | None, owner_model: str, owner_id: str) -> tuple[Any, ...]:
    """Return what two connections have in common if they may stand on one grant, in the order of ``_KEY``."""
    owner = (owner_model, owner_id) if subject is None else ("", "")
    return (provider_id, digest, subject, *owner)


def _stands_on(
    provider_id: Any, digest: str, subject: str | None, owner_model: str, owner_id: str
) -> set[tuple[Any, ...]]:
    """Return the keys of the grants that a connection may stand on: its account's, and one whose account nobody knows."""
    own = _shared_by(provider_id, digest, subject, owner_model, owner_id)
    return {own, _shared_by(provider_id, digest, None, owner_model, owner_id)}


def _live() -> QuerySet[Connection]:
    return _rows().exclude(status=Connection.Status.REVOKED)


def _rows() -> QuerySet[Connection]:
    """Read where it is written: what is found here decides whether a grant is ended."""
    return Connection.objects.using(router.db_for_write(Connection)).order_by()
