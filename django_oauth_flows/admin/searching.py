"""Find connections among a million: each part of the search is answered by an index, and by nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import Q

from django_oauth_flows.managers import owner_model_labels
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.models.connection import INDEXED, SCOPES_START

if TYPE_CHECKING:
    from django.db.models import QuerySet

MOST_LOOKS = 100
"""Sets of scopes that are looked up one by one."""


def find(rows: QuerySet[Connection], term: str) -> QuerySet[Connection]:
    """Keep what is called ``term``: the user's whole name, the beginning of the account's, or one of the ids, exactly."""
    term = term.strip()
    if not term:
        return rows
    if "\x00" in term:
        return rows.none()  # PostgreSQL stores no NUL, so nothing is called that
    user_model = get_user_model()
    named = user_model._default_manager.filter(**{user_model.USERNAME_FIELD: term}).values_list("pk", flat=True)
    wanted = Q(user_id__in=list(named)) | Q(label__startswith=term)
    wanted |= Q(owner_model__in=sorted(owner_model_labels()), owner_id=term)
    wanted |= Q(provider__in=providers(), subject=term)
    if (pk := _as_id(term)) is not None:
        wanted |= Q(pk=pk)
    return rows.filter(wanted)


def providers() -> list[UUID]:
    """Return every provider: an index that begins with the provider answers for all of them then."""
    return list(Provider.objects.order_by().values_list("pk", flat=True))


def lacking(rows: QuerySet[Connection]) -> QuerySet[Connection]:
    """Keep what lacks a scope that its provider requires: an index finds the few sets of scopes which may lack it."""
    wanted = Q(pk__in=())
    looks = _Looks()
    for pk, required in Provider.objects.exclude(required_scopes=()).order_by().values_list("pk", "required_scopes"):
        starts = looks.starts(pk)
        if starts is None:
            return rows.lacking_required_scopes()  # type: ignore[attr-defined,no-any-return]
        lack = [start for start in starts if len(start) >= INDEXED or not set(required) <= set(start.split())]
        wanted |= Q(provider=pk, scopes_start__in=lack)
    found: QuerySet[Connection] = rows.alias(scopes_start=SCOPES_START).filter(wanted).lacking_required_scopes()  # type: ignore[attr-defined]
    return found


class _Looks:
    """Looks into the index of the scopes, of which there are so many for all providers together.

    SQLite does not find the index with bound values, and MariaDB and MySQL may take large letters for small ones.
    """

    def __init__(self) -> None:
        self._left = MOST_LOOKS if connections[Connection.objects.db].vendor == "postgresql" else 0

    def starts(self, provider: UUID) -> list[str] | None:
        """Return how the sets of scopes granted at a provider begin, with a look at each; None if there are no looks left."""
        rows = Connection.objects.filter(provider=provider).alias(start=SCOPES_START).order_by("start")
        starts = [""]
        while self._left:
            self._left -= 1
            start = rows.filter(start__gt=starts[-1]).values_list(SCOPES_START, flat=True).first()
            if not start:
                return starts
            starts.append(start)
        return None


def _as_id(term: str) -> UUID | None:
    try:
        return UUID(term)
    except ValueError:
        return None
