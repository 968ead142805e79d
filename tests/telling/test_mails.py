"""Owners are told by e-mail: once for each change, in their language, and at nobody's cost."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group
from django.core import mail
from django.db import connection as database
from django.db import transaction
from django.utils import translation

from django_oauth_flows import flows
from django_oauth_flows.exceptions import ReauthorizationRequiredError, TokenUnavailable
from django_oauth_flows.models import Connection, Token
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import make_connection, shift_expiry, walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

DEAD = Answer(400, {"error": "invalid_grant", "error_description": "canary of the provider's own words"})


@pytest.fixture(autouse=True)
def _a_site_with_mail(settings: Any, user: User) -> None:
    settings.DEFAULT_FROM_EMAIL = "Site <noreply@site.example>"
    user.email = "ada@example.org"
    user.save()


def end(connection: Connection, fake: FakeProvider) -> None:
    """Let the provider say that the grant is over."""
    shift_expiry(connection, timedelta(seconds=-1))
    fake.script("token", DEAD)
    with pytest.raises(ReauthorizationRequiredError):
        flows.access_token(connection)


@pytest.mark.security("L01", "L07")
def test_the_owner_is_asked_to_reconnect_once(connection: Connection, fake: FakeProvider) -> None:
    end(connection, fake)
    for _ in range(3):
        with pytest.raises(ReauthorizationRequiredError):
            flows.access_token(connection)
    (message,) = mail.outbox
    assert message.to == ["ada@example.org"]
    assert message.subject == "Please reconnect Fake"
    assert "no longer accepts the permission you gave" in message.body
    assert "http://testserver/oauth/\n" in message.body
    assert message.extra_headers["Auto-Submitted"] == "auto-generated"
    assert "canary" not in str(message.message())


@pytest.mark.security("L07")
def test_the_owner_hears_when_it_works_again(connection: Connection, fake: FakeProvider) -> None:
    end(connection, fake)
    flows.refresh(connection)  # by staff: the provider had erred
    assert [message.subject for message in mail.outbox] == ["Please reconnect Fake", "Fake works again"]
    assert "You need not do anything." in mail.outbox[1].body
    shift_expiry(connection, timedelta(seconds=-1))
    flows.access_token(connection)
    assert len(mail.outbox) == 2, "an ordinary refresh is no news"


def test_whoever_reconnects_is_not_told_so(browser: Client, provider: Provider, fake: FakeProvider) -> None:
    assert walk(browser, provider).status_code == 303
    end(Connection.objects.get(), fake)
    assert walk(browser, provider).status_code == 303
    assert len(mail.outbox) == 1


def test_it_is_in_the_language_in_which_the_account_was_connected(
    browser: Client, provider: Provider, fake: FakeProvider
) -> None:
    browser.defaults["HTTP_ACCEPT_LANGUAGE"] = "de"
    walk(browser, provider)
    connection = Connection.objects.get()
    assert connection.language == "de"
    with translation.override("en"):
        end(connection, fake)
    assert mail.outbox[0].subject == "Bitte verbinden Sie Fake neu"
    assert "nimmt die Erlaubnis" in mail.outbox[0].body


def test_a_language_that_the_site_has_given_up_is_replaced_by_its_own(
    connection: Connection, fake: FakeProvider
) -> None:
    Connection.objects.update(language="tlh")
    with translation.override("de"):  # somebody else's request
        end(connection, fake)
    assert mail.outbox[0].subject == "Please reconnect Fake"


def test_the_new_owner_is_told_and_not_who_consented(
    connection: Connection, make_user: Any, fake: FakeProvider
) -> None:
    flows.transfer(connection, to=make_user("grace", email="grace@example.org"))
    end(connection, fake)
    assert mail.outbox[0].to == ["grace@example.org"]


@pytest.mark.parametrize("left", [False, True])
def test_for_an_organisation_who_consented_is_told_as_long_as_they_may_act(
    left: bool, settings: Any, user: User, provider: Provider, fake: FakeProvider
) -> None:
    settings.OAUTH_FLOWS = {
        **settings.OAUTH_FLOWS,
        "OWNER_MODELS": ["auth.Group"],
        "OWNER_POLICY": "tests.flows.test_owners.members_manage",
    }
    team = Group.objects.create(name="team")
    user.groups.add(team)
    connection = make_connection(provider, team, fake, user=user)
    if left:
        user.groups.clear()
    end(connection, fake)
    assert [message.to for message in mail.outbox] == ([] if left else [["ada@example.org"]])
    if not left:
        assert f"http://testserver/oauth/?owner=auth.group%3A{team.pk}" in mail.outbox[0].body


def test_where_there_is_nobody_to_tell_the_log_says_so(
    connection: Connection, user: User, fake: FakeProvider, caplog: Any
) -> None:
    type(user).objects.update(email="")
    end(connection, fake)
    assert mail.outbox == []
    assert "oauth_flows.nobody_to_tell" in caplog.messages


def test_a_grant_of_the_sites_own_does_not_end_by_a_refusal(provider: Provider, fake: FakeProvider) -> None:
    with flows.client_session(provider) as session:
        assert session.get("/echo").ok
    own = Connection.objects.get()
    shift_expiry(own, timedelta(seconds=-1))
    fake.script("token", DEAD)
    with pytest.raises(TokenUnavailable):
        flows.access_token(own)
    assert Connection.objects.get().status == "active"
    assert mail.outbox == []


@pytest.mark.parametrize("how", ["switched off", "no sender"])
def test_no_mail_is_sent_if_the_site_wants_none_or_has_no_sender(
    how: str, settings: Any, connection: Connection, fake: FakeProvider
) -> None:
    if how == "switched off":
        settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "OWNER_MAILS": False}
    else:
        settings.DEFAULT_FROM_EMAIL = "webmaster@localhost"
    end(connection, fake)
    assert mail.outbox == []


def test_a_site_may_say_it_in_its_own_words(
    settings: Any, tmp_path: Path, connection: Connection, fake: FakeProvider
) -> None:
    folder = tmp_path / "oauth_flows" / "mail"
    folder.mkdir(parents=True)
    (folder / "needs_reauthorization_subject.txt").write_text("{{ user.username }},\n{{ provider.slug }}")
    (folder / "needs_reauthorization.html").write_text('<a href="{{ connections_url }}">{{ connection.label }}</a>')
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    end(connection, fake)
    (message,) = mail.outbox
    assert message.subject == "ada, fake"
    assert message.alternatives[0][0].startswith('<a href="http://testserver/oauth/">')


def test_without_an_address_of_the_site_there_is_no_link(
    settings: Any, connection: Connection, fake: FakeProvider
) -> None:
    settings.OAUTH_FLOWS = {}
    end(connection, fake)
    assert "http" not in mail.outbox[0].body
    assert "on the page of your connected accounts" in mail.outbox[0].body


def test_a_mark_that_is_rolled_back_is_told_to_nobody(connection: Connection, fake: FakeProvider) -> None:
    if database.vendor != "sqlite":
        pytest.skip("the mark is committed apart from the caller's transaction")
    Token.objects.update(refresh_token=None)
    shift_expiry(connection, timedelta(seconds=-1))
    with transaction.atomic():
        with pytest.raises(ReauthorizationRequiredError):
            flows.access_token(connection)
        transaction.set_rollback(True)
    assert mail.outbox == []


@contextmanager
def silent_server() -> Iterator[int]:
    """Accept connections, and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    kept.append(server.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for each in kept:
            each.close()


@pytest.mark.security("L07")
@pytest.mark.parametrize("how", ["hangs", "refuses"])
def test_a_mail_server_that_fails_costs_no_token_and_little_time(
    how: str, settings: Any, connection: Connection, fake: FakeProvider, caplog: Any
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_TIMEOUT = "127.0.0.1", None
    with silent_server() as port:
        settings.EMAIL_PORT = port if how == "hangs" else 1
        end(connection, fake)
        began = time.monotonic()
        with flows.session(connection) as session:
            flows.refresh(connection)  # it recovers: told, too
            assert session.get("/echo").ok
        assert time.monotonic() - began < 20
    assert caplog.messages.count("oauth_flows.mail_not_sent") == 2
    assert Connection.objects.get().status == "active"
