"""Views that need a connection: who gets in, where everybody else is sent, and that they come back."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path
from django.views import View

from django_oauth_flows import flows
from django_oauth_flows.decorators import ConnectionRequiredMixin, connection_required
from django_oauth_flows.models import Connection, Provider, Token
from django_oauth_flows.testing.factories import answer, consent, make_connection, shift_expiry
from tests.surfaces.reading import text_of
from tests.urls import urlpatterns as site

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from pytest_django import DjangoAssertNumQueries
    from pytest_django.fixtures import SettingsWrapper

    from django_oauth_flows.testing import FakeProvider

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]


def _say(request: Any, name: str) -> HttpResponse:
    return HttpResponse(f"{name} {request.oauth_connection.pk}")


@connection_required("fake")
def plain(request: HttpRequest, name: str) -> HttpResponse:
    """Say what was found."""
    return _say(request, name)


@connection_required("fake", scopes=["write"])
def writing(request: HttpRequest, name: str) -> HttpResponse:
    """Need more than the provider asks for by default."""
    return _say(request, name)


@connection_required("fake")
async def slowly(request: HttpRequest, name: str) -> HttpResponse:
    """Do the same in a coroutine."""
    return _say(request, name)


class Reader(ConnectionRequiredMixin, View):
    """Do the same in a class."""

    connection_provider = "fake"
    connection_scopes = ("read",)

    def get(self, request: HttpRequest, name: str) -> HttpResponse:
        """Say what was found."""
        return _say(request, name)


class SlowReader(ConnectionRequiredMixin, View):
    """Do the same in a class of coroutines."""

    connection_provider = "fake"

    async def get(self, request: HttpRequest, name: str) -> HttpResponse:
        """Say what was found."""
        return _say(request, name)


class SlowPlain(View):
    """A class of coroutines that knows nothing of connections."""

    async def get(self, request: HttpRequest, name: str) -> HttpResponse:
        """Say what was found."""
        return _say(request, name)


@connection_required("nosuch")
def nowhere(request: HttpRequest, name: str) -> HttpResponse:
    """Need a provider that does not exist."""
    return _say(request, name)


urlpatterns = [
    *site,
    path("plain/<name>/", plain),
    path("writing/<name>/", writing),
    path("slowly/<name>/", slowly),
    path("class/<name>/", Reader.as_view()),
    path("slow-class/<name>/", SlowReader.as_view()),
    path("slow-plain/<name>/", connection_required("fake")(SlowPlain.as_view())),
    path("nowhere/<name>/", nowhere),
    path("i18n/", include("django.conf.urls.i18n")),
]

ALL = ["plain", "slowly", "class", "slow-class", "slow-plain"]


@pytest.mark.parametrize("view", ALL)
def test_a_usable_connection_is_on_the_request(view: str, browser: Client, connection: Connection) -> None:
    assert browser.get(f"/{view}/x/").content.decode() == f"x {connection.pk}"


@pytest.mark.parametrize("view", ["slowly", "slow-class", "slow-plain", "plain"])
def test_it_works_under_asgi(view: str, user: User, connection: Connection) -> None:
    from asgiref.sync import async_to_sync

    async def fetch() -> Any:
        client = AsyncClient()
        await client.aforce_login(user)
        return await client.get(f"/{view}/x/")

    assert async_to_sync(fetch)().content.decode() == f"x {connection.pk}"


@pytest.mark.parametrize("view", ALL)
def test_anonymous_users_log_in_first_and_come_back(view: str, provider: Provider) -> None:
    response = Client().get(f"/{view}/x/?page=2")
    assert (response.status_code, response["Location"]) == (302, f"/accounts/login/?next=/{view}/x/%3Fpage%3D2")


def test_an_anonymous_post_does_not_come_back_as_a_get(provider: Provider) -> None:
    assert Client().post("/plain/x/")["Location"] == "/accounts/login/?next=/oauth/"


@pytest.mark.parametrize("view", ALL)
def test_users_without_a_connection_are_sent_to_connect_and_back(
    view: str, browser: Client, provider: Provider, user: User
) -> None:
    detour = browser.get(f"/{view}/x/?page=2")
    target = urlsplit(detour["Location"])
    assert target.path == "/oauth/connect/fake/confirm/"
    assert parse_qs(target.query)["next"] == [f"/{view}/x/?page=2"]
    page = browser.get(detour["Location"])
    fields = {name: page.context[name] for name in ("next",)} | {"scopes": " ".join(page.context["scopes"])}
    started = browser.post("/oauth/connect/fake/", fields)
    back = answer(browser, consent(started["Location"]))
    assert back["Location"] == f"/{view}/x/?page=2"
    assert browser.get(back["Location"]).content.decode() == f"x {user.oauth_connections.get().pk}"


def test_a_request_that_changes_something_comes_back_to_a_safe_page(browser: Client, provider: Provider) -> None:
    detour = browser.post("/plain/x/", {"amount": "100"})
    assert detour["Location"] == "/oauth/connect/fake/confirm/"


def test_missing_scopes_are_asked_for_beside_those_there_are(
    browser: Client, provider: Provider, connection: Connection
) -> None:
    Connection.objects.update(requested_scopes=("read",), granted_scopes=("read",))
    detour = browser.get("/writing/x/")
    assert parse_qs(urlsplit(detour["Location"]).query)["scopes"] == ["read write"]
    started = browser.post("/oauth/connect/fake/", {"scopes": "read write", "next": "/writing/x/"})
    answer(browser, consent(started["Location"]))
    assert browser.get("/writing/x/").content.decode() == f"x {connection.pk}"


def test_of_several_accounts_one_that_has_the_scopes_is_found(
    browser: Client, provider: Provider, user: User, fake: FakeProvider
) -> None:
    wide = make_connection(provider, user, fake, subject="a", scopes=("read", "write"))
    narrow = make_connection(provider, user, fake, subject="b", scopes=("read",))
    assert browser.get("/writing/x/").content.decode() == f"x {wide.pk}"
    assert browser.get("/plain/x/").content.decode() == f"x {narrow.pk}"  # the newest


@pytest.mark.parametrize("change", [{"status": "reauthorization_required", "reason": "expired"}, {"status": "revoked"}])
def test_an_unusable_connection_is_none(change: dict[str, Any], browser: Client, connection: Connection) -> None:
    Connection.objects.update(**change)
    assert browser.get("/plain/x/").status_code == 302


@pytest.mark.parametrize("view", ALL)
def test_an_expired_connection_that_cannot_be_renewed_is_none(
    view: str, browser: Client, connection: Connection
) -> None:
    shift_expiry(connection, timedelta(hours=-1))
    assert browser.get(f"/{view}/x/").status_code == 200
    Token.objects.update(refresh_token=None)
    detour = browser.get(f"/{view}/x/")
    assert (detour.status_code, urlsplit(detour["Location"]).path) == (302, "/oauth/connect/fake/confirm/")
    shift_expiry(connection, timedelta(hours=1))
    assert browser.get(f"/{view}/x/").status_code == 200


def test_of_several_accounts_one_that_has_not_ended_is_found(
    browser: Client, provider: Provider, user: User, fake: FakeProvider
) -> None:
    lasting = make_connection(provider, user, fake, subject="a")
    ended = make_connection(provider, user, fake, subject="b", expires_in=timedelta(hours=-1))
    Token.objects.filter(connection=ended).update(refresh_token=None)
    assert browser.get("/plain/x/").content.decode() == f"x {lasting.pk}"


@pytest.mark.parametrize("view", ALL)
@pytest.mark.parametrize("change", [{"enabled": False}, {"paused": True}])
def test_where_nobody_can_connect_now_an_error_page_says_so(
    change: dict[str, Any], view: str, browser: Client, provider: Provider
) -> None:
    Provider.objects.update(**change)
    page = browser.get(f"/{view}/x/")
    assert page.status_code == 400
    assert "This service accepts no new connections on this site." in text_of(page)
    assert "<code>provider_disabled</code>" in page.content.decode()
    assert page["Cache-Control"] == "no-store, private"


def test_who_is_connected_where_no_new_connections_are_accepted_gets_in(
    browser: Client, connection: Connection
) -> None:
    Provider.objects.update(enabled=False)
    assert browser.get("/plain/x/").status_code == 200


def test_who_is_connected_where_staff_have_paused_the_service_is_told(browser: Client, connection: Connection) -> None:
    Provider.objects.update(paused=True)
    page = browser.get("/plain/x/")
    assert page.status_code == 400
    assert "have paused this service" in text_of(page)
    assert "<code>paused</code>" in page.content.decode()


@pytest.mark.parametrize("view", ALL)
def test_who_has_paused_their_only_connection_is_led_to_where_they_resume_it(
    view: str, browser: Client, connection: Connection, provider: Provider, user: User, fake: FakeProvider
) -> None:
    flows.pause(connection)
    page = browser.get(f"/{view}/x/")
    assert page.status_code == 400
    assert "You have paused this account" in text_of(page)
    assert 'href="/oauth/"' in page.content.decode()
    make_connection(provider, user, fake, subject="another")
    assert browser.get(f"/{view}/x/").status_code == 200


def nobody(user: Any, action: str, target: Any) -> bool:
    """Allow nothing."""
    return False


@pytest.mark.security("A03")
def test_a_disabled_provider_that_the_policy_keeps_from_the_user_does_not_exist(
    browser: Client, provider: Provider, settings: SettingsWrapper
) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "OWNER_POLICY": f"{__name__}.nobody"}
    Provider.objects.update(enabled=False)
    assert browser.get("/plain/x/", follow=True).status_code == 404


@pytest.mark.security("P01")
def test_somebody_elses_connection_is_none(
    connection: Connection, make_user: Callable[..., User], client_for: Callable[[User], Client]
) -> None:
    assert client_for(make_user("eve")).get("/plain/x/").status_code == 302


def test_an_unknown_provider_ends_in_a_404(browser: Client, db: None) -> None:
    detour = browser.get("/nowhere/x/")
    assert browser.get(detour["Location"]).status_code == 404


def test_a_connected_user_costs_one_query_beside_the_login(
    browser: Client, connection: Connection, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(3):  # session, user, connection
        assert browser.get("/plain/x/").status_code == 200


def test_the_decorated_view_keeps_its_name_and_text() -> None:
    assert (plain.__name__, plain.__doc__) == ("plain", "Say what was found.")
