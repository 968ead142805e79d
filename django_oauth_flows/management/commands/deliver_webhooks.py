"""``manage.py deliver_webhooks``: every minute or so, from cron, where the site has a webhook."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.flows.pruning import while_any
from django_oauth_flows.flows.webhooks import untold


class Command(BaseCommand):
    """Say how many messages are done with, and how many wait."""

    help = (
        'Send what OAUTH_FLOWS["WEBHOOK_URL"] has not taken yet; what fails is tried again later, for a day and a half.'
    )

    def handle(self, *_: Any, **__: Any) -> None:
        """Deliver, as long as some of it is taken or given up."""
        try:
            ended = while_any(flows.deliver_webhooks)
        except ConfigurationError as error:
            raise CommandError(f"{error.message} {error.hint}") from None
        self.stdout.write(f"webhook messages: {ended} finished, {untold().count()} still to send")
