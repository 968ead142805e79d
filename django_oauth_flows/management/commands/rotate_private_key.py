"""``manage.py rotate_private_key bank``: another key for client assertions and signed requests, without an outage."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from django_oauth_flows import flows
from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.flows.rotating import LEAD
from django_oauth_flows.models import Provider
from django_oauth_flows.protocol.dialect import SIGNING

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    """Make a provider's next private key, or forget the last one."""

    help = (
        "Make a new private key for a provider: it is published at once beside the present one, and signs when services "
        "have had the time to fetch it. Nobody ever sees it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the options."""
        parser.add_argument("slug", help="The provider.")
        parser.add_argument("--algorithm", default="", choices=SIGNING, help="What the key signs by.")
        parser.add_argument(
            "--lead",
            type=int,
            default=int(LEAD.total_seconds()),
            metavar="SECONDS",
            help="How long the new key is published before it signs.",
        )
        parser.add_argument(
            "--finish", action="store_true", help="Only forget the key from before, once the new one signs."
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Do one of these."""
        provider = Provider.objects.filter(slug=options["slug"]).first()
        if provider is None:
            raise CommandError(f"There is no provider {options['slug']!r}.")
        if options["lead"] < 0:
            raise CommandError("--lead takes seconds, and no fewer than 0.")
        try:
            if options["finish"]:
                self._finish(provider)
            else:
                self._rotate(provider, options)
        except OAuthFlowsError as error:
            raise CommandError(f"{error.message} {error.hint}") from None

    def _finish(self, provider: Provider) -> None:
        if not flows.finish_rotation(provider):
            raise CommandError("There is no key from before, or the new one does not sign yet.")
        self.stdout.write(self.style.SUCCESS(f"{provider.slug}: the key from before is forgotten."))

    def _rotate(self, provider: Provider, options: dict[str, Any]) -> None:
        lead = timedelta(seconds=options["lead"])
        made = flows.rotate_private_key(provider, algorithm=options["algorithm"], lead=lead)
        self.stdout.write(
            self.style.SUCCESS(f"{provider.slug}: key {made.key_id} signs from {made.signs_at.isoformat()} on.")
        )
        self.stdout.write("After that, rotate again at your leisure, or forget the key from before with --finish.")
