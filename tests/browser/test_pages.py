"""Every page, looked at by axe-core: light and dark, wide and as narrow as a small phone."""

from __future__ import annotations

import uuid
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

from django_oauth_flows import flows
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider, Token
from django_oauth_flows.testing.factories import make_connection, make_provider, shift_expiry
from tests.browser.conftest import HANDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.contrib.auth.models import User
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.testing import FakeProvider
    from tests.browser.conftest import Window

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.django_db(transaction=True)]

LONG = "a-very-long-account-name-without-any-place-to-break-it@department.organisation.example.com"


def test_the_empty_page(window: Window, provider: Provider) -> None:
    window.open("/oauth/")
    assert "No account is connected yet." in window.text
    window.examine("connections-empty")


def test_the_page_with_every_state_that_a_connection_can_be_in(
    window: Window, provider: Provider, user: User, fake: FakeProvider, make_user: Callable[..., User]
) -> None:
    def connect(label: str, **change: object) -> Connection:
        connection = make_connection(provider, user, fake, subject=label, label=label)
        defaults = {"requested_scopes": ("read", "write"), "granted_scopes": ("read", "write")}
        Connection.objects.filter(pk=connection.pk).update(**{**defaults, **change})  # type: ignore[arg-type]
        return connection

    connect("works", last_used_at=timezone.now(), last_purpose="Show your notes")
    connect("limited", granted_scopes=("read",))
    connect("broken", status="reauthorization_required", reason="invalid_grant")
    connect("paused", paused=True)
    failing, ended = connect("failing"), connect("ended")
    Token.objects.filter(connection=failing).update(failure_count=3)
    Token.objects.filter(connection=ended).update(refresh_token=None)
    shift_expiry(ended, timedelta(hours=-1))
    connect(LONG, granted_scopes=(f"https://www.googleapis.example/auth/{LONG}",))
    make_connection(provider, make_user("bob"), fake, subject="works")
    flows.revoke(connect("gone"))
    Provider.objects.update(account_url="https://as.example/grants")
    window.open("/oauth/")
    for said in ("Working.", "fewer permissions", "Needs your attention", "Paused", "nothing is lost", "Ended"):
        assert said in window.text
    assert "leaves the permission there in place" in window.text
    window.examine("connections-full")


