"""The lease on a token row: taken, released and honoured by conditional UPDATEs, by the database's clock."""

from __future__ import annotations

import random
import time
import uuid
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import Error, InterfaceError, OperationalError, connections, transaction
from django.db.models import F, Q

from django_oauth_flows.exceptions import TokenUnavailable
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.durable import SAVE_LOCK_TIMEOUT, claiming, committing, noted, reconnected
from django_oauth_flows.flows.freshness import expiry, next_refresh, refresh_expiry
from django_oauth_flows.flows.history import logger
from django_oauth_flows.flows.snapshot import Snapshot, read
from django_oauth_flows.models import Token
from django_oauth_flows.models.token import AT_REST
from django_oauth_flows.statements import Slot, Update

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet

    from django_oauth_flows.flows.values import Grant
    from django_oauth_flows.models import Provider

FIRST_BACKOFF, LAST_BACKOFF = 2.0, 900.0
"""Seconds until the next attempt after the first failure, and at most."""

SHORTEST_LEASE = 2.0
"""Seconds that must be left of a claim when its turn comes; after that, another worker may take the row at any moment."""

FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0
"""Seconds between two tries to store an answer while the database fails."""

_ENDED: dict[str, Any] = {"lease_owner": None, "lease_expires_at": None, "attempt_id": None, "attempt_started_at": None}


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to refresh one generation of one token. ``unanswered``: earlier attempts whose answer nobody saw."""

    alias: str
    snapshot: Snapshot
    worker: uuid.UUID
    ends: float  # by this process's monotonic clock

    @property
    def unanswered(self) -> int:
        """Return how often this refresh token was presented before without an answer."""
        return self.snapshot.token.attempt_count

    def save(self, grant: Grant, *, requested_at: datetime) -> bool:
        """Store the provider's answer; False if the row has moved on, and this answer is not to be kept.

        While the database fails it is tried again, for as long as the lease lasts. Raises :class:`TokenUnavailable`
        (``outcome_unknown``) if that was in vain: lease and journal stay as they are, so that the next holder presents
        the same refresh token again.
        """
        columns, pause = self._columns(grant, requested_at), FIRST_PAUSE
        while True:
            try:
                return self._swap(columns)
            except Error as error:
                passing = isinstance(error, OperationalError | InterfaceError)
                if not passing or time.monotonic() + pause > self.ends or not reconnected(self.alias):
                    raise self._unsaved(error) from None
            time.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)

    def release(self, *, failure: str, answered: bool, wait: float = 0.0) -> None:
        """Give the lease back after a failure, and say when the next attempt may be made.

        ``answered``: the provider certainly did not act on the refresh token, so this attempt leaves no doubt behind.
        """
        token = self.snapshot.token
        delay = max(backoff(token.failure_count), wait)
        columns: dict[str, Any] = {
            **_ENDED,
            "failure_count": F("failure_count") + 1,
            "last_failure": failure[:40],
            "last_failure_at": DatabaseNow(),
            "not_before": DatabaseNow() + timedelta(seconds=delay),
        }
        if answered:
            columns["attempt_count"] = token.attempt_count
        noted(self.alias, lambda: self._held().update(**columns))

    def end(self, *, failure: str) -> bool:
        """Give the lease back for good: this generation cannot be refreshed. False if the row has moved on."""
        ended = {**_ENDED, "next_refresh_at": None, "last_failure": failure[:40], "last_failure_at": DatabaseNow()}
        return bool(self._held().update(**ended, failure_count=F("failure_count") + 1))

    def _swap(self, columns: dict[str, Any]) -> bool:
        rows = Token.objects.using(self.alias).filter(pk=self.snapshot.token.pk)
        with committing(self.alias, lock_timeout=SAVE_LOCK_TIMEOUT):
            save, token = _SAVE_ROTATED if "refresh_token" in columns else _SAVE, self.snapshot.token
            held = {"id": token.pk, "generation": token.generation, "lease_owner": self.worker}
            if save.run(using=self.alias, **held, **columns):
                return True
            # Moved on; or an earlier try was committed, and only the database's word for it was lost.
            return bool(rows.values_list("access_token", flat=True).first() == columns["access_token"])

    def _unsaved(self, error: Error) -> TokenUnavailable:
        connection = str(self.snapshot.connection.pk)
        logger.error("oauth_flows.answer_not_stored", extra={"connection": connection, "error": type(error).__name__})
        return TokenUnavailable(
            "The service has answered, but the database could not store its answer.",
            code="outcome_unknown",
            hint="Look after the database. The old refresh token is presented once more when the lease ends.",
            retry_after=max(1, int(self.ends - time.monotonic()) + 1),
        )

    def _held(self) -> Any:
        token = self.snapshot.token
        return Token.objects.using(self.alias).filter(pk=token.pk, generation=token.generation, lease_owner=self.worker)

    def _columns(self, grant: Grant, requested_at: datetime) -> dict[str, Any]:
        token, provider = self.snapshot.token, self.snapshot.provider
        expires_at = expiry(provider, expires_in=grant.expires_in, now=requested_at)
        columns = {
            "access_token": token.seal("access_token", grant.access_token),
            "token_type": grant.token_type,
            "extra": {**token.extra, **grant.extra},
            "issued_at": requested_at,
            "expires_at": expires_at,
            "next_refresh_at": next_refresh(provider, expires_at=expires_at, now=requested_at),
            "client_id": provider.client_id,
            "configuration_fingerprint": provider.fingerprint(self.snapshot.connection.parameters),
        }
        if grant.refresh_token is not None:
            refresh_expires_at = refresh_expiry(provider, expires_in=grant.refresh_token_expires_in, now=requested_at)
            columns["refresh_token"] = token.seal("refresh_token", grant.refresh_token)
            columns["refresh_token_expires_at"] = refresh_expires_at
        return columns


def _saving(*columns: str) -> Update:
    """Write ``columns`` into the row of a lease, and put its machinery to rest."""
    return Update(
        lambda: (
            Token.objects.filter(pk=Slot("id"), generation=Slot("generation"), lease_owner=Slot("lease_owner")),
            {
                **{name: Slot(name) for name in columns},
                "generation": F("generation") + 1,
                "last_refreshed_at": DatabaseNow(),
                **AT_REST,
            },
        )
    )


_GRANTED = ("access_token", "token_type", "extra", "issued_at", "expires_at", "next_refresh_at")
_MINTED = ("client_id", "configuration_fingerprint")
_SAVE = _saving(*_GRANTED, *_MINTED)
_SAVE_ROTATED = _saving(*_GRANTED, *_MINTED, "refresh_token", "refresh_token_expires_at")


def acquire(snapshot: Snapshot, *, alias: str, force: bool) -> Lease | None:
    """Take the lease and journal the attempt, in one UPDATE; None if somebody else has it or the row has moved on.

    Unless forced, a row that failed lately is left alone until its ``not_before``. Raises :class:`CannotPersist`.
    """
    worker, ends = uuid.uuid4(), time.monotonic() + lease_seconds(snapshot.provider)
    row = Token.objects.using(alias).filter(pk=snapshot.token.pk, generation=snapshot.token.generation)
    with claiming(alias):
        taken = row.filter(free(force=force)).update(**_taken(worker, snapshot.provider))
    return Lease(alias, snapshot, worker, ends) if taken else None


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease that was taken together with others, before its row was read. To be used at once, or it runs out."""

    alias: str
    connection_id: uuid.UUID
    worker: uuid.UUID

    def lease(self) -> Lease | None:
        """Read the row; None if it has moved on, or too little is left of the lease to ask the provider anything.

        Raises :class:`Disconnected` if the row is gone.
        """
        snapshot = read(self.connection_id, using=self.alias)
        token = snapshot.token
        if token.lease_owner != self.worker or token.lease_expires_at is None:
            return None
        left = (token.lease_expires_at - snapshot.now).total_seconds()
        if left < min(SHORTEST_LEASE, lease_seconds(snapshot.provider) / 2):
            self.give_back()
            return None
        token.attempt_count -= 1  # as it was before this attempt
        return Lease(self.alias, snapshot, self.worker, snapshot.read_at + left)

    def give_back(self) -> None:
        """Free the row as if it had not been claimed: nothing was sent."""
        ours = Token.objects.using(self.alias).filter(connection_id=self.connection_id, lease_owner=self.worker)
        noted(self.alias, lambda: ours.update(**_ENDED, attempt_count=F("attempt_count") - 1))


