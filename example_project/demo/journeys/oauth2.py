"""OAuth 2 (RFC 6749, 7636, 9207): the code flow, Bearer calls, refresh with rotation, and the way out."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from django.utils import timezone

from django_oauth_flows.models import Token
from example_project.demo.journeys import direct
from example_project.demo.journeys.visitor import Visitor, visitor
from example_project.demo.report import expect
from example_project.demo.stage import OAUTH2
from example_project.drawing import sunrise

if TYPE_CHECKING:
    from django_oauth_flows.models import Connection
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
        _refresh(stage, report, ada)
        _refresh_after_401(stage, report, ada)
        _leave(stage, report, ada)


def _refuse(stage: Stage, report: Report, ada: Visitor) -> None:
    with report.step("she presses Connect, but refuses at the service: the site says so and stores nothing"):
        page = ada.log_in_to_service(ada.browser.get(ada.press_connect(OAUTH2).location))
        page = ada.browser.submit(page, page.form(button="Do not allow"), button="Do not allow")
        expect(page.url.startswith(stage.site_url), "She was not sent back to the site.")
        expect("access_denied" in page.text, f"The site answered {page.status}: {page.text[:300]}")
        expect(stage.service.live_tokens(ada.person.member.username)["access_tokens"] == 0, "A token was issued.")


def _connect(stage: Stage, report: Report, ada: Visitor) -> None:
    with report.step("she opens her notes page: it needs a connection, and asks her for one"):
        asked = ada.at_site("/notes/")
        form = asked.form(action=f"/oauth/connect/{OAUTH2}/")
    with report.step("step 1 of 5: she presses Connect; the site redirects her with state and a PKCE challenge"):
        answer = ada.browser.submit(asked, form, follow=False)
        query = _query(answer.location)
        expect(answer.location.startswith(stage.service.oauth2["authorization_endpoint"]), "It goes elsewhere.")
        expect(query["response_type"] == "code" and query["code_challenge_method"] == "S256", "No code flow with S256.")
        expect(query["redirect_uri"] == stage.callback(OAUTH2), "It names another redirect URI.")
        state = query["state"]
    with report.step("step 2 of 5: she sees who asks for what, and allows it"):
        page = ada.browser.get(answer.location)
        expect("Allow Desk?" in page.text and "Read your notes" in page.text, f"Something else: {page.text[:300]}")
        back = ada.browser.submit(page, page.form(button="Allow"), button="Allow", follow=False)
    with report.step("step 3 of 5: the service sends her back with a code, the same state, and its name (iss)"):
        query = _query(back.location)
        expect(back.location.startswith(stage.callback(OAUTH2) + "?"), "She was sent elsewhere.")
        expect(query.get("code") and query.get("state") == state, "Code or state is missing.")
        expect(query.get("iss") == stage.service.url, "It does not say who it is.")
    with report.step(
        "step 4 of 5: the site exchanges code and PKCE verifier for tokens, and goes on to her notes page"
    ):
        page = ada.browser.get(back.location)
        expect(page.status == HTTPStatus.OK and page.url == f"{stage.site_url}/notes/", f"It shows {page.text[:300]}")
        connection = ada.connection(OAUTH2)
        expect(connection.subject == ada.person.member.account_id, "It is another account.")
        expect("notes:write" in connection.granted_scopes, "The granted scopes are not recorded.")
    with report.step("step 5 of 5: the site calls the API with the Bearer token, and shows her notes"):
        expect("The engine weaves" in page.text, "Her note is not there.")
    with report.step("the same callback URL, opened once more, ends in a sensible page"):
        page = ada.browser.get(back.location)
        expect(page.status < HTTPStatus.INTERNAL_SERVER_ERROR, f"The site answered {page.status}.")
        expect(ada.connection(OAUTH2).pk == connection.pk, "There is a second connection.")


def _use(report: Report, ada: Visitor) -> None:
    with report.step("a POST adds a note"):
        ada.add_note("/notes/", "Written at the desk & kept at Notebook: ä+ö")
    with report.step("a photo goes up and comes back, byte for byte"):
        ada.add_photo("/photos/", "desk.png", sunrise(80, 50))
    with report.step("the connections page names her account; the REST API lists it, without a token"):
        expect(ada.person.member.name in ada.at_site("/oauth/").text, "The page does not name her account.")
        listed = ada.browser.bytes_of(f"{ada.stage.site_url}/api/oauth/v1/connections/").decode()
        connection = ada.connection(OAUTH2)
        expect(str(connection.pk) in listed, "The API does not list it.")
        expect(connection.token.open("access_token").reveal() not in listed, "The API shows the token.")


def _refresh(stage: Stage, report: Report, ada: Visitor) -> None:
    before = ada.connection(OAUTH2)
    with report.step("the access token expires: her notes page still works"):
        past = timezone.now() - timedelta(minutes=1)
        Token.objects.filter(connection=before).update(expires_at=past, next_refresh_at=past)
        expect("The engine weaves" in ada.at_site("/notes/").text, "It does not.")
    with report.step("it was refreshed: there is a new access token, and the refresh token was rotated"):
        after = ada.connection(OAUTH2)
        _expect_rotated(before, after)
        expect(after.token.expires_at > timezone.now(), "The new token has expired, too.")
        expect(after.status == "active", f"The connection is {after.status}.")
    with report.step("the old access token no longer works at the service, the new one does"):
        expect(
            direct.status(stage, direct.copy_of(stage, before)) == HTTPStatus.UNAUTHORIZED, "The old one still works."
        )
        expect(direct.status(stage, direct.copy_of(stage, after)) == HTTPStatus.OK, "The new one does not work.")


def _refresh_after_401(stage: Stage, report: Report, ada: Visitor) -> None:
    before = ada.connection(OAUTH2)
    with report.step("the service ends the access token early: one 401, one refresh, one replay, and the page works"):
        ada.let_token_expire_at_service(before)
        expect(
            direct.status(stage, direct.copy_of(stage, before)) == HTTPStatus.UNAUTHORIZED,
            "The service still accepts it.",
        )
        expect("The engine weaves" in ada.at_site("/notes/").text, "It does not.")
        _expect_rotated(before, ada.connection(OAUTH2))


def _leave(stage: Stage, report: Report, ada: Visitor) -> None:
    connection = ada.connection(OAUTH2)
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
    with report.step("the copy no longer works at the service: access and refresh token are revoked there as well"):
        expect(direct.status(stage, copy) == HTTPStatus.UNAUTHORIZED, "The service still accepts it.")
        left = stage.service.live_tokens(ada.person.member.username)
        expect(left["access_tokens"] == left["refresh_tokens"] == 0, f"The service still knows {left}.")
    with report.step("her notes page asks her to connect again"):
        page = ada.browser.get(f"{stage.site_url}/notes/")
        expect(page.form(action=f"/oauth/connect/{OAUTH2}/"), "It does not.")


def _expect_rotated(before: Connection, after: Connection) -> None:
    for name in ("access_token", "refresh_token"):
        expect(
            before.token.open(name) != after.token.open(name), f"The {name.replace('_', ' ')} is the same as before."
        )


def _query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
