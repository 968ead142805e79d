"""The lease on a token row: taken, released and honoured by conditional UPDATEs, by the database's clock."""

from __future__ import annotations

import random
import sys
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import Error
from django.db.models import Case, F, Q, When

from django_oauth_flows.exceptions import TokenUnavailable
from django_oauth_flows.failpoints import Failpoint, reach
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.durable import (
    FAILURES,
    SAVE_LOCK_TIMEOUT,
    abandon_statement,
    claiming,
    interruption_behind,
    noted,
    reconnected,
    stated,
)
from django_oauth_flows.flows.freshness import earliest, moments
from django_oauth_flows.flows.history import logger
from django_oauth_flows.flows.snapshot import Snapshot, read
from django_oauth_flows.models import Token
from django_oauth_flows.models.token import AT_REST
from django_oauth_flows.statements import Slot, Update

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from django_oauth_flows.flows.values import Grant
    from django_oauth_flows.models import Provider

FIRST_BACKOFF, LAST_BACKOFF = 2.0, 900.0
"""Seconds until the next attempt after the first failure, and at most."""

PUT_OFF = timedelta(days=1)
"""After that a sweep looks again at a connection that may not be served: its user may be active again."""

FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0
"""Seconds between two tries to store an answer while the database fails."""

_ENDED: dict[str, Any] = {"lease_owner": None, "lease_expires_at": None, "attempt_id": None, "attempt_started_at": None}


