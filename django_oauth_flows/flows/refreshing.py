"""Refresh: one request for any number of callers, and its answer is never lost.

The order is the protocol. Read the row; if it is due, take its lease by one conditional UPDATE, which also journals the
attempt; ask the provider while no transaction of ours is open; save by compare-and-swap on ``generation``. Whoever does
not get the lease uses the still-valid token, or waits and adopts the winner's.
"""

from __future__ import annotations

import random
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import Error

from django_oauth_flows.exceptions import (
    CannotPersist,
    ConfigurationError,
    DecryptionError,
    Disconnected,
    OAuthFlowsError,
    ReauthorizationRequiredError,
    RequestBlocked,
    TokenEndpointError,
    TokenUnavailable,
)
from django_oauth_flows.failpoints import Failpoint, reach
from django_oauth_flows.flows import circuit
from django_oauth_flows.flows.asking import ask, registration_of
from django_oauth_flows.flows.confirming import answers_for_another
from django_oauth_flows.flows.counting import counted
from django_oauth_flows.flows.durable import NOTE_LOCK_TIMEOUT, commits_harm_caller, committing, durable_alias
from django_oauth_flows.flows.freshness import Freshness, refreshed_lately
from django_oauth_flows.flows.history import logger
from django_oauth_flows.flows.introspecting import learn_life
from django_oauth_flows.flows.lease import Lease, acquire, deadline_left, deadline_seconds, lease_seconds
from django_oauth_flows.flows.marking import mark_refreshed, needs_reauthorization, raise_alarm
from django_oauth_flows.flows.policy import judge
from django_oauth_flows.flows.revoking import discard
from django_oauth_flows.flows.snapshot import Snapshot, check_servable, read, still_leased
from django_oauth_flows.flows.values import SECRETS, Grant, RefreshResult
from django_oauth_flows.models import Connection

if TYPE_CHECKING:
    from uuid import UUID

    from django_oauth_flows.models import Token
    from django_oauth_flows.protocol.dialect import Dialect
    from django_oauth_flows.protocol.messages import Credentials

FIRST_POLL, LAST_POLL = 0.03, 0.2
"""Seconds between two looks of a caller that waits for the winner."""


def refresh(connection: Connection) -> RefreshResult:
    """Get a new access token now, whatever the present one is worth.

    Raises :class:`ReauthorizationRequiredError` if only the user can help, :class:`TokenUnavailable` if the provider
    does not help just now, :class:`CannotPersist` before the provider is contacted if its answer could not be kept, and
    :class:`Disconnected`. RFC 6749 §6.
    """
    before = read(connection.pk)
    check_servable(before)
    after = _obtain(before, seconds=deadline_seconds(before.provider), force=True)
    return RefreshResult(
        refreshed=after.token.generation == before.token.generation + 1, expires_at=after.token.expires_at
    )


def usable(connection_id: UUID, *, min_validity: timedelta = timedelta(0)) -> Snapshot:
    """Return a token that is valid for at least ``min_validity``; on the fresh path one query and nothing else.

    Raises what :func:`refresh` raises, but only when there is no valid token left.
    """
    snapshot = read(connection_id)
    check_servable(snapshot)
    match snapshot.freshness(min_validity=min_validity):
        case Freshness.FRESH:
            return snapshot
        case Freshness.STALE:
            return _refreshed_early(snapshot)
        case Freshness.EXPIRED:
            return _obtain(snapshot, seconds=deadline_seconds(snapshot.provider), min_validity=min_validity)


def replacement(connection_id: UUID, rejected: Credentials) -> Snapshot:
    """Return something newer than ``rejected``, which an API has just answered with 401, or the same if there is none."""
    snapshot = read(connection_id)
    check_servable(snapshot)
    young = refreshed_lately(snapshot.token, now=snapshot.now)  # the next one would fare no better
    if snapshot.token.generation != rejected.generation or not snapshot.renewable or young:
        return snapshot
    return _obtain(snapshot, seconds=deadline_seconds(snapshot.provider), other_than=rejected.generation)


def reissued(snapshot: Snapshot) -> Snapshot:
    """Return another token than ``snapshot``'s, which does not open, for a grant that needs nothing of a user's.

    Raises what :func:`refresh` raises.
    """
    seconds = deadline_seconds(snapshot.provider)
    return _obtain(snapshot, seconds=seconds, force=True, other_than=snapshot.token.generation)


@counted
def attempt(lease: Lease, *, seconds: float) -> bool:
    """Ask the provider once (twice if its answer is lost) and store what it says. Holds the lease, no transaction.

    Return False if another worker, or a reconnect, was faster: what is stored then is theirs.
    """
    with circuit.trying(lease):
        return _attempt(lease, seconds=seconds)


