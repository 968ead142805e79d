"""The pages of connected accounts in Chromium: every button, by mouse, by keyboard alone, and without scripts."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.utils import timezone

from django_oauth_flows import flows
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.testing.factories import make_connection, make_provider
from tests.browser.conftest import HANDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from django_oauth_flows.testing import FakeProvider
    from tests.browser.conftest import Window

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.django_db(transaction=True)]

DESCRIPTIONS = {"read": "read your notes", "write": "write and delete your notes", "share": "share your notes"}


@pytest.fixture
def described(provider: Provider) -> Provider:
    """Return a provider whose scopes are described, and which offers more than it asks for."""
    Provider.objects.update(
        name="Notebook",
        scope_descriptions=DESCRIPTIONS,
        allowed_scopes=("write", "share"),
        refresh_token_lifetime=40 * 86400 + 3600,
    )
    provider.refresh_from_db()
    return provider


@pytest.mark.parametrize("how", ["mouse", "keyboard", "without scripts"])
def test_every_button_of_a_card_works(
    how: str, window_for: Callable[..., Window], described: Provider, user: User, fake: FakeProvider
) -> None:
    window = window_for(user, by_keyboard=how == "keyboard", scripts=how != "without scripts")
    connection = make_connection(described, user, fake, label="Ada Lovelace", scopes=("read",))
    Connection.objects.update(last_used_at=timezone.now(), last_purpose="notes page")
    page = window.open("/oauth/")
    for said in (
        "Working.",
        "read your notes",
        "(notes page)",
        "asks you again in about 40 days",
        "Disconnecting ends it here at once",
    ):
        assert said in window.text
    window.press("Pause")
    assert page.url.endswith(f"#connection-{connection.pk}")
    assert "Paused: this site makes no use of it." in window.text
    assert page.get_by_role("button", name="Reconnect").count() == 0
    window.press("Resume")
    assert "Working." in window.text

    def unfold() -> None:
        window.reach(page.get_by_text("More: name, permissions, another account"), then="Enter")

    unfold()
    window.fill("Name of this account on your pages here", "At work")
    window.press("Save the name")
    assert "Notebook: At work" in window.text
    unfold()
    window.reach(page.get_by_label("write and delete your notes"), then="Space")
    fake.oauth2.granted_scopes = "read write"
    window.press("Ask Notebook for it")
    assert "write and delete your notes" in page.locator(".oauth-permissions").inner_text()
    assert Connection.objects.get().granted_scopes == ("read", "write")
    window.press("Activity", role="link")
    for said in ("Taken over from elsewhere", "Paused", "Resumed", "Connected once more", "By you."):
        assert said in window.text
    window.press("Back to the connected accounts", role="link")
    unfold()
    fake.oauth2.subject, fake.oauth2.name = "account-2", "Countess"
    window.press("Add another account at Notebook")
    assert "At work is connected already" in window.text
    window.press("Connect Notebook")
    assert "Notebook: Countess" in window.text
    window.press("Disconnect")
    assert "Disconnected lately" in window.text
    assert user.oauth_connections.exclude(status="revoked").count() == 1


@pytest.mark.parametrize("how", HANDS)
def test_a_service_is_found_among_many(
    how: str, window_for: Callable[..., Window], user: User, fake: FakeProvider
) -> None:
    for name in ("Calendar", "Contacts", "Drive", "Ledger", "Mail", "Notebook", "Photos", "Tasks", "Wiki"):
        make_provider(fake, slug=name.lower(), name=name)
    window = window_for(user, by_keyboard=how == "keyboard")
    page = window.open("/oauth/")
    assert page.get_by_role("button", name="Connect").count() == 9
    window.examine("gallery")
    box = page.get_by_role("searchbox")
    window.reach(box, then="Control+a")
    page.keyboard.type("NOTE")
    window.press("Search")
    assert page.get_by_role("button", name="Connect").all_inner_texts() == ["Connect Notebook"]
    assert page.get_by_role("searchbox").input_value() == "NOTE"
    window.examine("gallery-found")
    page.goto(f"{window.site}/oauth/?q=nothing+of+the+kind")
    assert "No service is called “nothing of the kind”." in window.text
    window.examine("gallery-nothing")
    window.press("Show all services", role="link")
    assert page.get_by_role("button", name="Connect").count() == 9


def test_the_card_with_everything_and_its_activity(
    window: Window, described: Provider, user: User, fake: FakeProvider
) -> None:
    connection = make_connection(
        described, user, fake, label="Ada Lovelace", scopes=("read", "https://api.example/auth/other")
    )
    Connection.objects.update(last_used_at=timezone.now(), last_purpose="notes page")
    flows.pause(connection, actor=user)
    flows.resume(connection, actor=user)
    window.open("/oauth/")
    window.examine("card")
    window.open(f"/oauth/connections/{connection.pk}/activity/")
    window.examine("activity")
    flows.pause(connection, actor=user)
    Token.objects.update(refresh_token_expires_at=timezone.now() + timedelta(days=12, hours=1))
    window.open("/oauth/")
    assert "If it still rests in about 12 days, it has to be reconnected." in window.text
    window.examine("card-paused")
