"""Run the service in a process of its own: ``python -m example_project.service``.

It migrates and seeds a fresh database, serves on 127.0.0.1, and says on standard output, as one line of JSON, where.
After that it answers one command a line from standard input, see ``control``, and ends when that is closed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from typing import Any

import django


def main() -> None:
    """Start, serve until standard input ends, stop."""
    options = _options()
    os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.service.settings"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the starting process ends us tidily
    django.setup()

    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application

    from example_project.service import seed
    from example_project.serving import serve

    call_command("migrate", verbosity=0)
    members = seed.seed()
    tls = (options.certificate, options.key) if options.certificate else None
    try:
        with serve(StaticFilesHandler(get_wsgi_application()), port=options.port, tls=tls) as url:
            _say({"url": url, "members": members})
            for line in sys.stdin:
                _say(_answer(json.loads(line)))
    except OSError as error:
        sys.exit(str(error))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m example_project.service", description="Run the example's service.")
    parser.add_argument("--port", type=int, default=0, help="0, the default: any free one")
    parser.add_argument("--certificate", default="", help="PEM file; serve https")
    parser.add_argument("--key", default="", help="PEM file of the certificate's private key")
    return parser.parse_args()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    from example_project.service.control import COMMANDS

    try:
        return {"answer": COMMANDS[request["command"]](**request["arguments"])}
    except Exception as error:  # noqa: BLE001 - the other process raises it again
        return {"error": f"{type(error).__name__}: {error}"}


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
