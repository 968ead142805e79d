"""``manage.py reencrypt_secrets``: seal every stored secret with the first key."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from django_oauth_flows.management.progress import Progress
from django_oauth_flows.management.reencrypting import SEALED, count, reencrypt

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from django_oauth_flows.management.reencrypting import Tally

EXPLANATION = """
Seal every stored secret with the first entry of OAUTH_FLOWS["ENCRYPTION_KEYS"].

Online: stop it and run it again whenever you like; a refresh that happens meanwhile is never overwritten.

  1. Put the new key in front, ["<new>", "<old>"], and deploy everywhere.
  2. Run this command until it exits with 0.
  3. Remove the old key.

To move from SECRET_KEY to a key of its own, the old entry is the word "SECRET_KEY": ["<new>", "SECRET_KEY"].
To rotate SECRET_KEY itself without such keys: put the old one into SECRET_KEY_FALLBACKS, and run this command.
"""


class Command(BaseCommand):
    """Report per model what was done; exit with 1 while an older key is still needed."""

    help = EXPLANATION.strip()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Keep the explanation's lines."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.formatter_class = RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the options."""
        parser.add_argument("--batch-size", type=int, default=500, help="Rows to read at a time (default: 500).")
        parser.add_argument("--dry-run", action="store_true", help="Only count what would be done.")
        parser.add_argument(
            "--mark-undecryptable",
            action="store_true",
            help="Let connections whose tokens no key opens ask their users to reconnect.",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Go through all models."""
        if options["batch_size"] < 1:
            raise CommandError("--batch-size must be at least 1.")
        unfinished = False
        for model in SEALED:
            label = str(model._meta.verbose_name_plural)
            progress = Progress(self.stderr, label, total=count(model), quiet=options["verbosity"] == 0)
            tally = reencrypt(
                model,
                batch_size=options["batch_size"],
                dry_run=options["dry_run"],
                mark_lost=options["mark_undecryptable"],
                advance=progress.advance,
            )
            progress.close()
            self._report(label, tally, dry_run=options["dry_run"], model=model._meta.label)
            unfinished |= tally.unfinished or (options["dry_run"] and bool(tally.resealed))
        if unfinished:
            raise CommandError("An older key is still needed: see above, then run this again.", returncode=1)
        self.stdout.write(self.style.SUCCESS("Every secret is sealed with the first key; older keys may be removed."))

    def _report(self, label: str, tally: Tally, *, dry_run: bool, model: str) -> None:
        done = "to re-encrypt" if dry_run else "re-encrypted"
        said = f"{label}: {tally.resealed} {done}, {tally.current} up to date"
        if tally.busy:
            said += f", {tally.busy} skipped because they were being changed"
        if tally.lost:
            said += f", {len(tally.lost)} undecryptable"
        if tally.settled:
            said += f" ({tally.settled} of them ask their users to reconnect)"
        self.stdout.write(said)
        for pk in tally.lost:
            self.stderr.write(f"{model} {pk}: no configured key opens it.")
