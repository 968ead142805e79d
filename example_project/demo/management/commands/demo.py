"""Start the service and the site on this machine; ``--check`` walks every journey instead of waiting for a person."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from example_project.demo.journeys import JOURNEYS
from example_project.demo.report import Report
from example_project.demo.stage import Stage, set_up
from example_project.servers import ServiceError

if TYPE_CHECKING:
    from argparse import ArgumentParser

WELCOME = """
The site        {site}/
                log in as {ada} with the password {ada_password}
                     or as {grace} with the password {grace_password}
Its admin       {site}/admin/
                log in as {staff} with the password {staff_password}
The service     {service}/
                {ada} is {ada_member} there, with the password {ada_member_password}
                {grace} is {grace_member} there, with the password {grace_member_password}

Log in to the site, press a Connect button, and allow it at the service, all of it or a part. Under Applications there
you can let the site's token expire, or end its access: watch what the site does. Nothing is kept. Ctrl-C stops both.
"""


class Command(BaseCommand):
    """Run the example."""

    help = __doc__
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add what can be chosen."""
        parser.add_argument("--check", action="store_true", help="walk every journey over HTTP and report each step")
        parser.add_argument("--site-port", type=int, default=0, help="port of the site (default: a free one)")
        parser.add_argument("--service-port", type=int, default=0, help="port of the service (default: a free one)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Set the stage, then check or wait."""
        for ending in (signal.SIGTERM, signal.SIGINT):  # also SIGINT: a shell's background jobs start with it ignored
            signal.signal(ending, signal.default_int_handler)
        try:
            with set_up(site_port=options["site_port"], service_port=options["service_port"]) as stage:
                if options["check"]:
                    self._check(stage)
                else:
                    self._wait(stage)
        except (OSError, ServiceError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")

    def _check(self, stage: Stage) -> None:
        logging.getLogger("django.request").setLevel(logging.ERROR)  # a refusal is one of the steps, and no news
        started = time.monotonic()
        report = Report(self.stdout._out)  # noqa: SLF001 - the stream itself: steps show as they happen
        for name, walk in JOURNEYS.items():
            with report.journey(name):
                walk(stage, report)
        took = f"{time.monotonic() - started:.1f} s"
        if report.failures:
            failed = "\n  ".join(report.failures)
            raise CommandError(
                f"{len(report.failures)} of the steps failed after {report.passed} had passed, in {took}:\n  {failed}"
            )
        self.stdout.write(f"\nAll {report.passed} steps passed in {took}.")

    def _wait(self, stage: Stage) -> None:
        self.stdout.write(
            WELCOME.format(
                site=stage.site_url,
                service=stage.service.url,
                ada=stage.ada.username,
                ada_password=stage.ada.password,
                ada_member=stage.ada.member.username,
                ada_member_password=stage.ada.member.password,
                grace=stage.grace.username,
                grace_password=stage.grace.password,
                grace_member=stage.grace.member.username,
                grace_member_password=stage.grace.member.password,
                staff=stage.staff[0],
                staff_password=stage.staff[1],
            )
        )
        self.stdout.flush()
        threading.Event().wait()
