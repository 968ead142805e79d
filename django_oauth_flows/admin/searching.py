"""Find connections among a million: each part of the search is answered by an index, and by nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Q

from django_oauth_flows.managers import owner_model_labels
from django_oauth_flows.models import Provider

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from django_oauth_flows.models import Connection


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


def _as_id(term: str) -> UUID | None:
    try:
        return UUID(term)
    except ValueError:
        return None
