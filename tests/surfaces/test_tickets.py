"""Tickets: a link that serves one user, ten minutes long, and authenticates nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core import signing
from django.test import Client

from django_oauth_flows import tickets
from django_oauth_flows.exceptions import AuthorizationError
from django_oauth_flows.testing.factories import make_provider
from django_oauth_flows.tickets import ConnectTicket, connect_ticket, read_connect_ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db


def refused(ticket: str, user: User) -> str:
    """Return the code with which a ticket is refused."""
    with pytest.raises(AuthorizationError) as caught:
        read_connect_ticket(ticket, user)
    return caught.value.code


@pytest.mark.parametrize("scopes", [None, (), ("read", "wri te", "ü")])
def test_what_is_put_in_comes_out(scopes: tuple[str, ...] | None, user: User, provider: Provider) -> None:
    ticket = connect_ticket(user, provider, scopes, "/notes/?a=1")
    assert read_connect_ticket(ticket, user) == ConnectTicket("fake", scopes, "/notes/?a=1")


@pytest.mark.security("A14", "P06")
def test_it_is_for_one_user_only(user: User, provider: Provider, make_user: Callable[..., User]) -> None:
    assert refused(connect_ticket(user, provider), make_user("eve")) == "user_mismatch"


@pytest.mark.security("A14")
def test_it_ends_after_ten_minutes(user: User, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = connect_ticket(user, provider)
    now = signing.time.time()
    monkeypatch.setattr(signing.time, "time", lambda: now + 590)
    assert read_connect_ticket(ticket, user).provider_slug == "fake"
    monkeypatch.setattr(signing.time, "time", lambda: now + 602)
    assert refused(ticket, user) == "ticket_invalid"


@pytest.mark.security("A14")
@pytest.mark.parametrize("forged", ["", "x", "a:b:c", "é", "\x00", "." * 1000])
def test_a_forged_one_is_refused(forged: str, user: User) -> None:
    assert refused(forged, user) == "ticket_invalid"


@pytest.mark.security("A14")
@pytest.mark.parametrize("content", [None, 1, [], ["1", "fake"], {"a": 1}, "words"])
def test_one_that_we_signed_for_something_else_is_refused(content: object, user: User) -> None:
    assert refused(signing.dumps(content, salt=tickets._SALT), user) == "ticket_invalid"
    assert refused(signing.dumps([str(user.pk), "fake", None, ""]), user) == "ticket_invalid"


@pytest.mark.security("A14")
def test_another_secret_key_did_not_sign_it(user: User, provider: Provider, settings: SettingsWrapper) -> None:
    ticket = connect_ticket(user, provider)
    settings.SECRET_KEY = "another" * 10
    assert refused(ticket, user) == "ticket_invalid"


@pytest.mark.security("A14")
def test_it_opens_only_its_own_providers_page_and_logs_nobody_in(
    user: User, browser: Client, provider: Provider, fake: FakeProvider
) -> None:
    make_provider(fake, slug="other")
    ticket = connect_ticket(user, provider, ["read", "write"], "/notes/")
    assert browser.get(f"/oauth/connect/other/confirm/?ticket={ticket}").status_code == 404
    html = browser.get(f"/oauth/connect/fake/confirm/?ticket={ticket}&next=/other/&scopes=admin").content.decode()
    assert 'name="scopes" value="read write"' in html
    assert 'name="next" value="/notes/"' in html
    stranger = Client()
    assert stranger.get(f"/oauth/connect/fake/confirm/?ticket={ticket}").status_code == 302
    assert "sessionid" not in stranger.cookies


@pytest.mark.security("A12", "A14")
def test_a_foreign_next_in_a_ticket_is_dropped(user: User, browser: Client, provider: Provider) -> None:
    ticket = connect_ticket(user, provider, next_url="//evil.example/")
    html = browser.get(f"/oauth/connect/fake/confirm/?ticket={ticket}").content.decode()
    assert 'name="next" value=""' in html