@dataclass(frozen=True, slots=True, eq=False)
class Lease:
    """The right to refresh one generation of one token. Its ``snapshot`` was read while it was held."""

    alias: str
    snapshot: Snapshot
    worker: uuid.UUID
    ends: float  # by this process's monotonic clock

    @property
    def unanswered(self) -> int:
        """Return how often this refresh token was presented before without an answer."""
        return self.snapshot.token.attempt_count - 1  # the last one is ours

    def save(self, grant: Grant, *, requested_at: datetime) -> bool:
        """Store the provider's answer, and bring the snapshot up to date; False if the row has moved on meanwhile.

        While the database fails it is tried again, for as long as the lease lasts. Raises :class:`TokenUnavailable`
        (``outcome_unknown``) if that was in vain: lease and journal stay as they are, so that the next holder presents
        the same refresh token again.
        """
        columns, pause = self._columns(grant, requested_at), FIRST_PAUSE
        while True:
            try:
                is_saved = self._swap(columns) or self._save_late(columns)
            except Error as error:
                passing = isinstance(error, FAILURES)
                if not passing or time.monotonic() + pause > self.ends or not reconnected(self.alias):
                    raise self._unsaved(error) from None
            else:
                if is_saved:
                    self._bring_up_to_date(columns)
                return is_saved
            time.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE)

    def release(self, *, failure: str, answered: bool, wait: float = 0.0) -> None:
        """Give the lease back after a failure, and say when the next attempt may be made.

        ``answered``: the provider certainly did not act on the refresh token, so this attempt leaves no doubt behind.
        """
        reach(Failpoint.BEFORE_RELEASE)
        not_before = self._not_before(wait, doubtful=not answered)
        columns: dict[str, Any] = {
            **_ENDED,
            "failure_count": F("failure_count") + 1,
            "last_failure": failure[:40],
            "last_failure_at": DatabaseNow(),
            "not_before": Case(When(not_before__gt=not_before, then=F("not_before")), default=not_before),
            "next_refresh_at": _not_sooner(not_before),  # or every sweep would pass over it again and again
        }
        if answered:
            columns["attempt_count"] = self.unanswered
        noted(self.alias, lambda: self._held().update(**columns))

    def end(self, *, failure: str) -> bool:
        """Give the lease back for good: this generation cannot be refreshed. False if the row has moved on."""
        reach(Failpoint.BEFORE_RELEASE)
        ended = {**_ENDED, "next_refresh_at": None, "last_failure": failure[:40], "last_failure_at": DatabaseNow()}
        return bool(self._held().update(**ended, failure_count=F("failure_count") + 1))

    def put_off(self, reason: str) -> None:
        """Free the row, whose connection may not be served: nothing was sent, and no sweep looks at it until tomorrow."""
        columns = {
            **_ENDED,
            "attempt_count": self.unanswered,
            "next_refresh_at": _not_sooner(DatabaseNow() + PUT_OFF),
            "last_failure": reason[:40],
            "last_failure_at": DatabaseNow(),
        }
        if reason != "connection_paused":
            noted(self.alias, lambda: self._held().update(**columns))
            return
        noted(self.alias, lambda: self._held().filter(connection__paused=True).update(**columns))
        self.give_back()  # its owner may have resumed it since it was read

    def give_back(self) -> None:
        """Free the row as if the lease had not been taken: nothing was sent."""
        give_back([self.snapshot.token.pk], self.worker, using=self.alias)

    def _swap(self, columns: dict[str, Any]) -> bool:
        token = self.snapshot.token
        save = _SAVE_ROTATED if "refresh_token" in columns else _SAVE
        held = {"id": token.pk, "generation": token.generation, "lease_owner": self.worker}
        with stated(self.alias, lock_timeout=SAVE_LOCK_TIMEOUT):
            reach(Failpoint.BEFORE_COMMIT)
            if save.run(using=self.alias, **held, **columns):
                return True
            # Moved on; or an earlier try was committed, and only the database's word for it was lost.
            rows = Token.objects.using(self.alias).filter(pk=token.pk)
            return bool(rows.values_list("access_token", flat=True).first() == columns["access_token"])

    def _save_late(self, columns: dict[str, Any]) -> bool:
        """Store an answer that outlived its lease, if whoever took it over has given up: there is no other answer."""
        token, connection = self.snapshot.token, self.snapshot.connection
        save = _SAVE_ROTATED_LATE if "refresh_token" in columns else _SAVE_LATE
        with stated(self.alias, lock_timeout=SAVE_LOCK_TIMEOUT):
            if not save.run(using=self.alias, id=token.pk, generation=token.generation, **columns):
                return False
        present = read(connection.pk, using=self.alias).connection
        connection.status, connection.reason = present.status, present.reason  # that one may have marked it
        return True

    def _bring_up_to_date(self, columns: dict[str, Any]) -> None:
        """Make the snapshot say what the row says now: nobody else could write it while the lease was held."""
        token = self.snapshot.token
        changes = {
            **columns,
            **AT_REST,
            "generation": token.generation + 1,
            "last_refreshed_at": self.snapshot.present(),
        }
        for name, value in changes.items():
            setattr(token, name, value)

    def _not_before(self, wait: float, *, doubtful: bool) -> Any:
        """Return when the next attempt may be made: at the latest when a token expires that was valid when this one began.

        Callers have nothing else then, and the provider may be back. Where it may have rotated the refresh token, the next
        comes well within the grace for which it accepts the old one. Only the provider itself may ask for longer: ``wait``.
        """
        token, grace, now = self.snapshot.token, self.snapshot.provider.reuse_grace, self.snapshot.present()
        seconds = backoff(token.failure_count)
        if grace and (doubtful or self.unanswered):
            seconds = min(seconds, grace / 4)
        pause, asked = timedelta(seconds=seconds), timedelta(seconds=wait)
        ends = token.expires_at
        if ends is not None and self.snapshot.now < ends < now + pause and not (asked and ends < now + asked):
            return ends
        return DatabaseNow() + max(pause, asked)

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
        token, provider, connection = self.snapshot.token, self.snapshot.provider, self.snapshot.connection
        expires_at, dies_at, next_refresh_at = moments(
            provider,
            expires_in=grant.expires_in,
            refresh_token_expires_in=grant.refresh_token_expires_in,
            now=requested_at,
            authorized_at=connection.authorized_at or requested_at,
            renewable=True,
        )
        says_nothing = grant.refresh_token is None and grant.refresh_token_expires_in is None
        if says_nothing and provider.refresh_token_idle_lifetime is None:
            # The same refresh token, of whose life nothing new is known, lives no longer than was known before.
            dies_at = earliest(token.refresh_token_expires_at, dies_at)
        columns = {
            "access_token": token.seal("access_token", grant.access_token),
            "dpop_key": token.seal("dpop_key", grant.dpop_key),
            "token_type": grant.token_type,
            "extra": {**token.extra, **grant.extra},
            "issued_at": requested_at,
            "expires_at": expires_at,
            "refresh_token_expires_at": dies_at,
            "next_refresh_at": next_refresh_at,
            "client_id": provider.client_id,
            "configuration_fingerprint": self.snapshot.configured.fingerprint(connection.parameters),
        }
        if grant.refresh_token is not None:
            columns["refresh_token"] = token.seal("refresh_token", grant.refresh_token)
        return columns


