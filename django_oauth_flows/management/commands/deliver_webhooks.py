"""``manage.py deliver_webhooks``: every minute or so, from cron, where the site has a webhook."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from django_oauth_flows.management import pruning


class Command(BaseCommand):
    """Say how many messages are done with, and how many wait."""

    help = (
        'Send what OAUTH_FLOWS["WEBHOOK_URL"] has not taken yet; what fails is tried again later, for a day and a half.'
    )

    def handle(self, *_: Any, **__: Any) -> None:
        """Deliver."""
        ended = pruning.deliver(batch_size=100)
        self.stdout.write(f"webhook messages: {ended} finished, {pruning.untold().count()} still to send")
