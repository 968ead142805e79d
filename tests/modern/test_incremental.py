"""More is asked for later: what was granted stays, what was not given is shown, and what was declined changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from django_oauth_flows import flows
from django_oauth_flows.exceptions import MissingScopes, ScopeNotAllowed
from django_oauth_flows.models import Connection
from django_oauth_flows.testing.factories import answer, begin, consent, make_provider, walk

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def wide(db: None, fake: FakeProvider) -> Provider:
    """Return a provider with several scopes, and a word for asking for more."""
    dialect = {"incremental_parameters": {"include_granted_scopes": "true"}}
    return make_provider(fake, allowed_scopes=("write", "admin"), dialect=dialect)


@pytest.fixture
def granted(wide: Provider, browser: Client, user: User) -> Connection:
    """Return a connection that came of a dance, with the provider's scopes alone."""
    walk(browser, wide)
    found: Connection = user.oauth_connections.get()
    return found


def asked(url: str) -> dict[str, list[str]]:
    """Return the parameters of an authorization request."""
    return parse_qs(urlsplit(url).query)


def ask_for_more(browser: Client, connection: Connection, scopes: str) -> str:
    """Press the button that asks for ``scopes`` as well; return where it leads."""
    started: Any = browser.post(f"/oauth/connections/{connection.pk}/reconnect/", {"scopes": scopes})
    return str(started["Location"])


@pytest.mark.rfc("6749", "3.3")
def test_named_scopes_are_asked_for_beside_what_was_granted(browser: Client, granted: Connection) -> None:
    url = ask_for_more(browser, granted, "write")
    assert asked(url)["scope"] == ["read write"]
    assert asked(url)["include_granted_scopes"] == ["true"]
    answer(browser, consent(url))
    granted.refresh_from_db()
    assert granted.granted_scopes == ("read", "write")
    assert flows.session(granted, scopes=["write"]).get("echo").status_code == 200


def test_the_words_for_more_are_not_said_at_the_first_time(browser: Client, wide: Provider, fake: FakeProvider) -> None:
    begin(browser, wide)
    begin(browser, wide, scopes="read write")
    assert all("include_granted_scopes" not in dict(request.query) for request in fake.received("authorize"))


def test_a_button_that_names_scopes_asks_in_the_same_words(browser: Client, granted: Connection) -> None:
    started: Any = browser.post("/oauth/connect/fake/", {"scopes": "read admin"})
    assert asked(started["Location"])["include_granted_scopes"] == ["true"]


def test_a_grant_that_came_back_with_less_is_shown_as_less(
    browser: Client, granted: Connection, fake: FakeProvider
) -> None:
    fake.oauth2.granted_scopes = "read"
    answer(browser, consent(ask_for_more(browser, granted, "write admin")))
    granted.refresh_from_db()
    assert granted.granted_scopes == ("read",)
    assert granted.missing_scopes == ("write", "admin")
    with pytest.raises(MissingScopes):
        flows.session(granted, scopes=["write"])
    page = browser.get("/oauth/").content.decode()
    assert "Working, with fewer permissions than asked for." in page
    assert "<li><code>write</code></li><li><code>admin</code></li>" in page


def test_who_declines_keeps_the_old_token_and_what_it_may(
    browser: Client, granted: Connection, fake: FakeProvider
) -> None:
    before = flows.access_token(granted)
    fake.oauth2.denies = True
    refused = answer(browser, consent(ask_for_more(browser, granted, "write")))
    assert refused.status_code == 400
    granted.refresh_from_db()
    assert (granted.granted_scopes, granted.requested_scopes) == (("read",), ("read",))
    assert flows.access_token(granted) == before
    assert flows.session(granted).get("echo").status_code == 200
    assert fake.count("revoke") == 0


def test_what_was_denied_before_is_not_asked_for_beside_something_else(
    browser: Client, granted: Connection, fake: FakeProvider
) -> None:
    Connection.objects.update(requested_scopes=("read", "write"), granted_scopes=("read",))
    assert asked(ask_for_more(browser, granted, "admin"))["scope"] == ["read admin"]
    again: Any = browser.post(f"/oauth/connections/{granted.pk}/reconnect/")  # the plain button asks once more
    assert asked(again["Location"])["scope"] == ["read write"]


def test_a_server_that_spells_scopes_in_its_own_way_loses_none(browser: Client, granted: Connection) -> None:
    Connection.objects.update(
        requested_scopes=("read", "write"), granted_scopes=("https://as.example/read", "https://as.example/write")
    )
    assert asked(ask_for_more(browser, granted, "admin"))["scope"] == ["read write admin"]


def test_what_the_provider_does_not_list_is_not_asked_for(granted: Connection, user: User) -> None:
    with pytest.raises(ScopeNotAllowed):
        flows.start_authorization(
            granted.provider, user=user, session_auth_hash="", reconnect=granted, scopes=["everything"]
        )
