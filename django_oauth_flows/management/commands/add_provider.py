"""``manage.py add_provider --issuer https://…``: a provider from what its issuer publishes."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from django_oauth_flows import flows
from django_oauth_flows.exceptions import OAuthFlowsError

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(BaseCommand):
    """Discover, save, and say what to do next."""

    help = (
        "Add a provider from its issuer's metadata (OpenID Connect Discovery, RFC 8414). The client secret is asked for, or "
        "read from the environment: what stands in a command line, others on the machine can read."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the options."""
        parser.add_argument("--issuer", required=True, help="The issuer's URL, exactly as its documentation spells it.")
        parser.add_argument("--slug", required=True, help="Part of the redirect URI; it cannot be changed later.")
        parser.add_argument("--client-id", required=True, help="The client id from the service's console.")
        parser.add_argument("--name", default="", help="What people see (default: the slug).")
        parser.add_argument("--scopes", help="Other scopes than openid, separated by blanks.")
        parser.add_argument("--api-base-url", default="", help="Where the API is; its host may receive tokens.")
        secret = parser.add_mutually_exclusive_group()
        secret.add_argument("--client-secret-env", metavar="NAME", help="Take it from this environment variable.")
        secret.add_argument("--no-client-secret", action="store_true", help="The client has none.")
        parser.add_argument(
            "--internal", action="store_true", help="Allow private addresses, and plain http to this machine."
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Add the provider."""
        try:
            provider = flows.add_discovered_provider(
                options["issuer"],
                slug=options["slug"],
                client_id=options["client_id"],
                client_secret="" if options["no_client_secret"] else _secret(options["client_secret_env"]),
                name=options["name"],
                scopes=None if options["scopes"] is None else options["scopes"].split(),
                api_base_url=options["api_base_url"],
                internal=options["internal"],
            )
        except OAuthFlowsError as error:
            raise CommandError(f"{error.message} {error.hint}") from None
        self.stdout.write(f"{provider} was added.")
        try:
            self.stdout.write(f"Register this redirect URI at the service: {flows.redirect_uri(provider)}")
        except OAuthFlowsError as error:
            self.stdout.write(error.hint)


def _secret(variable: str | None) -> str:
    secret = os.environ.get(variable, "") if variable else getpass.getpass("Client secret: ")
    if not secret:
        raise CommandError("No client secret was given. Pass --no-client-secret for a client that has none.")
    return secret