PLAIN_BASE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{% block title %}{% endblock %}</title><main>{% block content %}{% endblock %}</main></html>"""


def test_inside_a_plain_page_of_the_site_no_button_touches_another(
    window: Window, connection: Connection, fake: FakeProvider, settings: SettingsWrapper, tmp_path: Path
) -> None:
    (tmp_path / "base.html").write_text(PLAIN_BASE)
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    make_provider(fake, slug="other")
    window.open("/oauth/")
    boxes: list[Any] = [button.bounding_box() for button in window.page.get_by_role("button").all()]
    assert len(boxes) == 5
    for one, next_ in pairwise(boxes):
        below, beside = next_["y"] - (one["y"] + one["height"]), next_["x"] - (one["x"] + one["width"])
        assert max(below, beside) >= 8
    window.examine("connections-plain-host")


def test_the_page_that_asks_before_connecting(window: Window, provider: Provider, fake: FakeProvider) -> None:
    Provider.objects.update(authorization_endpoint=f"{fake.url}/authorize?shop={{shop}}")
    window.open("/oauth/connect/fake/confirm/?scopes=read+write&next=/notes/")
    window.examine("confirm")
    window.open("/oauth/connect/fake/confirm/?scopes=read+write&next=/notes/&parameter-shop=my..shop")
    assert "This cannot be part of an address" in window.text
    window.examine("confirm-refused")
    window.open("/oauth/connect/fake/confirm/?scopes=read+write&next=/notes/")
    for refused in ("not a name!", "my..shop"):
        window.page.get_by_label("Your “shop” at Fake").fill(refused)
        window.page.get_by_role("button", name="Connect Fake").click()
        assert window.page.url.endswith("/confirm/?scopes=read+write&next=/notes/")  # the browser itself refuses
    window.page.get_by_label("Your “shop” at Fake").fill("ada-lace")
    with window.page.expect_navigation():
        window.page.get_by_role("button", name="Connect Fake").click()
    assert Connection.objects.get().parameters == {"shop": "ada-lace"}


def test_the_page_after_a_no(window: Window, provider: Provider, fake: FakeProvider) -> None:
    fake.oauth2.denies = True
    window.open("/oauth/")
    window.press("Connect Fake")
    assert "Cancelled" in window.text
    window.examine("cancelled")


def test_a_refused_callback(window_for: Callable[[User | None], Window], provider: Provider) -> None:
    window = window_for(None)
    window.open("/oauth/callback/fake/?code=x&state=y")
    assert "state_unknown" in window.text
    window.examine("refused")


@pytest.mark.parametrize("kind", ["different", "shared"])
def test_the_page_that_asks_which_account(
    kind: str, window: Window, provider: Provider, user: User, fake: FakeProvider, make_user: Callable[..., User]
) -> None:
    owner = user if kind == "different" else make_user("bob")
    make_connection(provider, owner, fake, label="Ada Lovelace")
    window.open("/oauth/")
    if kind == "different":
        fake.oauth2.subject, fake.oauth2.name = "account-2", "Countess"
    window.press("Reconnect" if kind == "different" else "Connect Fake")
    assert "Is this the right account?" in window.text
    window.examine(f"parked-{kind}")


def test_the_page_while_another_request_is_at_it(window: Window, provider: Provider, user: User) -> None:
    import hashlib

    AuthorizationRequest.objects.create(
        id=uuid.uuid4(), provider=provider, user=user, taken_at=timezone.now(),
        state_hash=hashlib.sha256(b"other-window").hexdigest(), expires_at=timezone.now() + timedelta(minutes=5),
    )  # fmt: skip
    window.open("/oauth/callback/fake/?code=x&state=other-window")
    assert "Almost done" in window.text
    window.examine("in-progress")


@pytest.mark.parametrize("hands", HANDS)
def test_the_page_that_shows_a_code_for_another_device(
    hands: str, window_for: Callable[..., Window], user: User, fake: FakeProvider
) -> None:
    window = window_for(user, by_keyboard=hands == "keyboard")
    fake.oauth2.device_interval = 60  # no page may move on while it is examined
    make_provider(fake, device_authorization_endpoint=f"{fake.url}/device", offers_device_flow=True)
    window.open("/oauth/")
    window.examine("connections-device")
    window.press("Connect Fake with another device")
    (device,) = fake.oauth2.devices.values()
    assert device.user_code in window.text
    assert window.page.get_by_role("img", name="QR code").is_visible()
    window.examine("device")
    AuthorizationRequest.objects.update(next_poll_at=DatabaseNow() + timedelta(seconds=4))
    window.press("Look now")
    assert device.user_code in window.text
    fake.oauth2.decide(device.user_code)
    window.page.wait_for_url("**/oauth/", timeout=60_000)  # it looks by itself
    assert "Working." in window.text


@pytest.mark.parametrize("hands", HANDS)
def test_a_code_for_another_device_is_cancelled(
    hands: str, window_for: Callable[..., Window], user: User, fake: FakeProvider
) -> None:
    make_provider(fake, device_authorization_endpoint=f"{fake.url}/device", offers_device_flow=True)
    window = window_for(user, by_keyboard=hands == "keyboard")
    window.open("/oauth/")
    window.press("Connect Fake with another device")
    window.press("Cancel")
    assert "No account is connected yet." in window.text


def test_the_page_of_a_misconfigured_provider(window: Window, fake: FakeProvider) -> None:
    make_provider(fake, token_endpoint_auth_method="client_secret_basic", authorization_endpoint="ftp://x")
    window.open("/oauth/")
    window.press("Connect Fake")
    assert "not set up correctly" in window.text
    window.examine("misconfigured")


def test_the_page_that_moves_on_where_forms_are_restricted(
    window: Window, provider: Provider, fake: FakeProvider, settings: SettingsWrapper
) -> None:
    settings.SECURE_CSP = {"form-action": ["'self'"]}
    window.page.route(f"{fake.url}/**", lambda route: route.fulfill(status=204))
    window.open("/oauth/")
    window.press("Connect Fake")
    window.page.get_by_role("link", name="Continue at Fake").wait_for()  # an empty answer keeps the page where it is
    window.examine("leaving")
