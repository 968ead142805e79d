"""Learn how long a provider's access tokens live, where it never says."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import Error
from django.db.models import Q

from django_oauth_flows.exceptions import CannotPersist, Disconnected
from django_oauth_flows.flows.durable import harmless_alias, noted
from django_oauth_flows.flows.snapshot import read
from django_oauth_flows.models import Provider

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

SHORTEST_LIFETIME = timedelta(minutes=10)
"""A token that was refused sooner after it was issued was ended by somebody; it had not expired."""


def learn_lifetime(connection_id: UUID, *, issued_at: datetime) -> None:
    """Note that a token issued then has expired by now: the shortest time that was ever seen is taken for the lifetime.

    From then on tokens of which nothing is said get an expiry, and are refreshed before it. What cannot be noted is no
    error; it is seen again.
    """
    with suppress(CannotPersist, Disconnected, Error):
        snapshot = read(connection_id)
        age = snapshot.now - issued_at
        if age < SHORTEST_LIFETIME or snapshot.provider.access_token_lifetime is not None:
            return
        seconds = int(age.total_seconds())
        longer = Q(learned_access_token_lifetime=None) | Q(learned_access_token_lifetime__gt=seconds)
        with harmless_alias(snapshot.token.pk) as alias:
            rows = Provider.objects.using(alias).filter(longer, pk=snapshot.provider.pk)
            noted(alias, lambda: rows.update(learned_access_token_lifetime=seconds))
