"""OAuth 1.0a (RFC 5849): seven steps from the button to the signed call, and the way out."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from example_project.demo.journeys import direct
from example_project.demo.journeys.visitor import Visitor, visitor
from example_project.demo.report import expect
from example_project.demo.stage import OAUTH1
from example_project.drawing import sunrise

if TYPE_CHECKING:
    from example_project.demo.report import Report
    from example_project.demo.stage import Stage


def walk(stage: Stage, report: Report) -> None:
    """Walk the journey as Ada."""
    with visitor(stage, stage.ada) as ada:
        with report.step("Ada logs in to the site"):
            ada.log_in_to_site()
        _refuse(stage, report, ada)
        _connect(stage, report, ada)
        _use(report, ada)
        _leave(stage, report, ada)


def _refuse(stage: Stage, report: Report, ada: Visitor) -> None:
    with report.step("she presses Connect, but refuses at the service: the site says so and stores nothing"):
        page = ada.log_in_to_service(ada.browser.get(ada.press_connect(OAUTH1).location))
        page = ada.browser.submit(page, page.form(button="Do not allow"), button="Do not allow")
        expect(page.url.startswith(stage.site_url), "She was not sent back to the site.")
        expect("access_denied" in page.text, f"The site answered {page.status}: {page.text[:300]}")
        expect(stage.service.live_tokens(ada.person.member.username)["token_credentials"] == 0, "A token was issued.")


def _connect(stage: Stage, report: Report, ada: Visitor) -> None:
    with report.step("step 1 of 7: she presses Connect; the site asks the service for temporary credentials"):
        answer = ada.press_connect(OAUTH1)
        request_token = _query(answer.location)["oauth_token"]
        issued = stage.service.temporary_credentials(request_token)
        expect(issued and issued["consumer"] == stage.consumer.key, "The service issued none to this site.")
    with report.step("step 2 of 7: the service issues them, and confirms the callback"):
        expect(issued["callback"].startswith(stage.callback(OAUTH1) + "?state="), "It noted another callback.")
    with report.step("step 3 of 7: the site redirects her browser to the service, with the request token alone"):
        expect(answer.location.startswith(stage.service.oauth1["authorization_endpoint"]), "It goes elsewhere.")
        expect(set(_query(answer.location)) == {"oauth_token"}, "The URL holds more than oauth_token.")
    with report.step("step 4 of 7: she sees who asks, and allows it"):
        page = ada.browser.get(answer.location)
        expect("Allow Desk?" in page.text, f"The service shows something else: {page.text[:300]}")
        back = ada.browser.submit(page, page.form(button="Allow"), button="Allow", follow=False)
    with report.step("step 5 of 7: the service sends her back, with the same request token and a verifier"):
        query = _query(back.location)
        expect(back.location.startswith(stage.callback(OAUTH1) + "?"), "She was sent elsewhere.")
        expect(
            query.get("oauth_token") == request_token and query.get("oauth_verifier"), "Token or verifier is missing."
        )
    with report.step("step 6 of 7: the site exchanges both for permanent credentials, and shows a clean URL"):
        page = ada.browser.get(back.location)
        expect(page.status == HTTPStatus.OK and "oauth_" not in page.url, f"{page.status}: {page.text[:300]}")
        expect(stage.service.temporary_credentials(request_token) is None, "The temporary credentials still exist.")
        expect(stage.service.live_tokens(ada.person.member.username)["token_credentials"] == 1, "No token was issued.")
        expect(ada.connection(OAUTH1).subject == ada.person.member.account_id, "It is another account.")
    with report.step("step 7 of 7: the site calls the API with a signed request, and shows her notes"):
        expect("The engine weaves" in ada.at_site("/classic/notes/").text, "Her note is not there.")
    with report.step("the same callback URL, opened once more, ends in a sensible page"):
        page = ada.browser.get(back.location)
        expect(page.status < HTTPStatus.INTERNAL_SERVER_ERROR, f"The site answered {page.status}.")


def _use(report: Report, ada: Visitor) -> None:
    with report.step("a signed POST adds a note"):
        ada.add_note("/classic/notes/", "Classic, but not old & rusty: ä+ö")
    with report.step("a photo goes up and comes back, byte for byte"):
        ada.add_photo("/classic/photos/", "classic.png", sunrise(80, 50))
    with report.step("the connections page names her account"):
        expect(ada.person.member.name in ada.at_site("/oauth/").text, "It does not.")


def _leave(stage: Stage, report: Report, ada: Visitor) -> None:
    connection = ada.connection(OAUTH1)
    copy = direct.copy_of(stage, connection)
    with report.step("somebody with a copy of the token could use it now"):
        expect(
            direct.status(stage, copy) == HTTPStatus.OK,
            "The copy does not work, so the next steps would prove nothing.",
        )
    with report.step("she disconnects"):
        ada.disconnect(connection)
        connection.refresh_from_db()
        expect(connection.status == "revoked", f"The connection is {connection.status}.")
    with report.step("the copy no longer works at the service: the token is revoked there as well"):
        expect(direct.status(stage, copy) == HTTPStatus.UNAUTHORIZED, "The service still accepts it.")
    with report.step("her notes page asks her to connect again"):
        page = ada.browser.get(f"{stage.site_url}/classic/notes/")
        expect(page.form(action=f"/oauth/connect/{OAUTH1}/"), "It does not.")


def _query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
