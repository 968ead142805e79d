"""Client credentials (RFC 6749 §4.4): no user, one token for every caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_oauth_flows.models import Connection
from example_project.demo.journeys.visitor import visitor
from example_project.demo.report import expect
from example_project.demo.stage import TOTALS

if TYPE_CHECKING:
    from example_project.demo.report import Report
    from example_project.demo.stage import Stage


def walk(stage: Stage, report: Report) -> None:
    """Walk the journey with Ada as the reader of a page that needs no connection of hers."""
    with visitor(stage, stage.ada) as ada:
        ada.log_in_to_site()
        with report.step("the site gets a token of its own, and a page shows the service's totals"):
            page = ada.at_site("/totals/")
            expect("notes and" in page.text, f"The totals are not there: {page.text[:300]}")
            first = _held().token.open("access_token")
        with report.step("the next call uses the same token: it was fetched once"):
            ada.at_site("/totals/")
            expect(_held().token.open("access_token") == first, "It was fetched again.")
        with report.step("it belongs to no user"):
            expect(_held().user is None and not _held().owner_id, "It does.")


def _held() -> Connection:
    return Connection.objects.select_related("provider", "token").get(provider__slug=TOTALS)
