"""The device authorization grant (RFC 8628): a code on the site's page, entered at the service on another device."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from django_oauth_flows.models import Connection
from example_project.demo.journeys.leaving import leave
from example_project.demo.journeys.visitor import Visitor, visitor
from example_project.demo.report import expect
from example_project.demo.stage import BY_CODE

if TYPE_CHECKING:
    from example_project.browser import Page
    from example_project.demo.report import Report
    from example_project.demo.stage import Stage

MOST_LOOKS = 5


def walk(stage: Stage, report: Report) -> None:
    """Walk the journey as Ada, at her desk and with a phone."""
    with visitor(stage, stage.ada) as ada, visitor(stage, stage.ada) as phone:
        ada.log_in_to_site()
        with report.step("Ada presses Connect: the site shows a code and where to enter it"):
            page = ada.browser.get(ada.press_connect(BY_CODE, at="/oauth/").location)
            (code,) = page.codes
            address = next(link for link in page.links.values() if link.startswith(stage.service.url))
        with report.step("the page looks again by itself: the service says that the code is still waited for"):
            page = _look_again(ada, page)
            expect(page.codes == [code] and not _connections(ada), f"It shows {page.text[:300]}")
        with report.step("on her phone she opens the address, enters the code, and allows it"):
            _enter(phone, address, code)
        with report.step("the page at her desk looks again: her account is connected"):
            _look_until_connected(ada, page)
            ada.expect_own_account(BY_CODE)
        leave(report, ada, BY_CODE)


def _enter(phone: Visitor, address: str, code: str) -> None:
    page = phone.log_in_to_service(phone.browser.get(address))
    page = phone.browser.submit(page, page.form(button="Go on"), {"user_code": code}, button="Go on")
    expect("Allow Desk's screen?" in page.text and "Read your notes" in page.text, f"It shows {page.text[:300]}")
    page = phone.browser.submit(page, page.form(button="Allow"), button="Allow")
    expect("Go back to the device" in page.text, f"It shows {page.text[:300]}")


def _look_until_connected(ada: Visitor, page: Page) -> None:
    connected = f"{ada.stage.site_url}/oauth/"
    for _ in range(MOST_LOOKS):
        page = _look_again(ada, page)
        if page.url == connected:
            return
    raise AssertionError(f"{page.url} shows {page.text[:300]}")


def _look_again(ada: Visitor, page: Page) -> Page:
    """Do what the page's ``Refresh`` header tells a browser to do."""
    told = re.fullmatch(r"(\d+); url=(/\S+)", page.headers.get("refresh", ""))
    if told is None:
        raise AssertionError(f"The page does not look again by itself: {page.text[:300]}")
    time.sleep(int(told[1]))
    return ada.at_site(told[2])


def _connections(ada: Visitor) -> int:
    return Connection.objects.filter(user__username=ada.person.username, provider__slug=BY_CODE).count()
