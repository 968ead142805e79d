"""The pages in each language: longer words, other scripts, and, looked at by axe-core as well, from right to left."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from django_oauth_flows import flows
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.testing.factories import make_connection, make_provider, shift_expiry
from tests.browser.conftest import WIDTHS
from tests.browser.test_admin_pages import examine

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from django_oauth_flows.testing import FakeProvider
    from tests.browser.conftest import Window

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.django_db(transaction=True)]

SCOPE = "https://www.googleapis.example/auth/drive.readonly"


def speak(window: Window, language: str) -> None:
    """Let the browser ask for pages in ``language``."""
    window.context.set_extra_http_headers({"Accept-Language": language})


@pytest.fixture
def connections(provider: Provider, user: User, fake: FakeProvider, make_user: Callable[..., User]) -> None:
    """Make connections whose entries say nearly everything that the page can say."""

    def connect(label: str, **change: object) -> Connection:
        connection = make_connection(provider, user, fake, subject=label, label=label)
        Connection.objects.filter(pk=connection.pk).update(requested_scopes=("read", SCOPE), **change)  # type: ignore[arg-type]
        return connection

    connect("works", granted_scopes=("read", SCOPE), user=make_user("bob"))
    connect("limited", granted_scopes=(SCOPE,))
    connect("broken", status="reauthorization_required", reason="invalid_grant")
    connect("paused", paused=True)
    Token.objects.filter(connection=connect("failing")).update(failure_count=3)
    ended = connect("ended")
    Token.objects.filter(connection=ended).update(refresh_token=None)
    shift_expiry(ended, timedelta(hours=-1))
    flows.revoke(connect("gone"))


@pytest.mark.parametrize("language", ["ar", "de", "es", "fr", "ja", "pt-br", "zh-hans"])
@pytest.mark.usefixtures("connections")
def test_no_language_is_wider_than_a_phone(window: Window, language: str) -> None:
    speak(window, language)
    page = window.open("/oauth/")
    assert page.get_attribute("html", "lang") == language
    page.set_viewport_size({"width": WIDTHS["phone"], "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert window.said == []


@pytest.mark.usefixtures("connections")
def test_from_right_to_left(window: Window) -> None:
    """What is read first stands on the right; a scope and an account's name keep their own direction."""
    speak(window, "ar")
    page = window.open("/oauth/")
    page.set_viewport_size({"width": 1024, "height": 800})
    assert page.evaluate("getComputedStyle(document.querySelector('.oauth-flows')).direction") == "rtl"
    term, description = page.locator("dl dt").first.bounding_box(), page.locator("dl dd").first.bounding_box()
    assert term is not None
    assert description is not None
    assert term["x"] > description["x"]
    assert page.evaluate("getComputedStyle(document.querySelector('dd code')).direction") == "ltr"
    window.examine("connections-ar")


def test_the_other_pages_from_right_to_left(window: Window, provider: Provider, fake: FakeProvider) -> None:
    speak(window, "ar")
    Provider.objects.update(authorization_endpoint=f"{fake.url}/authorize?shop={{shop}}")
    window.open("/oauth/connect/fake/confirm/?scopes=read+write&next=/notes/&parameter-shop=my..shop")
    window.examine("confirm-ar")
    window.open("/oauth/callback/fake/?code=x&state=y")
    window.examine("refused-ar")


def test_the_page_with_a_code_from_right_to_left(window: Window, fake: FakeProvider) -> None:
    fake.oauth2.device_interval = 60  # no page may move on while it is examined
    make_provider(fake, device_authorization_endpoint=f"{fake.url}/device", offers_device_flow=True)
    speak(window, "ar")
    page = window.open("/oauth/")
    window.press("الاتصال بـ Fake بجهاز آخر")
    for shown in (page.locator("dd a").first, page.locator(".oauth-user-code")):
        assert shown.evaluate("element => getComputedStyle(element).direction") == "ltr"
    window.examine("device-ar")


@pytest.mark.parametrize("path", ["provider/add/", "provider/{provider}/change/", "connection/{pk}/change/"])
def test_the_admin_from_right_to_left(
    path: str, window_for: Callable[[User], Window], make_user: Callable[..., User], connection: Connection
) -> None:
    window = window_for(make_user("root", is_staff=True, is_superuser=True))
    speak(window, "ar")
    page = window.open("/admin/oauth_flows/" + path.format(pk=connection.pk, provider=connection.provider_id))
    assert page.get_attribute("html", "dir") == "rtl"
    examine(window, f"admin-{path.partition('/')[0]}-{path.strip('/').rpartition('/')[2]}-ar")


def test_an_address_reads_from_left_to_right_in_the_admin(
    window_for: Callable[[User], Window], make_user: Callable[..., User], connection: Connection
) -> None:
    Connection.objects.update(label="https://as.example/ada/")
    window = window_for(make_user("root", is_staff=True, is_superuser=True))
    speak(window, "ar")
    page = window.open(f"/admin/oauth_flows/connection/{connection.pk}/change/")
    first, last = page.locator(".field-account .readonly").evaluate(LEFT_EDGES)
    assert first < last


LEFT_EDGES = """element => {
    const text = document.createTreeWalker(element, NodeFilter.SHOW_TEXT).nextNode(), range = document.createRange();
    return [0, text.length - 1].map(place => {
        range.setStart(text, place);
        range.setEnd(text, place + 1);
        return range.getBoundingClientRect().left;
    });
}"""
"""Where the first and the last letter of an element stand on the screen."""