def _not_sooner(moment: Any) -> Case:
    """Return ``next_refresh_at``, but not before ``moment``; what has no place in the schedule gets none."""
    return Case(When(next_refresh_at__lt=moment, then=moment), default=F("next_refresh_at"))


def _saving(*columns: str, late: bool = False) -> Update:
    """Write ``columns`` into the row of a lease (``late``: of one that nobody holds any more); put its machinery to rest."""
    return Update(
        lambda: (
            Token.objects.filter(
                pk=Slot("id"), generation=Slot("generation"), lease_owner=None if late else Slot("lease_owner")
            ),
            {
                **{name: Slot(name) for name in columns},
                "generation": F("generation") + 1,
                "last_refreshed_at": DatabaseNow(),
                **AT_REST,
            },
        )
    )


_GRANTED = (
    "access_token", "dpop_key", "token_type", "extra", "issued_at", "expires_at", "refresh_token_expires_at",
    "next_refresh_at",
)  # fmt: skip
_MINTED = ("client_id", "configuration_fingerprint")
_SAVE = _saving(*_GRANTED, *_MINTED)
_SAVE_ROTATED = _saving(*_GRANTED, *_MINTED, "refresh_token")
_SAVE_LATE = _saving(*_GRANTED, *_MINTED, late=True)
_SAVE_ROTATED_LATE = _saving(*_GRANTED, *_MINTED, "refresh_token", late=True)


def acquire(snapshot: Snapshot, *, alias: str, force: bool) -> Lease | None:
    """Take the lease and journal the attempt, in one UPDATE; None if somebody else has it or the row has moved on.

    Unless forced, a row that failed lately is left alone until its ``not_before``. What decides what to do with the lease
    is read once it is held: from then on nobody else marks the connection. Raises :class:`CannotPersist`, and
    :class:`Disconnected` if the row is gone.
    """
    reach(Failpoint.BEFORE_LEASE)
    worker, ends = uuid.uuid4(), time.monotonic() + lease_seconds(snapshot.provider)
    row = Token.objects.using(alias).filter(pk=snapshot.token.pk, generation=snapshot.token.generation)
    with claiming(alias):
        taken = row.filter(free(force=force)).update(**taking(worker, lease_seconds(snapshot.provider)))
    if not taken:
        return None
    with given_back_on_error([snapshot.token.pk], worker, using=alias):
        held = read(snapshot.connection.pk, using=alias)
    if held.token.lease_owner != worker:
        return None
    lease = Lease(alias, held, worker, ends)
    if ends - time.monotonic() < lease_seconds(snapshot.provider) / 2:  # it had to wait for the row, on its own time
        lease.give_back()
        return None
    return lease


@contextmanager
def given_back_on_error(token_ids: Iterable[uuid.UUID], worker: uuid.UUID, *, using: str) -> Iterator[None]:
    """Leave no doubt behind if something comes between taking leases and reading what they are for.

    The database may fail, or a task queue's time limit strike, which it does anywhere.
    """
    before = sys.exception()
    try:
        yield
    except BaseException as error:
        interruption = interruption_behind(error, before, using=using)
        if interruption is not None:
            abandon_statement(using)
        give_back(token_ids, worker, using=using)
        if interruption is None:
            raise
        raise interruption from None


def give_back(token_ids: Iterable[uuid.UUID], worker: uuid.UUID, *, using: str) -> None:
    """Free rows as if ``worker`` had not taken their leases: nothing was sent."""
    ours = Token.objects.using(using).filter(pk__in=list(token_ids), lease_owner=worker)
    noted(using, lambda: ours.update(**_ENDED, attempt_count=F("attempt_count") - 1))


def free(*, force: bool = False) -> Q:
    """Return what finds rows that nobody is refreshing; unless ``force``, none that failed lately."""
    unleased = Q(lease_expires_at=None) | Q(lease_expires_at__lt=DatabaseNow())
    return unleased if force else unleased & (Q(not_before=None) | Q(not_before__lte=DatabaseNow()))


def taking(worker: uuid.UUID | Slot, seconds: float) -> dict[str, Any]:
    """Return the columns of a lease that begins now, with its entry in the journal."""
    return {
        "lease_owner": worker,
        "lease_expires_at": DatabaseNow() + timedelta(seconds=seconds),
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
