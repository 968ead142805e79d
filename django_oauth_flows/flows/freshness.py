"""When a token is due: pure arithmetic on a row and the database's present time."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from django_oauth_flows.models import Provider, Token

MAX_LIFETIME = timedelta(days=3650)

MINIMUM_INTERVAL = timedelta(seconds=30)
"""A token refreshed so lately is not refreshed again for being refused, or for having arrived expired."""


KEEP_ALIVE_MARGIN = timedelta(days=7)
"""So long before it would die unused, at most a quarter of its life, a refresh token is used."""

KEEP_ALIVE_INTERVAL = timedelta(hours=1)
"""No refresh token is used only to keep it alive sooner than that after the last time."""


class Freshness(StrEnum):
    """How usable an access token is."""

    FRESH = "fresh"
    STALE = "stale"  # still valid, due for refresh
    EXPIRED = "expired"


def freshness(token: Token, *, now: datetime, min_validity: timedelta = timedelta(0)) -> Freshness:
    """Judge ``token`` at ``now``; one without an expiry is fresh until the provider says otherwise.

    One that arrived expired (``expires_in`` of zero or less) is taken to be usable for a while: so would its successor
    arrive, and there would be no end to refreshing. For the same reason more validity than a token's kind has is not
    insisted on.
    """
    if token.access_token is None:
        return Freshness.EXPIRED
    if token.expires_at is None:
        return (
            Freshness.STALE if token.next_refresh_at is not None and token.next_refresh_at <= now else Freshness.FRESH
        )
    if token.expires_at <= now + _attainable(token, min_validity, now=now):
        usable = not min_validity and _arrived_expired(token) and refreshed_lately(token, now=now)
        return Freshness.FRESH if usable else Freshness.EXPIRED
    due = token.next_refresh_at or token.expires_at
    return Freshness.STALE if due <= now else Freshness.FRESH


def refreshed_lately(token: Token, *, now: datetime) -> bool:
    """Tell whether the last refresh is less than :data:`MINIMUM_INTERVAL` ago."""
    return token.last_refreshed_at is not None and now - token.last_refreshed_at < MINIMUM_INTERVAL


def _attainable(token: Token, wanted: timedelta, *, now: datetime) -> timedelta:
    """Return what validity may be asked for without asking again and again.

    A successor of a new token would be no better; where none of its kind lives for so long, half of its life is enough.
    """
    if refreshed_lately(token, now=now):
        return timedelta(0)
    life = token.expires_at - token.issued_at if token.expires_at and token.issued_at else timedelta(0)
    return life / 2 if timedelta(0) < life <= wanted else wanted


def _arrived_expired(token: Token) -> bool:
    return token.expires_at is not None and token.issued_at is not None and token.expires_at <= token.issued_at


class Moments(NamedTuple):
    """When a token expires, when its refresh token dies, and when to refresh. None: nobody knows, or never."""

    expires_at: datetime | None
    refresh_token_expires_at: datetime | None
    next_refresh_at: datetime | None


def moments(
    provider: Provider,
    *,
    expires_in: int | None,
    refresh_token_expires_in: int | None,
    now: datetime,
    authorized_at: datetime,
    renewable: bool,
) -> Moments:
    """Reckon for a token that was requested at ``now``, of a grant that the user gave at ``authorized_at``.

    What the server says goes before what the provider's row says, and that before what was observed, which only a token
    is judged by that is ``renewable``: it may be wrong, and costs that one a refresh and another its connection. A refresh token
    dies when it was not used for its idle lifetime, and, however often it was used, when the absolute lifetime of the
    grant is over. Whichever comes first, and can be put off, is put off: by a refresh in good time.
    """
    observed = provider.learned_access_token_lifetime if renewable else None
    known = (expires_in, provider.access_token_lifetime, observed)
    expires_at = _after(now, next((seconds for seconds in known if seconds is not None), None))
    unused = refresh_token_expires_in if refresh_token_expires_in is not None else provider.refresh_token_idle_lifetime
    can_wait_until, over = _after(now, unused), _after(authorized_at, provider.refresh_token_lifetime)
    dies_at = earliest(can_wait_until, over)
    early = (
        None if expires_at is None else _early(expires_at, now=now, margin=timedelta(seconds=provider.refresh_margin))
    )
    keep_alive = _keep_alive(can_wait_until, now=now) if can_wait_until == dies_at else None
    return Moments(expires_at, dies_at, earliest(early, keep_alive))


def next_refresh(provider: Provider, *, expires_at: datetime, token: Token, now: datetime) -> datetime:
    """Return when to refresh a renewable token whose expiry has become known, not later than was planned before."""
    early = _early(expires_at, now=now, margin=timedelta(seconds=provider.refresh_margin))
    return min(early, token.next_refresh_at) if token.next_refresh_at is not None else early


def _early(expires_at: datetime, *, now: datetime, margin: timedelta) -> datetime:
    """Return when to refresh early: the margin, at most a quarter of the lifetime, before expiry."""
    return expires_at - min(margin, max(expires_at - now, timedelta(0)) / 4)


def _keep_alive(dies_at: datetime | None, *, now: datetime) -> datetime | None:
    """Return when to use a refresh token lest it dies unused; None if that would be again and again."""
    if dies_at is None:
        return None
    moment = _early(dies_at, now=now, margin=KEEP_ALIVE_MARGIN)
    return moment if moment - now >= KEEP_ALIVE_INTERVAL else None


def _after(moment: datetime, seconds: int | None) -> datetime | None:
    return None if seconds is None else moment + min(timedelta(seconds=seconds), MAX_LIFETIME)


def earliest(*choices: datetime | None) -> datetime | None:
    """Return the first of those moments that are known."""
    return min((moment for moment in choices if moment is not None), default=None)
