"""``manage.py add_provider github --client-id …``: a provider's row from the catalogue, and what has changed there since.

``add_provider --issuer https://…`` makes one from what an issuer publishes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import router

from django_oauth_flows import catalogue, flows
from django_oauth_flows.exceptions import ConfigurationError, OAuthFlowsError
from django_oauth_flows.management.asking import client_secret, initial_access_token
from django_oauth_flows.models import Provider
from django_oauth_flows.models.provider_preset import describe, known_preset
from django_oauth_flows.models.provider_rules import open_parameters
from django_oauth_flows.protocol.client_auth import WITH_SECRET

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django.core.management.base import CommandParser

    from django_oauth_flows.catalogue import Preset


class Command(BaseCommand):
    """Add one provider, or look around in the catalogue."""

    help = (
        "Add a provider from the catalogue, or from its issuer's metadata. The client secret is asked for, or read from a file or the environment; it is "
        "no argument, because arguments can be seen by others and stay in the shell's history."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the options."""
        parser.add_argument("preset", nargs="?", help="The catalogue's entry, such as github; with --diff, a provider.")
        parser.add_argument(
            "--issuer", help="Without an entry: the issuer's URL, exactly as its documentation spells it."
        )
        parser.add_argument(
            "--api-base-url", default="", help="With --issuer: where the API is; its host may receive tokens."
        )
        parser.add_argument(
            "--internal",
            action="store_true",
            help="With --issuer: allow private addresses, and plain http to this machine.",
        )
        parser.add_argument(
            "--dpop",
            action="store_true",
            help="With --issuer: bind tokens to keys (RFC 9449); its API has to know them.",
        )
        parser.add_argument("--client-id", help="What the service calls its client: client id, app id, consumer key.")
        secret = parser.add_mutually_exclusive_group()
        secret.add_argument("--client-secret-file", metavar="PATH", help="Read the client secret there; - is stdin.")
        secret.add_argument("--client-secret-env", metavar="NAME", help="Take it from this environment variable.")
        secret.add_argument("--no-client-secret", action="store_true", help="The client has none.")
        parser.add_argument(
            "--register", action="store_true", help="With --issuer: let the issuer make the client (RFC 7591)."
        )
        parser.add_argument("--client-name", default="", help="With --register: what the service is to call this site.")
        token = parser.add_mutually_exclusive_group()
        token.add_argument(
            "--initial-access-token-file",
            metavar="PATH",
            help="With --register, if the issuer demands one: read it there; - is stdin.",
        )
        token.add_argument("--initial-access-token-env", metavar="NAME", help="Take it from this environment variable.")
        parser.add_argument("--slug", default="", help="Another slug than the entry's; it cannot be changed later.")
        parser.add_argument("--name", default="", help="Another name than the entry's.")
        parser.add_argument("--scopes", help="Other scopes than the entry's, separated by blanks.")
        parser.add_argument(
            "--parameter",
            metavar="NAME=VALUE",
            action="append",
            default=[],
            dest="parameters",
            help="Fill a placeholder of the service's addresses, such as host=git.example.com. What you leave open, users "
            "fill in when they connect.",
        )
        parser.add_argument("--search", metavar="WORDS", help="Only list the entries that contain these words.")
        parser.add_argument("--list", action="store_true", help="Only list every entry.")
        parser.add_argument(
            "--diff",
            action="store_true",
            help="Only show where providers and their entries differ now; change nothing.",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Do one of these."""
        if options["list"] or options["search"] is not None:
            self._show(catalogue.presets() if options["list"] else catalogue.search(options["search"], limit=100))
        elif options["diff"]:
            self._diff(options["preset"])
        elif options["register"]:
            self._register(options)
        elif not (options["preset"] or options["issuer"]) or not options["client_id"]:
            raise CommandError("Name an entry and give --client-id, or look around with --search or --list.")
        elif options["issuer"] and (options["preset"] or not options["slug"]):
            raise CommandError("With --issuer, give --slug and no entry.")
        elif options["issuer"]:
            self._discover(options)
        else:
            self._add(options)

    def _show(self, presets: Iterable[Preset]) -> None:
        for preset in presets:
            marks = [preset.status, f"{preset.confidence} confidence"]
            marks += ["confirmed"] if preset.confirmed_by else []
            self.stdout.write(f"{preset.slug:40} {preset.name} ({', '.join(marks)})")

    def _add(self, options: dict[str, Any]) -> None:
        try:
            preset = known_preset(options["preset"])
            provider = Provider.from_preset(
                preset.slug,
                client_id=options["client_id"],
                slug=options["slug"],
                parameters=dict(map(_pair, options["parameters"])),
            )
        except ConfigurationError as error:
            raise CommandError(f"{error.message} {error.hint}") from None
        if options["name"]:
            provider.name = options["name"]
        if options["scopes"] is not None:
            provider.scopes = tuple(options["scopes"].split())
        if preset.is_discovered:
            named = {
                "issuer": provider.issuer,
                "slug": provider.slug,
                "name": provider.name,
                "api_base_url": provider.api_base_url,
            }
            self._discover({**options, **named, "scopes": " ".join(provider.scopes)})
            return
        self._validate(preset, provider)
        if secret := client_secret(options):
            provider.seal("client_secret", secret)
        elif provider.protocol == Provider.Protocol.OAUTH2 and provider.token_endpoint_auth_method in WITH_SECRET:
            provider.token_endpoint_auth_method = Provider.AuthMethod.NONE
        provider.save(using=router.db_for_write(Provider))
        self._tell(preset, provider)

    def _discover(self, options: Mapping[str, Any]) -> None:
        """Let the issuer say what an entry would."""
        secret = client_secret(options)
        try:
            provider = flows.add_discovered_provider(
                options["issuer"],
                slug=options["slug"],
                client_id=options["client_id"],
                client_secret=secret.reveal() if secret else "",
                name=options["name"],
                scopes=None if options["scopes"] is None else options["scopes"].split(),
                api_base_url=options["api_base_url"],
                internal=options["internal"],
                dpop=options["dpop"],
            )
        except OAuthFlowsError as error:
            raise CommandError(f"{error.message} {error.hint}") from None
        self._tell_added(provider)

    def _register(self, options: Mapping[str, Any]) -> None:
        """Let the issuer say what an entry would, and make the client."""
        if not options["issuer"] or not options["slug"] or options["preset"] or options["client_id"]:
            raise CommandError("With --register, give --issuer and --slug, no entry and no client.")
        try:
            provider = flows.register_provider(
                options["issuer"],
                slug=options["slug"],
                name=options["name"],
                scopes=None if options["scopes"] is None else options["scopes"].split(),
                api_base_url=options["api_base_url"],
                internal=options["internal"],
                dpop=options["dpop"],
                client_name=options["client_name"],
                initial_access_token=initial_access_token(options),
            )
        except OAuthFlowsError as error:
            raise CommandError(f"{error.message} {error.hint}") from None
        self._tell_added(provider)
        self.stdout.write(f"Registered there as {provider.client_id}.")

    def _validate(self, preset: Preset, provider: Provider) -> None:
        """Say everything that is wrong at once, with the parameters that staff have to give."""
        missing = [name for name in preset.staff_parameters() if name not in provider.parameters]
        if missing:
            needed = "\n".join(f"  --parameter {name}=…  {describe(preset, name)}" for name in missing)
            raise CommandError(f"{preset.name} needs to know whose server it is:\n{needed}")
        try:
            provider.full_clean()
        except ValidationError as error:
            lines = [f"  {name}: {' '.join(messages)}" for name, messages in error.message_dict.items()]
            raise CommandError("The provider cannot be added:\n" + "\n".join(lines)) from None

    def _tell(self, preset: Preset, provider: Provider) -> None:
        self._tell_added(provider)
        if preset.console_url:
            self.stdout.write(f"Clients are registered at {preset.console_url}")
        for name in open_parameters(provider):
            self.stdout.write(f"Users fill in {name}: {describe(preset, name)}")
        for note in preset.notes:
            self.stdout.write(f"Note: {note}")

    def _tell_added(self, provider: Provider) -> None:
        self.stdout.write(self.style.SUCCESS(f"Added {provider} ({provider.slug})."))
        try:
            self.stdout.write(f"Redirect URI to register there: {flows.redirect_uri(provider)}")
        except ConfigurationError as error:
            self.stdout.write(f"Redirect URI: {error.message} {error.hint}")

    def _diff(self, slug: str | None) -> None:
        providers = Provider.objects.exclude(preset="").order_by("slug")
        if slug is not None:
            providers = providers.filter(slug=slug)
            if not providers:
                raise CommandError(f"There is no provider {slug!r} that was made from the catalogue.")
        for provider in providers:
            try:
                found = provider.preset_changes()
            except ConfigurationError as error:
                self.stderr.write(f"{provider.slug}: {error.message}")
                continue
            self.stdout.write(f"{provider.slug}: {len(found)} differences to {provider.preset} as it is now")
            for change in found:
                self.stdout.write(f"  {change.column}\n    - {_said(change.present)}\n    + {_said(change.proposed)}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--parameter {text}: write NAME=VALUE.")
    return name.strip(), value.strip()


def _said(value: Any) -> str:
    """Write a column's value in a line."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