def claim(due: QuerySet[Token], provider: Provider, *, size: int) -> tuple[list[Claim], bool]:
    """Take the leases of at most ``size`` of ``provider``'s ``due`` rows, which are free, in one UPDATE; journal the attempts.

    Return them, and whether more may be due. Any number of workers may do so at once: each row goes to one of them.
    """
    alias, worker = due.db, uuid.uuid4()
    waiting = due.order_by("next_refresh_at")
    features = connections[alias].features
    # Without such locks (SQLite, and MariaDB, which would lock what is joined) two may choose the same; one of them gets it.
    # A transaction that has begun by reading may not go on to write there, so there is none.
    skips = features.has_select_for_update_skip_locked and features.has_select_for_update_of
    with transaction.atomic(using=alias) if skips else nullcontext():
        rows = waiting.select_for_update(skip_locked=True, of=("self",)) if skips else waiting
        chosen = list(rows.values_list("pk", "connection_id", "generation")[:size])
        if not chosen:
            return [], False
        unmoved = Q()
        for pk, _, generation in chosen:
            unmoved |= Q(pk=pk, generation=generation)
        taken = Token.objects.using(alias).filter(free(), unmoved).update(**_taken(worker, provider))
    found = [connection_id for _, connection_id, _ in chosen]
    if taken < len(chosen):
        ours = Token.objects.using(alias).filter(connection_id__in=found, lease_owner=worker)
        found = list(ours.values_list("connection_id", flat=True))
    return [Claim(alias, connection_id, worker) for connection_id in found], len(chosen) == size


