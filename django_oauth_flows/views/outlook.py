"""What happens next with a connection, if nobody does anything: what is known of it today."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from django_oauth_flows.flows.freshness import earliest

if TYPE_CHECKING:
    from datetime import datetime

    from django_oauth_flows.models import Connection, Token

Kind = Literal["lasts", "renews", "asks", "may_ask", "ends"]


class Outlook(NamedTuple):
    """``kind``, and at which ``moment`` by the database's clock.

    ``lasts``: nobody has said that it ends; ``renews``: it is renewed without its user, with no end in sight; ``asks``: the
    service asks the user again then; ``may_ask``: then at the earliest; ``ends``: then access is over, and not renewed.
    """

    kind: Kind
    moment: datetime | None = None
    remaining: timedelta | None = None


def outlook(connection: Connection, token: Token) -> Outlook:
    """Say what is ahead of a connection that works; ``connection.now`` is the database's present time."""
    now: Any = connection.now  # type: ignore[attr-defined]
    if token.refresh_token is None:
        return _at("ends", token.expires_at, now) if token.expires_at is not None else Outlook("lasts")
    over, dies_at = _end_of_grant(connection), token.refresh_token_expires_at
    moment = earliest(over, dies_at)
    if moment is None:
        return Outlook("renews")
    # A refresh token that dies only if it is not used is used in time, unless the connection rests.
    return _at("asks" if moment == over or connection.paused else "may_ask", moment, now)


def _end_of_grant(connection: Connection) -> datetime | None:
    """Return when the grant is over however often it is renewed, if the provider's row says so."""
    seconds, since = connection.provider.refresh_token_lifetime, connection.authorized_at
    return None if seconds is None or since is None else since + timedelta(seconds=seconds)


def _at(kind: Kind, moment: datetime, now: datetime) -> Outlook:
    return Outlook(kind, moment, max(moment - now, timedelta(0)))
