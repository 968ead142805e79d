"""``manage.py export_connection_events``: what the history knows of one person, for them to have."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from django_oauth_flows.management.exporting import COLUMNS, history_of

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    """Print the events of one user; they hold ids and codes, no secrets."""

    help = "Print the history of a user's connections, and of what the user did to others', as JSON or CSV."

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the options."""
        parser.add_argument("--user", required=True, help="What the user logs in with.")
        parser.add_argument("--format", choices=("json", "csv"), default="json", help="JSON (default) or CSV.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Export."""
        users: Any = get_user_model()
        try:
            user = users._default_manager.get_by_natural_key(options["user"])
        except users.DoesNotExist:
            raise CommandError(f"There is no user {options['user']!r}.") from None
        if options["format"] == "json":
            self.stdout.write(json.dumps(list(history_of(user)), indent=2))
            return
        table = csv.DictWriter(self.stdout, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(history_of(user))