def free(*, force: bool = False) -> Q:
    """Return what finds rows that nobody is refreshing; unless ``force``, none that failed lately."""
    unleased = Q(lease_expires_at=None) | Q(lease_expires_at__lt=DatabaseNow())
    return unleased if force else unleased & (Q(not_before=None) | Q(not_before__lte=DatabaseNow()))


def _taken(worker: uuid.UUID, provider: Provider) -> dict[str, Any]:
    """Return the columns of a lease that begins now, with its entry in the journal."""
    return {
        "lease_owner": worker,
        "lease_expires_at": DatabaseNow() + timedelta(seconds=lease_seconds(provider)),
        "attempt_id": worker,
        "attempt_started_at": DatabaseNow(),
        "attempt_count": F("attempt_count") + 1,
    }


def lease_seconds(provider: Provider) -> float:
    """Return how long a lease lasts: the provider's value, at most half of a known reuse grace."""
    return min(provider.lease_duration, provider.reuse_grace / 2) if provider.reuse_grace else provider.lease_duration


def deadline_left(lease: Lease) -> float:
    """Return how long the provider may take under this lease, which may have begun a while ago."""
    return min(deadline_seconds(lease.snapshot.provider), (lease.ends - time.monotonic()) * 0.75)


def deadline_seconds(provider: Provider) -> float:
    """Return how long the provider may take to answer a refresh: always less than the lease."""
    return min(provider.refresh_deadline, lease_seconds(provider) * 0.75)


def backoff(failures: int) -> float:
    """Return seconds until the next attempt after so many failures in a row, jittered so that no herd forms."""
    ceiling: float = min(FIRST_BACKOFF * 2 ** min(failures, 16), LAST_BACKOFF)
    return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
