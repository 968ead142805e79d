"""One look at a connection's token: everything that decides whether it can be served, in one query."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db import router

from django_oauth_flows.exceptions import Disconnected
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows import circuit
from django_oauth_flows.flows.configured import Configured
from django_oauth_flows.flows.freshness import Freshness, freshness
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.statements import Select, Slot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A token row with its connection, provider and user, and the database's time when it was read."""

    token: Token
    now: datetime
    read_at: float  # this process's monotonic clock
    configured: Configured

    @property
    def connection(self) -> Connection:
        """Return the connection."""
        return self.token.connection

    @property
    def provider(self) -> Provider:
        """Return the provider."""
        return self.token.connection.provider

    @property
    def renewable(self) -> bool:
        """Return whether there is a way to get another access token without the user."""
        return self.token.refresh_token is not None or self.connection.is_own

    @property
    def rests(self) -> bool:
        """Return whether the provider is not asked while this token is valid: in vain, too soon, or without its user."""
        backing_off = self.token.not_before is not None and self.token.not_before > self.now
        in_vain = not self.renewable or self.connection.status != Connection.Status.ACTIVE
        return in_vain or backing_off or circuit.is_open(self.provider, now=self.now)

    def freshness(self, *, min_validity: timedelta = timedelta(0)) -> Freshness:
        """Judge the access token at the time of reading."""
        return freshness(self.token, now=self.now, min_validity=min_validity)

    def present(self) -> datetime:
        """Return the database's present time, reckoned from when it was last asked."""
        return self.now + timedelta(seconds=time.monotonic() - self.read_at)


# Of the user only what decides whether to serve: the password's hash, for one, has no business here.
_COLUMNS: dict[str, Any] = {"connection__user": lambda user: (user._meta.pk.attname, "is_active")}

_TOKEN = Select(
    lambda: Token.objects.filter(connection=Slot("connection_id")).annotate(now=DatabaseNow()),
    related=("connection", "connection__provider", "connection__user"),
    columns=_COLUMNS,
)

BATCH = 32
"""How many rows are read at once; the same statement serves fewer."""

BATCH_NAMES = tuple(f"id_{number}" for number in range(BATCH))
"""The slots of a batch's ids."""

_LEASED = Select(
    lambda: Token.objects.filter(
        id__in=[Slot("id", name) for name in BATCH_NAMES], lease_owner=Slot("lease_owner")
    ).annotate(now=DatabaseNow()),
    related=("connection", "connection__user"),
    columns=_COLUMNS,
)


def read(connection_id: UUID, *, using: str | None = None) -> Snapshot:
    """Read the row from the writing database; raise :class:`Disconnected` if there is none."""
    home = router.db_for_write(Token)
    token: Any = _TOKEN.first(using=using or home, connection_id=connection_id)
    if token is None:
        raise Disconnected("This account is no longer connected.")
    if using is not None and using != home:
        # The second connection is gone soon; receivers of signals must not meet its name.
        for row in (token, token.connection, token.connection.provider, token.connection.user):
            if row is not None:
                row._state.db = home
    return Snapshot(token, token.now, time.monotonic(), Configured(token.connection.provider))


def read_leased(token_ids: Sequence[UUID], worker: UUID, provider: Provider, *, using: str) -> list[Snapshot]:
    """Read those of one provider's rows whose lease ``worker`` holds: at most :data:`BATCH`, in one query."""
    rows: list[Any] = _LEASED.rows(using=using, lease_owner=worker, **batch_of(token_ids))
    configured = Configured(provider)
    for token in rows:
        token.connection.provider = provider
    return [Snapshot(token, token.now, time.monotonic(), configured) for token in rows]


def batch_of(token_ids: Sequence[UUID]) -> dict[str, UUID]:
    """Return the values of a batch's slots: what is missing at the end of it is filled up with the first."""
    return dict(zip(BATCH_NAMES, [*token_ids, *[token_ids[0]] * (BATCH - len(token_ids))], strict=True))


_UNDER_WAY = Select(
    lambda: Token.objects.filter(
        connection=Slot("connection_id"), generation=Slot("generation"), lease_expires_at__gt=DatabaseNow()
    ),
    columns={"": lambda _: ("id",)},
)


def still_leased(snapshot: Snapshot, *, using: str) -> bool:
    """Ask whether somebody is at refreshing what ``snapshot`` holds: a small question, for those who ask again and again."""
    asked = {"connection_id": snapshot.connection.pk, "generation": snapshot.token.generation}
    return _UNDER_WAY.first(using=using, **asked) is not None


def check_servable(snapshot: Snapshot) -> None:
    """Raise :class:`Disconnected` if this connection may not be served at all, whatever its token is worth."""
    connection = snapshot.connection
    if connection.status == Connection.Status.REVOKED:
        raise Disconnected("This account is no longer connected.")
    if snapshot.provider.paused:
        raise Disconnected("This service is paused.", code="paused", hint="Ask the site's staff to resume it.")
    if connection.paused:
        raise Disconnected(
            "This connection is paused.",
            code="connection_paused",
            hint="Its owner resumes it on the page of connected accounts; flows.resume() does the same.",
        )
    if not _owner_is_active(connection):
        raise Disconnected(
            "The owner of this connection may not be served.", code="owner_inactive", hint="Activate the user."
        )


def _owner_is_active(connection: Connection) -> bool:
    """Tell whether a user's own connection has an active user; an organisation's outlives who consented."""
    user_model = get_user_model()
    if connection.owner_model != user_model._meta.label_lower:
        return True
    if connection.user is not None and str(connection.user.pk) == connection.owner_id:
        return bool(connection.user.is_active)
    users = user_model._default_manager.using(router.db_for_write(user_model))
    owner = users.filter(pk=connection.owner_id).first()
    return owner is not None and bool(owner.is_active)
