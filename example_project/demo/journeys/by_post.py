"""Answers that the service posts (OAuth 2.0 Form Post Response Mode): neither code nor state is in any address."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from example_project.demo.journeys.leaving import leave
from example_project.demo.journeys.visitor import visitor
from example_project.demo.report import expect
from example_project.demo.stage import BY_POST

if TYPE_CHECKING:
    from example_project.demo.report import Report
    from example_project.demo.stage import Stage


def walk(stage: Stage, report: Report) -> None:
    """Walk the journey as Ada."""
    with visitor(stage, stage.ada) as ada:
        ada.log_in_to_site()
        with report.step("Ada presses Connect: the site asks for an answer by post"):
            answer = ada.press_connect(BY_POST, at="/oauth/")
            expect("response_mode=form_post" in answer.location, "It does not.")
        with report.step("she allows it: the service's page holds the answer in a form, and its address tells nothing"):
            page = ada.log_in_to_service(ada.browser.get(answer.location))
            page = ada.browser.submit(page, page.form(button="Allow"), button="Allow", follow=False)
            form = page.form(action=stage.callback(BY_POST))
            expect(page.status == HTTPStatus.OK and {"code", "state", "iss"} == set(form.fields), f"It has {form}.")
            expect("code=" not in page.url, "The code is in the address.")
        with report.step("the form is sent: the site keeps the answer, and lets the browser come back for it"):
            page = ada.browser.submit(page, form, follow=False)
            back = page.headers.get("refresh", "").partition("url=")[2]
            expect(back and form.fields["code"] not in back, f"It shows {page.text[:300]}")
        with report.step("the browser comes back: her account is connected"):
            page = ada.at_site(back)
            expect(page.url == f"{stage.site_url}/oauth/", f"{page.url} shows {page.text[:300]}")
            ada.expect_own_account(BY_POST)
        leave(report, ada, BY_POST)
