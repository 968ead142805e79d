"""``manage.py export_api_schema``: the REST API's OpenAPI 3.1 document, to make clients of. Needs the extra ``[openapi]``."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError
from django.urls import NoReverseMatch

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    """Print the schema, or write it to a file."""

    help = "Prints the REST API's OpenAPI 3.1 schema as JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--file", type=Path, help="write it there instead of printing it")

    def handle(self, *_: Any, file: Path | None, **options: Any) -> None:
        """Make it, with the addresses of this site."""
        try:
            openapi = import_module("django_oauth_flows.api.openapi")  # by name: the API is an island
        except ImportError:
            raise CommandError("The schema needs the extra: pip install django-oauth-flows[openapi]") from None
        try:
            text = json.dumps(openapi.document(), indent=2, sort_keys=True)
        except NoReverseMatch:
            line = 'path("api/oauth/", include("django_oauth_flows.api.urls"))'
            raise CommandError(f"The site does not include the API. Add to its URLs: {line}") from None
        if file is None:
            self.stdout.write(text)
        else:
            file.write_text(text + "\n", encoding="utf-8")
