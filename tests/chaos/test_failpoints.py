"""The failpoints themselves: a closed set of names, in a known order, never on the fresh path, armed by tests alone."""

from __future__ import annotations

import ast
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from django_oauth_flows import failpoints, flows
from django_oauth_flows.exceptions import TokenUnavailable
from django_oauth_flows.failpoints import Failpoint
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import shift_expiry, walk
from tests.contract.reference import sources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client

    from django_oauth_flows.models import Connection, Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

STORED = ["before_lease", "after_lease", "before_request", "after_response", "before_commit", "after_commit"]


@contextmanager
def recorded() -> Iterator[list[str]]:
    """Yield the names of the failpoints that are reached in the block."""
    reached: list[str] = []
    with ExitStack() as stack:
        for point in Failpoint:
            stack.enter_context(failpoints.armed(point, lambda point=point: reached.append(str(point))))
        yield reached


@pytest.mark.parametrize("entry", ["access_token", "refresh", "refresh_due"])
def test_every_way_to_refresh_reaches_the_same_steps(entry: str, connection: Connection) -> None:
    shift_expiry(connection, timedelta(seconds=-1))
    with recorded() as reached:
        flows.refresh_due() if entry == "refresh_due" else getattr(flows, entry)(connection)
    assert reached == STORED


def test_a_failed_attempt_ends_with_the_release_of_its_lease(connection: Connection, fake: FakeProvider) -> None:
    shift_expiry(connection, timedelta(seconds=-1))
    fake.script("token", Answer(503))
    with recorded() as reached, pytest.raises(TokenUnavailable):
        flows.access_token(connection)
    assert reached == ["before_lease", "after_lease", "before_request", "before_release"]


def test_a_connect_reaches_the_step_between_answer_and_storage(provider: Provider, browser: Client) -> None:
    with recorded() as reached:
        assert walk(browser, provider).status_code == 303
    assert reached == ["code_exchanged"]


def test_a_fresh_token_reaches_none(connection: Connection) -> None:
    with recorded() as reached, flows.session(connection) as http:
        assert http.get("/echo").status_code == 200
        assert flows.access_token(connection)
    assert reached == []


def test_a_name_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="after_respones"):
        failpoints.arm("after_respones", list)
    with pytest.raises(ValueError, match="after_respones"):
        failpoints.disarm("after_respones")


def test_what_is_disarmed_is_passed_again(connection: Connection) -> None:
    failpoints.arm("before_lease", lambda: pytest.fail("it was disarmed"))
    failpoints.disarm("before_lease")
    failpoints.disarm("before_lease")  # as often as you like
    assert flows.refresh(connection).refreshed


def test_nothing_in_the_package_arms_one() -> None:
    for path, tree in sources():
        arming = {
            name.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("django_oauth_flows")
            for name in node.names
        } & {"arm", "armed", "failpoints"}
        assert not arming, path
    tree = next(tree for path, tree in sources() if path.name == "failpoints.py")
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"__future__", "contextlib", "enum", "typing", "collections.abc"}  # no environment, no settings
