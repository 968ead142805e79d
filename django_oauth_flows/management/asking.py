"""Where a command gets a secret from: a file, the environment, or whoever sits at the terminal; never its arguments."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping


def client_secret(options: Mapping[str, Any]) -> Secret | None:
    """Return the client secret from where the options say; None if the client has none."""
    if options["no_client_secret"]:
        return None
    if name := options["client_secret_env"]:
        return _given(os.environ.get(name, ""), f"The environment variable {name} is empty.")
    if path := options["client_secret_file"]:
        return _given(_read(path), "The file with the client secret is empty.")
    if not sys.stdin.isatty():
        raise CommandError(
            "Without a terminal, say where the client secret is: --client-secret-file, --client-secret-env, or "
            "--no-client-secret."
        )
    return _given(getpass.getpass("Client secret: "), "Nothing was entered; --no-client-secret if there is none.")


def initial_access_token(options: Mapping[str, Any]) -> Secret | None:
    """Return the token that a service demands for a registration, from where the options say; None if it demands none."""
    if name := options["initial_access_token_env"]:
        return _given(os.environ.get(name, ""), f"The environment variable {name} is empty.")
    if path := options["initial_access_token_file"]:
        return _given(_read(path, "initial access token"), "The file with the initial access token is empty.")
    return None


def _read(path: str, what: str = "client secret") -> str:
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"The file with the {what} cannot be read: {type(error).__name__}.") from None


def _given(secret: str, otherwise: str) -> Secret:
    if not secret.strip():
        raise CommandError(otherwise)
    return Secret(secret.strip())
