"""Pages of a list that may have a million rows: nobody counts them all to show a hundred."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

if TYPE_CHECKING:
    from django.db.models import QuerySet

COUNTED = 2000
"""So many rows, the newest, can be paged through; what is older is found by filters and the search."""


class NewestPaginator(Paginator):  # type: ignore[type-arg]
    """Count and show at most ``COUNTED`` rows, in the order of the list, so that its index is read and nothing else."""

    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        """Return how many rows can be paged through."""
        return min(self._seen, COUNTED)

    @property
    def has_more(self) -> bool:
        """Return whether there are rows beyond."""
        return self._seen > COUNTED

    @cached_property
    def _seen(self) -> int:
        # Without the joined rows, and with the order: a slice keeps it.
        bare = self.object_list.select_related(None).values("pk")
        return bare[: COUNTED + 1].count()
