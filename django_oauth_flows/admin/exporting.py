"""Connections as CSV: what the list shows, and nothing of their secrets."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from django.http import StreamingHttpResponse
from django.utils import timezone

from django_oauth_flows.models import Connection, Token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.db.models import QuerySet

COLUMNS = (
    "id", "provider__slug", "user_id", "owner_model", "owner_id", "subject", "label", "grant_type", "status", "reason",
    "paused", "requested_scopes", "granted_scopes", "authorized_at", "revoked_at", "last_used_at", "last_purpose",
    "created_at", "token__expires_at", "token__refresh_token_expires_at", "token__last_refreshed_at",
    "token__failure_count", "token__last_failure",
)  # fmt: skip
"""Named one by one: what is added to a model does not leave by itself."""

SEALED = tuple(f"token__{name}" for name in Token.sealed_fields())
"""Not even read."""

AT_ONCE = 2000
"""Rows that are read at a time, so that memory stays flat."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula: whoever chose the account's name would choose that."""


class _Echo:
    """What ``csv`` writes to: it gives each line back."""

    def write(self, line: str) -> str:
        return line


def as_csv(rows: QuerySet[Connection], *, only: Callable[[Connection], bool] | None = None) -> StreamingHttpResponse:
    """Return ``rows`` as a file to download, sent while it is read; ``only`` says of each whether it may leave."""
    name = f"connections-{timezone.now():%Y-%m-%d}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store, private"}
    return StreamingHttpResponse(_lines(rows, only), content_type="text/csv; charset=utf-8", headers=headers)


def _lines(rows: QuerySet[Connection], only: Callable[[Connection], bool] | None) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow([name.replace("__", "_") for name in COLUMNS])
    shown = rows.select_related("provider", "token").defer(*SEALED).order_by("pk")
    for row in shown.iterator(chunk_size=AT_ONCE):
        if only is None or only(row):
            yield writer.writerow([_cell(_value(row, name)) for name in COLUMNS])


def _value(row: Any, name: str) -> Any:
    for part in name.split("__"):
        row = getattr(row, part, None)
    return row


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = (
        " ".join(value)
        if isinstance(value, tuple)
        else value.isoformat()
        if hasattr(value, "isoformat")
        else str(value)
    )
    return f"'{text}" if text.startswith(FORMULA) else text
