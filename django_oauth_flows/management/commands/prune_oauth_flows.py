"""``manage.py prune_oauth_flows``: daily, from cron."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.flows.pruning import prunable

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


WORDS = {
    "parked_grants": ("to give back", "given back"),
    "revocations": ("still to do", "finished"),
    "webhook_messages": ("still to send", "finished"),
}
"""What is said of a kind before and after; of all others, that they are removed."""


class Command(BaseCommand):
    """Report what was removed, per kind."""

    help = (
        "Remove authorization requests a day after they expired, and events, finished revocations, webhook deliveries and "
        'refresh counts after OAUTH_FLOWS["EVENT_RETENTION_DAYS"]; give back grants that nobody answered for, retry '
        "revocations, and send what the webhook has not taken yet."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the options."""
        parser.add_argument("--batch-size", type=int, default=500, help="Rows per transaction (default: 500).")
        parser.add_argument("--dry-run", action="store_true", help="Only count what would be removed.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Prune."""
        size = options["batch_size"]
        if size < 1:
            raise CommandError("--batch-size must be at least 1.")
        if options["dry_run"]:
            counts, after = prunable(), False
        else:
            counts, after = self._pruned(size), True
        for name, count in counts.items():
            done = WORDS.get(name, ("to remove", "removed"))[after]
            self.stdout.write(f"{name.replace('_', ' ')}: {count} {done}")

    def _pruned(self, size: int) -> dict[str, int]:
        try:
            return flows.prune(batch_size=size)
        except ConfigurationError as error:
            raise CommandError(f"{error.message} {error.hint}") from None
