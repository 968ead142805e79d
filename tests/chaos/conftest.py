"""A site on a private server: its rows live in a database of their own, to which a router leads."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.utils import ConnectionHandler

from tests.chaos import servers
from tests.plugins import canaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User

    from django_oauth_flows.models import Connection, Provider, Token
    from django_oauth_flows.testing import FakeProvider


class Private:
    """Every model lives on the private server of the running test."""

    alias = ""

    def db_for_read(self, model: type[Any], **hints: Any) -> str:
        return Private.alias

    def db_for_write(self, model: type[Any], **hints: Any) -> str:
        return Private.alias


@dataclass(slots=True)
class Site:
    """A site whose database is ``server``, with one connection whose token has expired."""

    server: Any
    alias: str
    fake: FakeProvider
    user: User
    provider: Provider
    connection: Connection

    @property
    def token(self) -> Token:
        """Return the token's row as it stands."""
        from django_oauth_flows.models import Token

        return Token.objects.select_related("connection").get(connection=self.connection)

    def stores(self, access_token: str) -> bool:
        """Tell whether this is the access token that is stored."""
        secret = self.token.open("access_token")
        return secret is not None and secret.reveal() == access_token

    def next_request(self) -> None:
        """Do what Django does between two requests: leave a database connection that may have broken."""
        connections[self.alias].close()


@contextmanager
def _reachable(alias: str, settings: dict[str, Any]) -> Iterator[None]:
    """Add a database to Django's, for every thread."""
    connections.settings[alias] = ConnectionHandler({"default": settings}).settings["default"]
    Private.alias = alias
    try:
        yield
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


@contextmanager
def _site(server: Any, fake: FakeProvider, settings: Any) -> Iterator[Site]:
    from django.contrib.auth.models import User

    from django_oauth_flows.testing.factories import make_connection, make_provider
    from tests.chaos.rows import empty

    alias = f"private_{type(server).__name__.lower()}"  # statements are written once for each alias
    with _reachable(alias, server.settings):
        settings.DATABASE_ROUTERS = [Private()]
        if not connections[alias].introspection.table_names():
            call_command("migrate", database=alias, verbosity=0)
        empty(alias)
        user, provider = User.objects.create_user("ada"), make_provider(fake)
        connection = make_connection(provider, user, fake, expires_in=timedelta(seconds=-1))
        yield Site(server, alias, fake, user, provider, connection)
        connections[alias].close()
        found = _secrets_in_tables(alias)
        if found:
            pytest.fail("secrets leaked:\n" + "\n".join(found), pytrace=False)


def _secrets_in_tables(alias: str) -> list[str]:
    found: list[str] = []
    with connections[alias].cursor() as cursor:
        for name in canaries.TABLES:
            cursor.execute(f"SELECT * FROM oauth_flows_{name}")  # noqa: S608 - our own names
            found += canaries.find(name, repr(cursor.fetchall()))
    return found


@pytest.fixture(scope="session")
def private_server() -> Iterator[Callable[[type[servers.Server]], servers.Server]]:
    """Return what starts a server of a kind, once."""
    running: dict[type[servers.Server], servers.Server] = {}

    def started(kind: type[servers.Server]) -> servers.Server:
        if kind not in running:
            if kind is servers.PgBouncer:
                behind = started(servers.PostgreSQL)
                assert isinstance(behind, servers.PostgreSQL)
                running[kind] = servers.PgBouncer(behind, size=6).__enter__()
            else:
                running[kind] = kind().__enter__()
        return running[kind]

    yield started
    for server in reversed(running.values()):
        server.__exit__()


def _on(kind: type[servers.Server]) -> Any:
    name = kind.__name__.lower()
    return pytest.param(kind, marks=pytest.mark.needs(name), id=name)


@pytest.fixture(params=[_on(servers.PostgreSQL), _on(servers.MariaDB)])
def site(
    request: pytest.FixtureRequest, private_server: Any, fake: FakeProvider, settings: Any, django_db_blocker: Any
) -> Iterator[Site]:
    """Return a site on a private server; what a test has done to the server is undone."""
    server = private_server(request.param)
    with django_db_blocker.unblock(), _site(server, fake, settings) as site:
        yield site
        if not server.is_running:
            server.start()
        server.read_only(False)
        connections[site.alias].close()


@pytest.fixture
def pooled(private_server: Any, fake: FakeProvider, settings: Any, django_db_blocker: Any) -> Iterator[Site]:
    """Return a site behind pgbouncer in transaction mode."""
    server = private_server(servers.PgBouncer)
    with django_db_blocker.unblock(), _site(server, fake, settings) as site:
        yield site
