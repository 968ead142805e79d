#!/usr/bin/env python3
"""Manage the example's site: ``demo`` starts it together with the service, ``demo --check`` walks every journey."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Run a management command with the development settings unless others are named."""
    # The example is a package of this checkout: import it as one, not its files as top-level modules.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.host.settings.development")

    if sys.argv[1:2] == ["demo"] and "EXAMPLE_VAR" not in os.environ:
        # Every demo starts afresh, in a directory of its own: two at once do not meet.
        var = Path(__file__).resolve().parent / "var"
        var.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="demo-", dir=var, ignore_cleanup_errors=True) as fresh:
            os.environ["EXAMPLE_VAR"] = fresh
            _execute()
    else:
        _execute()


def _execute() -> None:
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
