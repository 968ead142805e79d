"""``manage.py revoke_connections``: end every connection at one provider, after an incident there or here."""

from __future__ import annotations

from collections import Counter
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.db import router

from django_oauth_flows import flows
from django_oauth_flows.management.progress import Progress
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider, Revocation

if TYPE_CHECKING:
    from django.core.management.base import CommandParser
    from django.db.models import Model, QuerySet

EXPLANATION = (
    "End every connection at a provider: the provider is paused at once, so that no token of it is served any more, then "
    "each connection is disconnected here and revoked there. Stop it and run it again whenever you like. It cannot be "
    "undone: the users have to connect again, once you have resumed the provider in the admin."
)


class Command(BaseCommand):
    """Report the outcomes; exit with 1 while something is still to be revoked at the provider."""

    help = EXPLANATION

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the options."""
        parser.add_argument("--provider", metavar="SLUG", required=True, help="Whose connections to end.")
        parser.add_argument(
            "--rate",
            type=float,
            default=10.0,
            help="Connections per second at most, to spare the provider (default: 10).",
        )
        parser.add_argument("--dry-run", action="store_true", help="Only count what would be ended; pause nothing.")
        parser.add_argument("--no-input", action="store_false", dest="interactive", help="Do not ask first.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Pause, disconnect, revoke."""
        if not options["rate"] > 0:
            raise CommandError("--rate must be more than 0.")
        provider = _rows(Provider).filter(slug=options["provider"]).first()
        if provider is None:
            raise CommandError(f"There is no provider {options['provider']!r}.")
        live = _live(provider).count()
        waiting = _rows(AuthorizationRequest).filter(provider=provider, outcome="parked").count()
        said = (
            f"{live} connections to end, {waiting} grants that wait for a yes, {_pending(provider).count()} revocations"
        )
        if options["dry_run"]:
            self.stdout.write(said)
            return
        if options["interactive"] and not self._agreed(provider, said):
            raise CommandError("Nothing was changed. Without a terminal, confirm with --no-input.")
        Provider.objects.filter(pk=provider.pk).update(paused=True)
        self.stdout.write(f"{provider} is paused: none of its tokens is served any more.")
        progress = Progress(self.stderr, "connections", total=live, quiet=options["verbosity"] == 0)
        outcomes = _end(provider, pause=1 / options["rate"], progress=progress)
        progress.close()
        self._report(provider, outcomes)

    def _agreed(self, provider: Provider, said: str) -> bool:
        self.stdout.write(f"{said}.\n{EXPLANATION}")
        try:
            return input(f"Type {provider.slug} to go on: ") == provider.slug
        except EOFError:  # nobody is there to ask
            return False

    def _report(self, provider: Provider, outcomes: Counter[str]) -> None:
        for outcome, count in outcomes.most_common():
            self.stdout.write(f"{Revocation.Outcome(outcome).label}: {count}")
        if left := _pending(provider).count():
            raise CommandError(
                f"{left} could not be revoked at the provider yet: run this again, or prune_oauth_flows goes on with it.",
                returncode=1,
            )
        self.stdout.write(self.style.SUCCESS("Nothing is left."))


def _end(provider: Provider, *, pause: float, progress: Progress) -> Counter[str]:
    """End what is live, what waits for a yes, and what earlier runs have left; return the outcomes of the first."""
    outcomes: Counter[str] = Counter()
    while flows.drop_parked_of(provider):
        pass
    while batch := list(_live(provider)[:100]):
        for connection in batch:
            began = monotonic()
            outcomes[flows.revoke(connection)] += 1
            progress.advance(1)
            sleep(max(0.0, began + pause - monotonic()))
    while flows.work_off_revocations(provider=provider):
        pass
    return outcomes


def _live(provider: Provider) -> QuerySet[Connection]:
    rows = _rows(Connection).filter(provider=provider).exclude(status=Connection.Status.REVOKED)
    return rows.select_related("provider").order_by("pk")


def _pending(provider: Provider) -> QuerySet[Revocation]:
    return _rows(Revocation).filter(provider=provider, outcome=Revocation.Outcome.PENDING)


def _rows(model: type[Model]) -> QuerySet[Any]:
    """Read where it is written: a replica may not have heard of the latest."""
    return model._default_manager.using(router.db_for_write(model)).all()
