"""A grant that is narrower than what was asked for (RFC 6749 §3.3), and is widened where a page needs more."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from example_project.demo.journeys.leaving import leave
from example_project.demo.journeys.visitor import visitor
from example_project.demo.report import expect
from example_project.demo.stage import OAUTH2

if TYPE_CHECKING:
    from example_project.browser import Page
    from example_project.demo.report import Report
    from example_project.demo.stage import Stage

PHOTOS = {"photos:read", "photos:write"}


def walk(stage: Stage, report: Report) -> None:
    """Walk the journey as Ada."""
    with visitor(stage, stage.ada) as ada:
        ada.log_in_to_site()
        with report.step("Ada presses Connect, takes the ticks from her photos, and allows the rest"):
            page = ada.log_in_to_service(ada.browser.get(ada.press_connect(OAUTH2).location))
            _untick(page, PHOTOS)
            page = ada.browser.submit(page, page.form(button="Allow"), button="Allow")
        with report.step("the site has recorded what was granted, and her notes page works"):
            granted = set(ada.connection(OAUTH2).granted_scopes)
            expect(granted and not granted & PHOTOS, f"It has recorded {granted}.")
            expect("The engine weaves" in ada.at_site("/notes/").text, "Her note is not there.")
        with report.step("her photos page needs more: it asks her first"):
            asked = ada.at_site("/photos/")
            form = asked.form(action=f"/oauth/connect/{OAUTH2}/")
        with report.step("she allows it now: the same connection can do more, and her photos are there"):
            before = ada.connection(OAUTH2)
            page = ada.browser.submit(asked, form)
            page = ada.browser.submit(page, page.form(button="Allow"), button="Allow")
            expect(
                page.status == HTTPStatus.OK and page.url == f"{stage.site_url}/photos/", f"It shows {page.text[:300]}"
            )
            after = ada.connection(OAUTH2)
            expect(after.pk == before.pk, "It is another connection.")
            expect(set(after.granted_scopes) == granted | PHOTOS, f"It has recorded {set(after.granted_scopes)}.")
        leave(report, ada, OAUTH2)


def _untick(page: Page, scopes: set[str]) -> None:
    form = page.form(button="Allow")
    expect(scopes <= set(form.ticked["scope"]), f"The page offers {form.ticked}.")
    form.ticked["scope"] = [scope for scope in form.ticked["scope"] if scope not in scopes]