def _attempt(lease: Lease, *, seconds: float) -> bool:
    reach(Failpoint.AFTER_LEASE)
    until = time.monotonic() + seconds
    requested_at = lease.snapshot.present()
    try:
        registration = registration_of(lease.snapshot)
        tokens = ask(lease.snapshot, registration, seconds=seconds)
    except DecryptionError:
        needs_reauthorization(lease.snapshot, Connection.Reason.UNDECRYPTABLE, lease=lease)
        raise ReauthorizationRequiredError(
            "The stored tokens can no longer be read.", reason=Connection.Reason.UNDECRYPTABLE
        ) from None
    except (ConfigurationError, RequestBlocked) as error:
        lease.release(failure=error.code, answered=not error.in_doubt)
        raise
    except TokenEndpointError as error:
        _failed(lease, error, registration.dialect)
        return False
    reach(Failpoint.AFTER_RESPONSE)
    grant = Grant.of(tokens, kept=registration.dialect.kept_members)
    if answers_for_another(lease.snapshot, tokens, registration):
        _another_account(lease, grant)
    if not lease.save(grant, requested_at=requested_at):
        _overtaken(lease, grant)
        return False
    reach(Failpoint.AFTER_COMMIT)
    mark_refreshed(lease, grant)
    learn_life(lease, grant, registration, seconds=min(until - time.monotonic(), deadline_left(lease)))
    return True


def _refreshed_early(snapshot: Snapshot) -> Snapshot:
    """Try to refresh a token that is still valid; a failure is no error, the present token is served."""
    if snapshot.rests or commits_harm_caller():
        return snapshot
    budget = min(snapshot.provider.stale_refresh_budget, deadline_seconds(snapshot.provider))
    try:
        with durable_alias(snapshot.token.pk) as alias:
            lease = acquire(snapshot, alias=alias, force=False)
            if lease is None:
                return snapshot
            with suppress(*_NO_ERROR_YET):
                _check_wanted(lease, force=False)
                attempt(lease, seconds=min(budget, deadline_left(lease)))
            return _stored(lease)
    except CannotPersist:
        return snapshot


_NO_ERROR_YET = (
    CannotPersist, ReauthorizationRequiredError, TokenUnavailable, ConfigurationError, DecryptionError, RequestBlocked,
)  # fmt: skip
"""What a refresh may end in without anybody noticing, as long as there is a valid token."""


def _obtain(
    snapshot: Snapshot,
    *,
    seconds: float,
    force: bool = False,
    min_validity: timedelta = timedelta(0),
    other_than: int | None = None,
) -> Snapshot:
    """Refresh, or wait for the worker that is at it; return a token that will do."""
    _check_renewable(snapshot, force=force)
    first = snapshot.token.generation
    give_up = time.monotonic() + lease_seconds(snapshot.provider) + seconds
    with durable_alias(snapshot.token.pk) as alias:
        while time.monotonic() < give_up:
            # Look before you write: of many callers at once, all but the first would only queue for the row.
            leased = still_leased(snapshot, using=alias)
            lease = None if leased else acquire(snapshot, alias=alias, force=force)
            if lease is None:
                _wait_for_winner(snapshot, alias=alias, until=give_up)
            else:
                _check_wanted(lease, force=force)
                if attempt(lease, seconds=min(seconds, deadline_left(lease))):
                    return _stored(lease)
            snapshot = read(snapshot.connection.pk, using=alias)
            check_servable(snapshot)
            moved = snapshot.token.generation != first
            valid = snapshot.freshness(min_validity=min_validity) is not Freshness.EXPIRED
            if moved or (valid and not force and other_than is None):
                return snapshot
            _check_renewable(snapshot, force=force)
    raise TokenUnavailable("Another worker is refreshing this connection and has not finished.")


def _stored(lease: Lease) -> Snapshot:
    """Read what there is now: only that is served, whatever came between the answer and this moment."""
    snapshot = read(lease.snapshot.connection.pk, using=lease.alias)
    check_servable(snapshot)
    return snapshot


def _check_wanted(lease: Lease, *, force: bool) -> None:
    """Give the lease back and raise if what was read under it says that the provider is not to be asked after all."""
    try:
        check_servable(lease.snapshot)
        _check_renewable(lease.snapshot, force=force)
        if not force:
            circuit.admit(lease)
    except OAuthFlowsError:
        lease.give_back()
        raise


def _wait_for_winner(snapshot: Snapshot, *, alias: str, until: float) -> None:
    """Wait until the row has moved on or may be leased again, but not beyond ``until`` (monotonic clock)."""
    pause = FIRST_POLL
    while time.monotonic() < until:
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
        if not still_leased(snapshot, using=alias):
            return
        pause = min(pause * 2, LAST_POLL)


