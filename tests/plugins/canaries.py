"""No secret anywhere it does not belong, after every test.

The fake provider's secrets begin with ``canary_``. After each test nothing that was logged, printed, mailed, warned, sent to
the test client, kept in a session or written to our tables may contain one.
"""

from __future__ import annotations

import base64
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARY = re.compile(rb"canary_[a-z_]+_[0-9a-f]{32}")
BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}")
TABLES = (
    "provider", "connection", "token", "authorizationrequest", "revocation", "connectionevent", "webhookdelivery",
    "refreshcount", "discoveredmetadata",
)  # fmt: skip


class _Keeper(logging.Handler):
    """Formats every record, as the most talkative handler of a host would."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[str] = []  # not the records: a long test would keep millions

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = f"{record.msg} {record.args}"
        extra = {key: value for key, value in vars(record).items() if key not in ("msg", "args")}
        self.found += find("log", f"{record.name}: {text} {extra}")


def find(place: str, text: str | bytes) -> list[str]:
    """Return what was found, without repeating the secret."""
    raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
    wrapped = [base64.b64decode(run[: len(run) // 4 * 4]) for run in BASE64.findall(raw)]  # as in "Basic …"
    return [f"{place}: {match[0].decode()[:-24]}…" for part in (raw, *wrapped) for match in CANARY.finditer(part)]


@pytest.fixture(autouse=True)
def _no_canary_escapes(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    root, keeper = logging.getLogger(), _Keeper()
    before = root.level
    root.addHandler(keeper)
    root.setLevel(logging.DEBUG)
    responses: list[Any] = []
    uses_db = "db" in request.fixturenames or request.node.get_closest_marker("django_db") is not None
    if uses_db:
        request.getfixturevalue("db")  # first, so that it is torn down after the rows were looked at
    from django.test import signals  # noqa: F401 - Django's test tools must be ready before the client is watched
    from django.test.client import Client

    original = Client.request

    def watched(self: Client, **environ: Any) -> Any:
        response = original(self, **environ)
        responses.append(response)
        return response

    Client.request = watched  # type: ignore[method-assign]
    yield
    Client.request = original  # type: ignore[method-assign]
    root.removeHandler(keeper)
    root.setLevel(before)
    found = list(keeper.found)
    printed = capfd.readouterr()
    found += find("stdout", printed.out) + find("stderr", printed.err)
    for response in responses:
        found += _in_response(response)
    from django.core import mail

    for message in getattr(mail, "outbox", ()):
        found += find("mail", str(message.message()))
    if uses_db and not request.node.get_closest_marker("plaintext_rows"):
        found += _in_tables()
    if found:
        pytest.fail("secrets leaked:\n" + "\n".join(sorted(set(found))), pytrace=False)


def _in_response(response: Any) -> list[str]:
    found = [] if response.streaming else find("response body", response.content)
    for name, value in response.headers.items():
        # The way to the provider carries OAuth 1.0a's request token, which is public by design.
        if name != "Location" or "/authorize" not in value:
            found += find(f"header {name}", value)
    for cookie in response.cookies.values():
        found += find("cookie", cookie.value)
    return found


def _in_tables() -> list[str]:
    from django.db import connection
    from django.db.utils import DatabaseError

    found: list[str] = []
    tables = [f"oauth_flows_{name}" for name in TABLES] + ["django_session", "django_admin_log"]
    try:
        with connection.cursor() as cursor:
            for table in tables:
                cursor.execute(f"SELECT * FROM {table}")  # noqa: S608 - our own names
                for row in cursor.fetchall():
                    found += find(table, repr(row))
    except DatabaseError:
        return found  # the test broke the transaction on purpose
    return found
