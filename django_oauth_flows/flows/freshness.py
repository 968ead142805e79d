"""When a token is due: pure arithmetic on a row and the database's present time."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_oauth_flows.models import Provider, Token

MAX_LIFETIME = timedelta(days=3650)

MINIMUM_INTERVAL = timedelta(seconds=30)
"""A token refreshed so lately is not refreshed again for being refused, or for having arrived expired."""


class Freshness(StrEnum):
    """How usable an access token is."""

    FRESH = "fresh"
    STALE = "stale"  # still valid, due for refresh
    EXPIRED = "expired"


def freshness(token: Token, *, now: datetime, min_validity: timedelta = timedelta(0)) -> Freshness:
    """Judge ``token`` at ``now``; one without an expiry is fresh until the provider says otherwise.

    One that arrived expired (``expires_in`` of zero or less) is taken to be usable for a while: so would its successor
    arrive, and there would be no end to refreshing.
    """
    if token.access_token is None:
        return Freshness.EXPIRED
    if token.expires_at is None:
        return Freshness.FRESH
    if token.expires_at <= now + min_validity:
        usable = not min_validity and _arrived_expired(token) and refreshed_lately(token, now=now)
        return Freshness.FRESH if usable else Freshness.EXPIRED
    due = token.next_refresh_at or token.expires_at
    return Freshness.STALE if due <= now else Freshness.FRESH


def refreshed_lately(token: Token, *, now: datetime) -> bool:
    """Tell whether the last refresh is less than :data:`MINIMUM_INTERVAL` ago."""
    return token.last_refreshed_at is not None and now - token.last_refreshed_at < MINIMUM_INTERVAL


def _arrived_expired(token: Token) -> bool:
    return token.expires_at is not None and token.issued_at is not None and token.expires_at <= token.issued_at


def expiry(provider: Provider, *, expires_in: int | None, now: datetime) -> datetime | None:
    """Return when a token expires that was requested at ``now``; None if neither server nor provider row says."""
    lifetime = provider.access_token_lifetime if expires_in is None else expires_in
    return None if lifetime is None else now + min(timedelta(seconds=lifetime), MAX_LIFETIME)


def refresh_expiry(provider: Provider, *, expires_in: int | None, now: datetime) -> datetime | None:
    """Return when a refresh token dies: what the server says, else the shorter of absolute and idle lifetime."""
    known = (
        [expires_in]
        if expires_in is not None
        else [provider.refresh_token_lifetime, provider.refresh_token_idle_lifetime]
    )
    lifetimes = [seconds for seconds in known if seconds is not None]
    return now + min(timedelta(seconds=min(lifetimes)), MAX_LIFETIME) if lifetimes else None


def next_refresh(provider: Provider, *, expires_at: datetime | None, now: datetime) -> datetime | None:
    """Return when to refresh early: the provider's margin, at most a quarter of the lifetime, before expiry."""
    if expires_at is None:
        return None
    lifetime = max(expires_at - now, timedelta(0))
    return expires_at - min(timedelta(seconds=provider.refresh_margin), lifetime / 4)