def _check_renewable(snapshot: Snapshot, *, force: bool) -> None:
    """Raise unless it makes sense to ask the provider now."""
    connection, token = snapshot.connection, snapshot.token
    if not snapshot.renewable:
        if connection.status == Connection.Status.ACTIVE and snapshot.freshness() is Freshness.EXPIRED:
            needs_reauthorization(snapshot, Connection.Reason.EXPIRED)
        raise ReauthorizationRequiredError(
            "This connection cannot be renewed without its user.",
            code="not_renewable",
            reason=connection.reason or Connection.Reason.EXPIRED,
            hint="It works until its token expires or is refused; let the user reconnect then.",
        )
    if connection.status == Connection.Status.REAUTHORIZATION_REQUIRED and not force:
        raise ReauthorizationRequiredError("The user has to connect this account again.", reason=connection.reason)
    if not force and token.not_before is not None and token.not_before > snapshot.now:
        wait = int((token.not_before - snapshot.now).total_seconds()) + 1
        raise TokenUnavailable("The token has expired, and refreshing it failed a moment ago.", retry_after=wait)
    if not force:
        circuit.check(snapshot.provider, now=snapshot.now)


def _failed(lease: Lease, error: TokenEndpointError, dialect: Dialect) -> None:
    """Act on the failure policy, and raise; return if a sibling has been faster."""
    snapshot = lease.snapshot
    verdict = judge(error, dialect).value
    if not verdict.counts_for_circuit:  # it serves others
        circuit.close(snapshot.provider, using=lease.alias)
    # A grant of the site's own does not end: clocks, or a key that is not known there yet, are put right without a user.
    if verdict.ends_connection and not snapshot.connection.is_own:
        current = read(snapshot.connection.pk, using=lease.alias)
        if current.token.generation != snapshot.token.generation:
            return
        doubtful = lease.unanswered > 0 or error.in_doubt
        reason = Connection.Reason.OUTCOME_UNKNOWN if doubtful else Connection.Reason.INVALID_GRANT
        needs_reauthorization(snapshot, reason, lease=lease)
        raise ReauthorizationRequiredError("The service no longer accepts this grant.", reason=reason) from None
    wait = error.retry_after or 0
    if verdict.alarms_staff:
        raise_alarm(snapshot.provider, code=error.error, using=lease.alias)
    if verdict.counts_for_circuit:
        circuit.note_failure(lease, wait=wait)
    lease.release(failure=error.error or error.code, answered=not (verdict.leaves_doubt or error.in_doubt), wait=wait)
    raise TokenUnavailable(
        "The token could not be refreshed just now.", code=error.code, hint=error.hint, retry_after=error.retry_after
    ) from None


def _overtaken(lease: Lease, grant: Grant) -> None:
    """Drop an answer that came too late: the connection was ended, granted anew, or refreshed by another worker."""
    before = lease.snapshot
    try:
        current = read(before.connection.pk, using=lease.alias)
        check_servable(current)
    except Disconnected:
        _give_back(lease, grant)
        raise
    if current.connection.authorized_at != before.connection.authorized_at:
        _give_back(lease, grant, current.token)


def _another_account(lease: Lease, grant: Grant) -> None:
    """Keep nothing of an answer whose ID token is about another account, and raise: staff and the user have to look."""
    needs_reauthorization(lease.snapshot, Connection.Reason.IDENTITY_CHANGED, lease=lease)
    facts = {"provider": str(lease.snapshot.provider.pk), "connection": str(lease.snapshot.connection.pk)}
    logger.critical("oauth_flows.identity_changed", extra=facts)
    _give_back(lease, grant, lease.snapshot.token)
    raise ReauthorizationRequiredError(
        "The service answered a refresh for another account.",
        code="identity_changed",
        reason=Connection.Reason.IDENTITY_CHANGED,
    )


def _give_back(lease: Lease, grant: Grant, newer: Token | None = None) -> None:
    """Revoke the late tokens where that hurts nobody; a copy that was never saved stands for the connection as it was."""
    was, token = lease.snapshot.connection, lease.snapshot.token
    copy = Connection(
        provider=lease.snapshot.provider,
        owner_model=was.owner_model,
        owner_id=was.owner_id,
        subject=was.subject,
        parameters=was.parameters,
    )
    with suppress(OAuthFlowsError, Error), committing(lease.alias, lock_timeout=NOTE_LOCK_TIMEOUT):
        # A reconnect may have kept the old refresh token, or been given the same one.
        kept = [newer.open(name) for name in SECRETS] if newer is not None else ()
        discard(
            copy,
            grant,
            client_id=token.client_id,
            fingerprint=token.configuration_fingerprint,
            kept=kept,
            using=lease.alias,
        )
