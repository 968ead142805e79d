"""The example project's API as a page's own script uses it: Chromium's ``fetch``, with the session and the CSRF token."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.desk import Visitor

pytestmark = [
    pytest.mark.needs("chromium"),
    pytest.mark.parametrize(
        ("slug", "name"), [("notebook", "Notebook"), ("notebook-classic", "Notebook Classic")], ids=["oauth2", "oauth1"]
    ),
]

FETCH = """async ([method, path, body]) => {
    const token = document.cookie.match(/(?:^|; )desk_csrf=([^;]+)/)[1];
    const options = { method, headers: { "Content-Type": "application/json", "X-CSRFToken": token } };
    if (body) options.body = JSON.stringify(body);
    const answer = await fetch(`/api/oauth/v1/${path}`, options);
    return [answer.status, await answer.text()];
}"""


@dataclass
class Script:
    """A script on whatever page of the site its visitor has open; keeps all that it was answered."""

    visitor: Visitor
    answers: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what a request that is granted is answered."""
        status, text = self.visitor.window.page.evaluate(FETCH, [method, path, body])
        assert status == 200, f"{method} {path}: {status} {text}"
        self.answers.append(text)
        return dict(json.loads(text))

    def ask_in_vain(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Return the status and the problem of a request that is refused, of which Chromium's console tells as well."""
        page = self.visitor.window.page
        with page.expect_console_message() as told:
            status, text = page.evaluate(FETCH, [method, path, body])
            assert status >= 400, f"{method} {path}: {status} {text}"
        self.visitor.window.said.remove(told.value.text)
        return status, json.loads(text)

    def connect(self, slug: str, name: str, *, button: str = "Allow") -> None:
        """Start, go where the answer says, confirm, and answer at the service."""
        started = self.ask("POST", f"providers/{slug}/start/", {"next": "/oauth/"})
        self.visitor.window.page.goto(started["connect_url"])
        self.visitor.window.press(f"Connect {name}")
        self.visitor.allow(button=button)

    def connected(self, slug: str, name: str) -> str:
        """Connect, and return the connection's id."""
        self.connect(slug, name)
        self.visitor.window.page.wait_for_url(f"{self.visitor.window.site}/oauth/")
        (listed,) = self.ask("GET", "connections/")["results"]
        return str(listed["id"])


def test_a_day_with_an_account(slug: str, name: str, visit: Callable[..., Visitor]) -> None:
    """It is Ada's first: connected again, an account would have its history and its label of before."""
    visitor = visit("ada")
    window, script = visitor.window, Script(visitor)
    window.open("/")
    offered = {provider["slug"]: provider["name"] for provider in script.ask("GET", "providers/")["results"]}
    assert offered[slug] == name
    started = script.ask("POST", f"providers/{slug}/start/", {"next": "/oauth/"})
    assert set(started) == {"connect_url"}
    window.press("Log out ada")
    window.page.goto(started["connect_url"])
    assert window.page.url.startswith(f"{window.site}/accounts/login/")
    visitor.log_in_where_asked("ada")
    assert "You are logged in here as ada" in window.text
    assert script.ask("GET", "connections/")["results"] == []  # the address alone has started nothing
    window.press(f"Connect {name}")
    visitor.allow()
    window.page.wait_for_url(f"{window.site}/oauth/")

    (listed,) = script.ask("GET", "connections/")["results"]
    one = f"connections/{listed['id']}/"
    assert script.ask("GET", one) == listed
    assert (listed["provider"]["slug"], listed["label"], listed["health"]) == (slug, "Ada Lovelace", "working")
    assert script.ask("PATCH", one, {"label": "My notes"})["label"] == "My notes"
    window.open("/oauth/")
    assert f"{name}: My notes" in window.text

    assert script.ask("POST", f"{one}pause/")["health"] == "paused"
    assert script.ask("GET", "health/")["connections"] == {"active": 0, "paused": 1, "reauthorization_required": 0}
    assert script.ask("POST", f"{one}resume/")["health"] == "working"
    assert script.ask("GET", "health/")["connections"] == {"active": 1, "paused": 0, "reauthorization_required": 0}

    copy = visitor.desk.copy_of(listed["id"])
    assert visitor.desk.answers(copy) == 200
    gone = script.ask("POST", f"{one}disconnect/")
    assert gone == {"id": listed["id"], "status": "revoked", "revocation": "revoked"}
    assert visitor.desk.answers(copy) == 401
    assert script.ask("GET", "connections/")["results"] == []
    assert script.ask("GET", one)["status"] == "revoked"
    events = [(event["kind"], event["by"]) for event in script.ask("GET", f"{one}events/")["results"]]
    assert events == [
        ("revocation_finished", ""),
        ("revoked", "you"),
        ("resumed", "you"),
        ("paused", "you"),
        ("authorized", "you"),
    ]
    assert not [secret for secret in copy.secrets for answer in script.answers if secret in answer]


def test_who_does_not_allow_it_has_connected_nothing(slug: str, name: str, visit: Callable[..., Visitor]) -> None:
    visitor = visit("grace")
    script = Script(visitor)
    visitor.window.open("/")
    script.connect(slug, name, button="Do not allow")
    visitor.window.page.get_by_role("heading", name="Cancelled").wait_for()
    assert script.ask("GET", "connections/")["results"] == []
    assert script.ask("GET", "health/")["connections"] == {"active": 0, "paused": 0, "reauthorization_required": 0}


def test_what_is_somebody_elses_is_not_there(slug: str, name: str, visit: Callable[..., Visitor]) -> None:
    """Neither a connection nor a ``connect_url`` is of use to another user: the answer is that of an id that is nobody's."""
    owner, stranger = visit("grace"), visit("ada")
    hers, theirs = Script(owner), Script(stranger)
    owner.window.open("/")
    started = hers.ask("POST", f"providers/{slug}/start/", {"next": "/oauth/"})
    connection = hers.connected(slug, name)
    before = hers.ask("GET", f"connections/{connection}/")

    stranger.window.page.goto(started["connect_url"])
    assert stranger.window.page.get_by_role("button", name=f"Connect {name}").count() == 0
    stranger.window.open("/")
    assert theirs.ask("GET", "connections/")["results"] == []
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"label": "Mine"}),
        ("POST", "pause/", None),
        ("POST", "resume/", None),
        ("GET", "events/", None),
        ("GET", "call/me/", None),
        ("POST", "disconnect/", None),
    ):
        refused = [theirs.ask_in_vain(method, f"connections/{pk}/{path}", body) for pk in (connection, uuid4())]
        for _, problem in refused:
            del problem["correlation_id"]
        assert refused[0] == refused[1]
        assert refused[0][0] == 404
    assert hers.ask("GET", f"connections/{connection}/") == before
    owner.disconnect_everything()
