"""Seal every stored secret with the first key, while the site runs.

A row is written by compare-and-swap on the very ciphertext that was read, so that a concurrent refresh, disconnect or
transfer is never overwritten; a token under lease is left alone. Nothing is kept between two runs: whatever is sealed
with the first key already is done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.db import models, router
from django.db.models.functions import Cast

from django_oauth_flows import crypto
from django_oauth_flows.exceptions import DecryptionError, Disconnected
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import (
    AuthorizationRequest,
    Connection,
    Provider,
    RegisteredClient,
    Revocation,
    Token,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_oauth_flows.fields import Ciphertext, Sealed

SEALED: tuple[type[Sealed], ...] = (Provider, RegisteredClient, Token, AuthorizationRequest, Revocation)


@dataclass(slots=True)
class Tally:
    """What became of the rows of one model. ``lost``: ids of rows with a secret that no key opens."""

    current: int = 0
    resealed: int = 0
    busy: int = 0
    lost: list[Any] = field(default_factory=list)
    settled: int = 0  # lost tokens whose connection asks its user to reconnect

    @property
    def unfinished(self) -> bool:
        """Tell whether something is left that needs an older key, or a human."""
        return bool(self.busy or len(self.lost) > self.settled)


def count(model: type[Sealed]) -> int:
    """Return how many rows hold a secret."""
    return _holding(model).count()


def reencrypt(
    model: type[Sealed], *, batch_size: int, dry_run: bool, mark_lost: bool, advance: Callable[[int], None]
) -> Tally:
    """Go through all rows of ``model``; with ``dry_run``, only look.

    ``mark_lost``: let the connection of a token that no key opens ask its user to reconnect.
    """
    tally, current = Tally(), crypto.current_key_id()
    for batch in _batches(model, batch_size):
        for row in batch:
            _reencrypt_row(row, tally, current=current, dry_run=dry_run, mark_lost=mark_lost)
        advance(len(batch))
    return tally


def _holding(model: type[Sealed]) -> models.QuerySet[Any]:
    any_secret = models.Q()
    for name in model.sealed_fields():
        any_secret |= models.Q(**{f"{name}__isnull": False})
    rows: models.QuerySet[Any] = model._default_manager.using(router.db_for_write(model)).filter(any_secret)
    return rows.select_related("connection__provider") if model is Token else rows


def _batches(model: type[Sealed], size: int) -> Iterator[list[Any]]:
    """Walk by primary key: however long it takes, each row is met once, and no cursor stays open."""
    rows = _holding(model).order_by("pk")
    batch = list(rows[:size])
    while batch:
        yield batch
        batch = list(rows.filter(pk__gt=batch[-1].pk)[:size])


def _reencrypt_row(row: Any, tally: Tally, *, current: str, dry_run: bool, mark_lost: bool) -> None:
    read: dict[str, Ciphertext] = {}
    for name in row.sealed_fields():
        value: Ciphertext | None = getattr(row, name)
        if value is not None and crypto.key_id_of(value.value) != current:
            read[name] = value
    if not read:
        tally.current += 1
        return
    fresh = _reseal(row, read)
    if len(fresh) < len(read):
        tally.lost.append(row.pk)
        tally.settled += isinstance(row, Token) and _settle(row, mark=mark_lost and not dry_run)
    if fresh and (dry_run or _swap(row, read, fresh)):
        tally.resealed += 1
    elif fresh:
        tally.busy += 1


def _reseal(row: Sealed, read: dict[str, Ciphertext]) -> dict[str, Ciphertext | None]:
    """Return the columns that open, sealed with the first key."""
    fresh = {}
    for name in read:
        try:
            fresh[name] = row.seal(name, row.open(name))
        except DecryptionError:
            continue
    return fresh


def _swap(row: Any, read: dict[str, Ciphertext], fresh: dict[str, Ciphertext | None]) -> bool:
    """Write, unless the row has changed since it was read, or a refresh is under way."""
    rows = type(row)._default_manager.using(router.db_for_write(type(row))).filter(pk=row.pk)
    if isinstance(row, Token):
        free = models.Q(lease_expires_at=None) | models.Q(lease_expires_at__lt=DatabaseNow())
        rows = rows.filter(free, generation=row.generation)
    for name in fresh:
        # Encrypted columns cannot be filtered by, so that nothing may probe them; here the whole value is known.
        rows = rows.annotate(**{f"{name}_as_read": Cast(name, models.TextField())})
        rows = rows.filter(**{f"{name}_as_read": read[name].value})
    return bool(rows.update(**fresh))


def _settle(token: Token, *, mark: bool) -> bool:
    """Tell whether a lost token's connection already asks for its user, or let it."""
    if mark and token.connection.status == Connection.Status.ACTIVE:
        from django_oauth_flows.flows.marking import needs_reauthorization
        from django_oauth_flows.flows.snapshot import read

        try:
            needs_reauthorization(read(token.connection_id), Connection.Reason.UNDECRYPTABLE)
        except Disconnected:
            return True
        return True
    return token.connection.status != Connection.Status.ACTIVE
