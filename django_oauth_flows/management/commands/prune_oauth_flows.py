"""``manage.py prune_oauth_flows``: daily, from cron."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from django_oauth_flows import flows
from django_oauth_flows.flows.pruning import prunable

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


WORDS = {"parked_grants": ("to give back", "given back"), "revocations": ("still to do", "finished")}
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
            self._tell("parked grants", pruning.unanswered().count(), "to give back")
            self._tell("revocations", pruning.unrevoked().count(), "still to do")
            self._tell("webhook messages", pruning.untold().count(), "still to send")
            for label, rows in pruning.outdated().items():
                self._tell(label, rows.count(), "to remove")
            return
        self._tell("parked grants", pruning.give_back_parked(batch_size=size), "given back")
        self._tell("revocations", pruning.work_off(batch_size=size), "finished")
        for label, rows in pruning.outdated().items():
            self._tell(label, pruning.remove(rows, batch_size=size), "removed")
        # Last: a webhook that is set up wrongly must not keep the rest from being done.
        self._tell("webhook messages", pruning.deliver(batch_size=size), "finished")

    def _tell(self, label: str, number: int, done: str) -> None:
        self.stdout.write(f"{label}: {number} {done}")
            counts, after = prunable(), False
        else:
            counts, after = flows.prune(batch_size=size), True
        for name, count in counts.items():
            done = WORDS.get(name, ("to remove", "removed"))[after]
            self.stdout.write(f"{name.replace('_', ' ')}: {count} {done}")
