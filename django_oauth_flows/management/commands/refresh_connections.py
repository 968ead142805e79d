"""``manage.py refresh_connections``: every few minutes, from cron; any number may run at once."""

from __future__ import annotations

import re
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import router

from django_oauth_flows import flows
from django_oauth_flows.flows.fleet import FAILURES, WORKERS, due
from django_oauth_flows.flows.restoring import restored
from django_oauth_flows.management.progress import Progress
from django_oauth_flows.models import Provider

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

    from django_oauth_flows.flows.fleet import Sweep

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
AFTER_RESTORE = """\
Access tokens are served while they are valid; a refresh token is presented only when a call needs it, and no sweep does.
A refresh that succeeds puts its connection back into the schedule. Where the provider has exchanged the token since the
backup it refuses, and the user has to connect again (outcome_unknown).
Is this a clone, whose original goes on? Then each refresh here may end a grant there: pause every provider, in the admin."""

COLUMNS = ("provider", "refreshed", "need their user", "overtaken", "failed")


class Command(BaseCommand):
    """Report per provider what was done; exit with 1 if something could not be refreshed for now."""

    help = (
        "Refresh the tokens that are due, so that no call has to wait for one. Safe beside the site and beside itself: "
        "each token is refreshed once. What fails for now keeps its token and is tried again by a later run."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the options."""
        parser.add_argument("--provider", metavar="SLUG", help="Only the connections at this provider.")
        parser.add_argument(
            "--within",
            metavar="TIME",
            default="0s",
            help="Also what falls due that soon, such as 90s, 30m, 12h or 2d: before a maintenance, say.",
        )
        parser.add_argument(
            "--workers", type=int, default=WORKERS, help=f"Refreshes under way at once (default: {WORKERS})."
        )
        parser.add_argument(
            "--rate", type=float, help="Refreshes per second at most, to spare the providers after an outage."
        )
        parser.add_argument(
            "--after-restore",
            action="store_true",
            help="Refresh nothing: the database was brought back from a backup, or cloned. Leave the refresh tokens "
            "in it to the calls that need them, and put what processes of then were at to rest.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only count what is due, or would be left.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Sweep once."""
        if options["workers"] < 1:
            raise CommandError("--workers must be at least 1.")
        if options["rate"] is not None and not 0 < options["rate"] < inf:
            raise CommandError("--rate must be a number more than 0.")
        within, provider = _duration(options["within"]), self._provider(options["provider"])
        if options["after_restore"]:
            self._after_restore(provider, dry_run=options["dry_run"], quiet=options["verbosity"] == 0)
            return
        total = due(provider=provider, within=within).count()
        if options["dry_run"]:
            self.stdout.write(f"{total} due")
            return
        progress = Progress(self.stderr, "connections", total=total, quiet=options["verbosity"] == 0)
        sweeps = flows.refresh_due(
            provider=provider,
            within=within,
            workers=options["workers"],
            rate=options["rate"],
            advance=progress.advance,
        )
        progress.close()
        self._report(sweeps)
        if any(sweep.failed for sweep in sweeps):
            raise CommandError("Some could not be refreshed for now; they keep their tokens.", returncode=1)

    def _after_restore(self, provider: Provider | None, *, dry_run: bool, quiet: bool) -> None:
        total = restored(provider=provider).count()
        if dry_run:
            self.stdout.write(f"{total} refresh tokens to leave to the calls that need them")
            return
        progress = Progress(self.stderr, "connections", total=total, quiet=quiet)
        left = flows.settle_restored(provider=provider, advance=progress.advance)
        progress.close()
        self.stdout.write(f"{total - left} refresh tokens are left to the calls that need them.\n{AFTER_RESTORE}")
        if left:
            raise CommandError(f"{left} are being refreshed just now: run this again in a minute.", returncode=1)

    def _provider(self, slug: str | None) -> Provider | None:
        if slug is None:
            return None
        provider = Provider.objects.using(router.db_for_write(Provider)).filter(slug=slug).first()
        if provider is None:
            raise CommandError(f"There is no provider {slug!r}.")
        return provider

    def _report(self, sweeps: list[Sweep]) -> None:
        """Print a table, and the causes of failures below it."""
        if not sweeps:
            self.stdout.write("Nothing is due.")
            return
        rows = [COLUMNS, *map(_row, sweeps)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        for row in rows:
            cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
            self.stdout.write("  ".join([row[0].ljust(widths[0]), *cells]))
        for sweep in sweeps:
            for code, count in sweep.failures.most_common():
                self.stderr.write(f"{sweep.provider.slug}: {count} failed: {code}")
            if sweep.is_given_up:
                self.stderr.write(f"{sweep.provider.slug}: left alone after {FAILURES} failures in a row")


def _row(sweep: Sweep) -> tuple[str, ...]:
    counts = (sweep.refreshed, sweep.needs_reauthorization, sweep.overtaken, sweep.failed)
    return (sweep.provider.slug, *map(str, counts))


def _duration(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise CommandError("--within is a number with a unit: 90s, 30m, 12h or 2d.")
    return timedelta(seconds=int(found[1]) * UNITS[found[2]])
