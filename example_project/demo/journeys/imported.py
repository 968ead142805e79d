"""Tokens from elsewhere: made by hand on a developer page, imported by a script, used like any other connection."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model

from django_oauth_flows import flows
from django_oauth_flows.models import Provider
from example_project.demo.journeys.leaving import leave
from example_project.demo.journeys.visitor import Visitor, visitor
from example_project.demo.report import expect
from example_project.demo.stage import OAUTH1, OAUTH2

if TYPE_CHECKING:
    from django_oauth_flows.models import Connection
    from example_project.demo.report import Report
    from example_project.demo.stage import Stage


def walk_oauth1(stage: Stage, report: Report) -> None:
    """Walk the journey with a token and its secret."""
    _walk(stage, report, slug=OAUTH1, kind="OAuth 1.0a", notes="/classic/notes/", second="token_secret")


def walk_oauth2(stage: Stage, report: Report) -> None:
    """Walk the journey with an access token and its refresh token."""
    _walk(stage, report, slug=OAUTH2, kind="OAuth 2", notes="/notes/", second="refresh_token")


def _walk(stage: Stage, report: Report, *, slug: str, kind: str, notes: str, second: str) -> None:
    with visitor(stage, stage.grace) as grace:
        with report.step("Grace makes herself a token pair on the service's developer page"):
            token, secret = _make_tokens(stage, grace, kind)
        with report.step("a script imports the pair: nothing is sent to the service"):
            owner = get_user_model().objects.get(username=grace.person.username)
            connection = flows.import_connection(
                Provider.objects.get(slug=slug), owner, access_token=token, label="made by hand", **{second: secret}
            )
        with report.step("the script calls the API with it"):
            _call(grace, connection)
        with report.step("the site's pages use it, too"):
            grace.log_in_to_site()
            expect("counter-clockwise" in grace.at_site(notes).text, "Her note is not there.")
        if second == "refresh_token":
            with report.step("the service ends the access token: it is refreshed with the imported refresh token"):
                grace.let_token_expire_at_service(connection)
                _call(grace, connection)
        leave(report, grace, slug)


def _make_tokens(stage: Stage, grace: Visitor, kind: str) -> tuple[str, str]:
    page = grace.log_in_to_service(grace.browser.get(f"{stage.service.url}/tokens/"))
    form = page.form(button="Make a token")
    choice = next(value for value, label in form.choices["application"].items() if label == f"Desk ({kind})")
    page = grace.browser.submit(page, form, {"application": choice}, button="Make a token")
    token, secret = page.codes
    return token, secret


def _call(grace: Visitor, connection: Connection) -> None:
    with flows.session(connection, purpose="import script") as http:
        answer = http.get("me/")
    expect(answer.status_code == HTTPStatus.OK, f"The service answered {answer.status_code}.")
    expect(answer.json()["id"] == grace.person.member.account_id, "It is another account.")
