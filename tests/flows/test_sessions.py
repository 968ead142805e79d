"""A session over a stored connection: shared by threads, and its token replaced when the API says so."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from django.db import connections
from django.db.models import F

from django_oauth_flows import flows
from django_oauth_flows.models import Token
from django_oauth_flows.testing import Answer

if TYPE_CHECKING:
    from django_oauth_flows.models import Connection
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_post_that_is_refused_is_not_repeated_but_the_next_one_has_a_new_token(
    connection: Connection, fake: FakeProvider
) -> None:
    fake.oauth2.grants[0].access.clear()  # refused there, while it looks fresh here
    fake.script("api", Answer(401, b"who are you?"))
    with flows.session(connection) as http:
        refused = http.post("/orders", data={"item": "1"})
        assert (refused.status_code, refused.content) == (401, b"who are you?")
        assert (fake.count("api"), fake.count("token")) == (1, 1)
        assert http.post("/orders", data={"item": "1"}).status_code == 200
    assert (fake.count("api"), fake.count("token")) == (2, 1)


def test_a_refresh_that_fails_leaves_the_answer_to_a_refused_post(connection: Connection, fake: FakeProvider) -> None:
    fake.script("api", Answer(401))
    fake.script("token", Answer(503))
    with flows.session(connection) as http:
        assert http.post("/orders", data={"item": "1"}).status_code == 401


def test_threads_may_share_a_session_of_a_stored_connection(connection: Connection, fake: FakeProvider) -> None:
    wrong: list[str] = []
    barrier = threading.Barrier(6)
    refused = Answer(401, b"", {"WWW-Authenticate": 'Bearer error="invalid_token"'})
    fake.oauth2.rotates = False  # a refresh that is overtaken below loses nothing
    http = flows.session(connection)

    def call(number: int) -> None:
        barrier.wait()
        for turn in range(10):
            path = f"/t{number}-{turn}"
            if number == 0:  # another process has refreshed meanwhile
                fake.script("api", refused)
                Token.objects.update(generation=F("generation") + 1)
            response = http.get(path)
            if response.ok and response.json()["path"] != f"/api{path}":
                wrong.append(f"{path} got {response.json()['path']}")
        connections.close_all()

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert {request.path for request in fake.received("api")} == {f"/api/t{n}-{t}" for n in range(6) for t in range(10)}
