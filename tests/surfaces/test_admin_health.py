"""A provider's page tells its health: connections by status, refreshes as charts that say the same in words, what ends soon."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_oauth_flows.admin.charts import HEIGHT, WIDTH, Bucket, draw
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.discovering import note
from django_oauth_flows.models import Connection, Provider, RefreshCount, Token
from django_oauth_flows.testing.factories import make_connection
from tests.surfaces.reading import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.admin.provider_health import Health
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def root(make_user: Callable[..., User], client_for: Callable[[User], Client]) -> Client:
    return client_for(make_user("root", is_staff=True, is_superuser=True))


def page_of(provider: Provider) -> str:
    return f"/admin/oauth_flows/provider/{provider.pk}/change/"


def health(client: Client, provider: Provider) -> Health:
    found: Health = client.get(page_of(provider)).context["health"]
    return found


def facts(client: Client, provider: Provider) -> dict[str, str]:
    return {fact.text: fact.level for fact in health(client, provider).facts}


def test_connections_are_counted_by_state_and_lead_to_their_list(
    root: Client, provider: Provider, user: User, fake: FakeProvider
) -> None:
    rows = [make_connection(provider, user, fake, subject=str(number)) for number in range(5)]
    Connection.objects.filter(pk=rows[0].pk).update(paused=True)
    Connection.objects.filter(pk=rows[1].pk).update(status="revoked")
    Connection.objects.filter(pk=rows[2].pk).update(status="reauthorization_required", reason="expired")
    counted = {status.label: status for status in health(root, provider).statuses}
    assert {label: status.count for label, status in counted.items()} == {
        "active": 2, "paused": 1, "needs to be reconnected": 1, "disconnected": 1,
    }  # fmt: skip
    for status in counted.values():
        assert root.get(status.url).context["cl"].result_count == status.count


def test_refreshes_are_drawn_and_told(root: Client, provider: Provider) -> None:
    this_hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    rows = [
        (this_hour, "refreshed", 40), (this_hour, "provider_unreachable", 2), (this_hour, "overtaken", 9),
        (this_hour - timedelta(hours=23), "refreshed", 5), (this_hour - timedelta(days=3), "invalid_client", 7),
        (this_hour - timedelta(days=40), "refreshed", 1000),
    ]  # fmt: skip
    for hour, outcome, count in rows:
        RefreshCount.objects.create(provider=provider, hour=hour, outcome=outcome, count=count)
    found = health(root, provider)
    day, month = found.charts
    assert (day.good, day.bad) == (45, 2)
    assert (month.good, month.bad) == (45, 9)
    assert dict(found.outcomes)["refreshed"] == 45
    page = root.get(page_of(provider)).content.decode()
    assert 'aria-label="Refreshes of the last 24 hours: 45 done above the line, 2 failed below it"' in page
    assert "style=" not in page[page.index("oauth-health") : page.index("</section>")]  # a strict policy drops it


def test_bars_stay_within_the_drawing_and_none_is_too_small_to_see() -> None:
    chart = draw("x", "x", [Bucket("a", 1_000_000, 1), Bucket("b", 0, 3), Bucket("c", 0, 0)])
    assert len(chart.bars) == 3
    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH
        assert 0 <= bar.y <= bar.y + bar.height <= HEIGHT
        assert bar.height >= 2
    assert draw("x", "x", []).bars == ()


def test_what_is_wrong_or_will_be_is_said(root: Client, provider: Provider, user: User, fake: FakeProvider) -> None:
    make_connection(provider, user, fake)
    assert set(facts(root, provider).values()) == {"good"}
    now = timezone.now()
    Provider.objects.update(
        alarm="invalid_client", failure_count=5, circuit_open_until=now + timedelta(minutes=5), paused=True,
        client_secret_expires_at=now + timedelta(days=3), second_client_secret_expires_at=now + timedelta(days=1),
    )  # fmt: skip
    Token.objects.update(refresh_token_expires_at=DatabaseNow() + timedelta(days=10))
    said = facts(root, provider)
    for text, level in (
        ("Paused", "error"), ("refuses the client (invalid_client)", "error"), ("The circuit is open: after 5", "error"),
        ("The client secret expires on", "warning"), ("from before is tried", "good"),
        ("Within 7 days, 0 connections", "good"), ("Within 30 days, 1 connection ", "warning"),
    ):  # fmt: skip
        assert [lv for fact, lv in said.items() if text in fact] == [level], (text, said)
    Provider.objects.update(client_secret_expires_at=now - timedelta(days=1))
    assert any("The client secret expired on" in text for text in facts(root, provider))


def test_what_the_issuer_and_the_catalogue_say_otherwise_is_said(root: Client, provider: Provider) -> None:
    note(
        provider,
        {
            "authorization_endpoint": provider.authorization_endpoint, "token_endpoint": "https://new.example/token",
            "revocation_endpoint": provider.revocation_endpoint, "userinfo_endpoint": provider.userinfo_endpoint,
            "jwks_uri": "", "pushed_authorization_request_endpoint": "",
            "authorization_response_iss_parameter_supported": False,
        },
    )  # fmt: skip
    Provider.objects.update(preset="github")
    said = facts(root, provider)
    assert any("token endpoint is https://new.example/token there" in text for text in said)
    assert any("The catalogue's entry differs in" in text for text in said)


def test_the_page_costs_the_same_however_much_there_is(
    root: Client, provider: Provider, user: User, fake: FakeProvider
) -> None:
    def count() -> int:
        with CaptureQueriesContext(database) as captured:
            root.get(page_of(provider))
        return len(captured)

    count()
    before = count()
    for number in range(5):
        make_connection(provider, user, fake, subject=str(number))
        hour = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=number)
        RefreshCount.objects.create(provider=provider, hour=hour, outcome="refreshed", count=1)
    assert count() == before


@pytest.mark.security("M02")
def test_who_may_only_look_sees_health_and_no_buttons(
    make_user: Callable[..., User], client_for: Callable[[User], Client], provider: Provider
) -> None:
    from django.contrib.auth.models import Permission

    looker = make_user("looker", is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename="view_provider"))
    page = text_of(client_for(looker).get(page_of(provider)))
    assert "Health" in page
    assert "Test connection" not in page
    assert "Save and test" not in page
