"""After a database was brought back from a backup, or cloned: trust no refresh token that is in it.

Some have been rotated since the backup, and in a clone the original goes on using them: to present one may end the grant
there. So no sweep presents them any more. Access tokens are served while they are valid; a refresh happens when a call
needs one, and its success puts the connection back into the schedule. If the provider refuses, the reason is that an
answer was lost (``outcome_unknown``): the one that came after the backup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import router
from django.db.models.functions import Greatest

from django_oauth_flows.flows.lease import free
from django_oauth_flows.models import Token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from django.db.models import QuerySet

    from django_oauth_flows.models import Provider


def settle_restored(
    *, provider: Provider | None = None, batch_size: int = 500, advance: Callable[[int], None] = lambda _: None
) -> int:
    """Put every lease and journal entry to rest, and every refresh token out of the schedule; return how many are left.

    What is left is being refreshed right now, so that its token is of today, or its lease is as young as the backup:
    call again in a minute. ``provider``: the only one to look at. ``batch_size``: rows per transaction. ``advance`` is
    called with the number of rows just dealt with. It may be stopped and repeated.

    ``generation`` stays. An answer to a refresh that began before is stored only if the backup holds the very token that
    was presented, and then it is the newest there is; any other finds no row to be written to. To bump it would make
    whoever waits for an answer believe that it has come.
    """
    left = 0
    for batch in _batches(restored(provider=provider), batch_size):
        rows = Token.objects.using(router.db_for_write(Token)).filter(pk__in=batch)
        left += len(batch) - rows.filter(free(force=True)).update(**_SETTLED)
        advance(len(batch))
    return left


def restored(*, provider: Provider | None = None) -> QuerySet[Token]:
    """Return the rows with a refresh token; a grant of the site's own has none that could have been rotated."""
    rows = Token.objects.using(router.db_for_write(Token)).filter(refresh_token__isnull=False)
    return rows if provider is None else rows.filter(connection__provider=provider)


def _batches(rows: QuerySet[Token], size: int) -> Iterator[list[UUID]]:
    """Walk by primary key: each row is met once, and no cursor stays open."""
    ids = rows.order_by("pk").values_list("pk", flat=True)
    batch = list(ids[:size])
    while batch:
        yield batch
        batch = list(ids.filter(pk__gt=batch[-1])[:size])


_SETTLED: dict[str, Any] = {
    "lease_owner": None,
    "lease_expires_at": None,
    "attempt_id": None,
    "attempt_started_at": None,
    "attempt_count": Greatest("attempt_count", 1),  # the doubt: presented before, without an answer that we have
    "next_refresh_at": None,
}
