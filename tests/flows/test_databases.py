"""A database that fails where nothing is lost, and one that lags behind."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, InterfaceError, connections
from django.db import connection as database

from django_oauth_flows import flows
from django_oauth_flows.exceptions import Disconnected, ReauthorizationRequiredError
from django_oauth_flows.flows import usage
from django_oauth_flows.models import Connection, Token
from django_oauth_flows.testing import Delay
from django_oauth_flows.testing.factories import make_connection, shift_expiry

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


class Replica:
    """Reads go to a replica that cannot be reached; writes, and what decides them, to the database itself."""

    def db_for_read(self, model: type[Any], **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: type[Any], **hints: Any) -> str:
        return "default"


@pytest.mark.parametrize("error", [DatabaseError("gone"), InterfaceError("connection already closed")])
def test_a_use_that_cannot_be_written_is_no_error(
    error: Exception, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("UPDATE"):
            raise error
        return execute(sql, *rest)

    with flows.session(connection, purpose="reports") as http:
        assert http.get("/echo").ok
    caplog.set_level("INFO", logger="oauth_flows")
    with database.execute_wrapper(fail):
        usage.flush()
    assert "oauth_flows.usage_not_recorded" in caplog.messages


@pytest.mark.security("S10")
def test_a_token_is_looked_for_where_it_is_written(
    provider: Provider, user: User, fake: FakeProvider, settings: Any
) -> None:
    mine = make_connection(provider, user, fake)
    shift_expiry(mine, timedelta(seconds=-1))
    settings.DATABASE_ROUTERS = [f"{__name__}.Replica"]
    assert flows.access_token(mine)
    for _ in range(2):
        with flows.client_session(provider) as http:
            assert http.get("/echo").ok
    assert fake.count("token") == 2


@pytest.mark.security("S10")
def test_all_that_decides_about_a_refresh_is_read_where_it_is_written(
    provider: Provider, user: User, fake: FakeProvider, settings: Any
) -> None:
    mine = make_connection(provider, user, fake)
    settings.DATABASE_ROUTERS = [f"{__name__}.Replica"]
    assert flows.refresh(mine).refreshed
    with flows.session(mine) as http:
        assert http.get("/echo").ok
    fake.oauth2.grants[0].access.clear()
    Token.objects.using("default").update(last_refreshed_at=None)
    with flows.session(mine) as http:
        assert http.get("/echo").ok  # after a 401 and a refresh
    shift_expiry(mine, timedelta(seconds=-1))
    (sweep,) = flows.refresh_due()
    assert (sweep.refreshed, fake.count("token")) == (1, 3)
    fake.oauth2.grants[0].alive = False
    with pytest.raises(ReauthorizationRequiredError):
        flows.refresh(mine)
    assert flows.revoke(mine) == "revoked"
    with pytest.raises(Disconnected):
        flows.access_token(mine)


class Look:
    """Answer as usual, and note whether any of the caller's databases is in a transaction while it waits."""

    def __init__(self) -> None:
        self.callers = connections["default"]  # of this thread, not of the server's
        self.open: list[bool] = []

    def play(self, handler: Any, normal: Any) -> None:
        """Look, then answer."""
        self.open.append(self.callers.in_atomic_block)
        Delay().play(handler, normal)


@pytest.mark.security("F19")
def test_no_flow_holds_a_transaction_open_while_a_socket_is(provider: Provider, user: User, fake: FakeProvider) -> None:
    look = Look()
    for endpoint in ("token", "revoke", "api"):
        fake.script(endpoint, *[look] * 20)
    mine = make_connection(provider, user, fake)
    shift_expiry(mine, timedelta(seconds=-1))
    with flows.session(mine) as http:
        assert http.get("/echo").ok
    with flows.client_session(provider) as http:
        assert http.get("/echo").ok
    shift_expiry(mine, timedelta(seconds=-1))
    flows.refresh_due()
    assert flows.revoke(mine) == "revoked"
    assert flows.revoke_all(Connection.objects.filter(provider=provider))
    assert len(look.open) == fake.count("token") + fake.count("revoke") + fake.count("api") >= 7
    assert not any(look.open)


@pytest.mark.security("S10")
def test_an_owner_who_is_not_the_user_is_looked_for_there_too(
    provider: Provider, user: User, make_user: Any, fake: FakeProvider, settings: Any
) -> None:
    mine = make_connection(provider, user, fake)
    flows.transfer(mine, to=make_user("bob"))
    settings.DATABASE_ROUTERS = [f"{__name__}.Replica"]
    assert flows.access_token(mine)
