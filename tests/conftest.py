"""Fixtures of the whole suite: a real fake provider, rows that point at it, users and their browsers."""

from __future__ import annotations

import os
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from django_oauth_flows.testing import FakeProvider
from tests.chaos import servers
from tests.independent import node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.contrib.auth.models import User

    from django_oauth_flows.models import Connection, Provider

IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

pytest_plugins = ["tests.plugins.canaries", "tests.plugins.loopback"]


def _has_chromium() -> bool:
    import importlib.util
    import shutil

    return shutil.which("chromium") is not None and importlib.util.find_spec("playwright") is not None


def _has_gettext() -> bool:
    import shutil

    return all(map(shutil.which, ("xgettext", "msguniq", "msgmerge", "msgen", "msgfmt")))


@cache
def _has_broker(kind: str) -> bool:
    import importlib.util

    if importlib.util.find_spec("celery") is None:
        return False
    import kombu

    from tests.queues.conftest import BROKERS

    try:
        with kombu.Connection(BROKERS[kind], connect_timeout=3) as broker:
            broker.ensure_connection(max_retries=1, timeout=3)
    except (OSError, kombu.exceptions.OperationalError):
        return False
    return True


def _has_npm() -> bool:
    import shutil

    return all(shutil.which(program) for program in ("node", "npm", "npx"))


PROGRAMS = {
    "chromium": ("Chromium and playwright", _has_chromium),
    "gettext": ("GNU gettext", _has_gettext),
    "npm": ("Node.js and npm", _has_npm),
    "redis": ("Celery and a Redis server", partial(_has_broker, "redis")),
    "rabbitmq": ("Celery and a RabbitMQ server", partial(_has_broker, "rabbitmq")),
    "postgresql": ("PostgreSQL's programs and psycopg", servers.has_postgresql),
    "pgbouncer": ("pgbouncer and psycopg", servers.has_pgbouncer),
    "mariadb": ("MariaDB's programs and mysqlclient", servers.has_mariadb),
    "oidc-provider": ("Node.js 20 or newer, and oidc-provider from npm", node.has_oidc_provider),
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a program that this machine lacks; under CI that is a failure."""
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            what, present = PROGRAMS[name]
            if not present():
                if IN_CI:
                    pytest.fail(f"needs {what}, which CI must install", pytrace=False)
                pytest.skip(f"needs {what}")


@pytest.fixture(autouse=True)
def _forget_uses() -> Iterator[None]:
    """Drop what a test has used: it would be written after a later test's request, and counted there."""
    yield
    from django_oauth_flows.flows import counting, usage

    usage._usage = usage._Usage()
    counting._counts = counting._Counts()


@pytest.fixture(autouse=True)
def _own_language() -> None:
    """Begin in the site's language: a request in another leaves it to whoever comes next in the thread."""
    from django.utils import translation

    translation.deactivate()


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    """Return a provider on loopback, over plain http."""
    with FakeProvider() as running:
        yield running


@pytest.fixture
def provider(db: None, fake: FakeProvider) -> Provider:
    """Return an OAuth 2 provider that points at the fake."""
    from django_oauth_flows.testing.factories import make_provider

    return make_provider(fake)


@pytest.fixture
def oauth1_provider(db: None, fake: FakeProvider) -> Provider:
    """Return an OAuth 1.0a provider that points at the fake."""
    from django_oauth_flows.testing.factories import make_provider

    return make_provider(fake, slug="fake1", protocol="oauth1")


@pytest.fixture
def make_user(db: None) -> Callable[..., User]:
    """Return a maker of users."""
    from django.contrib.auth.models import User

    def make(username: str = "ada", **fields: Any) -> User:
        return User.objects.create_user(username, password="correct horse", **fields)

    return make


@pytest.fixture
def user(make_user: Callable[..., User]) -> User:
    """Return a user."""
    return make_user()


@pytest.fixture
def client_for() -> Callable[[User], Client]:
    """Return a maker of logged-in browsers."""

    def make(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return make


@pytest.fixture
def browser(user: User, client_for: Callable[[User], Client]) -> Client:
    """Return the browser of ``user``."""
    return client_for(user)


@pytest.fixture
def connection(provider: Provider, user: User, fake: FakeProvider) -> Connection:
    """Return a live OAuth 2 connection of ``user``."""
    from django_oauth_flows.testing.factories import make_connection

    return make_connection(provider, user, fake)


@pytest.fixture
def oauth1_connection(oauth1_provider: Provider, user: User, fake: FakeProvider) -> Connection:
    """Return a live OAuth 1.0a connection of ``user``."""
    from django_oauth_flows.testing.factories import make_connection

    return make_connection(oauth1_provider, user, fake)
