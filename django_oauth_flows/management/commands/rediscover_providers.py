"""``manage.py rediscover_providers``: daily, from cron; changes nothing by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from django_oauth_flows import flows
from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.models import Provider

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    """Say of each discovered provider what its issuer publishes differently now."""

    help = (
        "Ask the issuers of discovered providers for their metadata again, and print what differs from the providers' rows. "
        "No row is changed: edit the provider in the admin if the change is right. Exits with 1 if anything differs or failed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the options."""
        parser.add_argument("--provider", default="", help="The slug of the only provider to look at.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Ask each issuer."""
        providers = Provider.objects.filter(discovered__isnull=False)
        if options["provider"]:
            providers = providers.filter(slug=options["provider"])
            if not providers:
                raise CommandError(f"No discovered provider has the slug {options['provider']}.")
        troubles = sum([not self._is_unchanged(provider) for provider in providers])
        if troubles:
            raise CommandError(f"{troubles} of {len(providers)} providers need a look.")

    def _is_unchanged(self, provider: Provider) -> bool:
        try:
            differences = flows.rediscover(provider)
        except OAuthFlowsError as error:
            self.stderr.write(f"{provider.slug}: {error.message} {error.hint}")
            return False
        for column, (ours, theirs) in differences.items():
            self.stdout.write(f"{provider.slug}: {column} is {ours or 'empty'}; the issuer says {theirs or 'nothing'}")
        if not differences:
            self.stdout.write(f"{provider.slug}: unchanged")
        return not differences
