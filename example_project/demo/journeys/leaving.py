"""The way out of a connection, with proof that it is one."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from example_project.demo.journeys import direct
from example_project.demo.report import expect

if TYPE_CHECKING:
    from example_project.demo.journeys.visitor import Visitor
    from example_project.demo.report import Report


def leave(report: Report, person: Visitor, slug: str) -> None:
    """Disconnect; ask the service what a copy of the token is worth, before and after."""
    connection = person.connection(slug)
    copy = direct.copy_of(person.stage, connection)
    with report.step("she disconnects, and the token no longer works at the service"):
        works = direct.status(person.stage, copy)
        expect(works == HTTPStatus.OK, "The token does not work, so the rest would prove nothing.")
        person.disconnect(connection)
        expect(direct.status(person.stage, copy) == HTTPStatus.UNAUTHORIZED, "The service still accepts it.")
