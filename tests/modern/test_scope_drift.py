"""The site has come to need more than it did: whose connections lack it, and how their owners are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core.exceptions import ValidationError
from django.db import connection as database
from django.http import HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from django_oauth_flows import flows
from django_oauth_flows.admin import searching
from django_oauth_flows.decorators import connection_required
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.testing.factories import answer, begin, consent, make_connection, make_provider

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.http import HttpRequest
    from django.test import Client
    from pytest_django import DjangoAssertNumQueries

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def outgrown(provider: Provider, connection: Connection) -> Connection:
    """Return a connection from before the site came to require another scope."""
    Provider.objects.filter(pk=provider.pk).update(required_scopes=("write",))
    provider.refresh_from_db()
    found: Connection = Connection.objects.select_related("provider").get(pk=connection.pk)
    return found


def test_the_affected_are_those_that_lack_one_of_the_required(
    outgrown: Connection,
    provider: Provider,
    fake: FakeProvider,
    make_user: Callable[..., User],
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    enough = make_connection(provider, make_user("b"), fake, subject="b", scopes=("read", "write"))
    similar = make_connection(provider, make_user("c"), fake, subject="c", scopes=("read", "write:more"))
    gone = make_connection(provider, make_user("d"), fake, subject="d", scopes=("read",))
    Connection.objects.filter(pk=gone.pk).update(status="revoked")
    elsewhere = make_connection(make_provider(fake, slug="other"), make_user("e"), fake, scopes=("read",))
    flows.client_session(provider, scopes=["read"])  # the site's own token asks for what each call needs
    with django_assert_num_queries(2):
        affected = set(flows.lacking_required_scopes())
    assert affected == {outgrown, similar}
    assert set(flows.lacking_required_scopes(provider)) == affected
    assert not flows.lacking_required_scopes(elsewhere.provider)
    assert enough not in affected


def test_staff_filter_the_affected_and_see_what_they_lack(outgrown: Connection, admin_client: Client) -> None:
    other = Connection.objects.exclude(pk=outgrown.pk)
    page = admin_client.get("/admin/oauth_flows/connection/?required_scopes=lacking")
    assert [row.pk for row in page.context["cl"].queryset] == [outgrown.pk]
    assert not other.exists()
    Connection.objects.update(granted_scopes=("read", "write"))
    page = admin_client.get("/admin/oauth_flows/connection/?required_scopes=lacking")
    assert not page.context["cl"].queryset
    Connection.objects.update(granted_scopes=("read",))
    change = admin_client.get(f"/admin/oauth_flows/connection/{outgrown.pk}/change/").content.decode()
    assert "lacks of what is required" in change.lower()


@pytest.mark.parametrize("sets", [3, searching.MOST_LOOKS + 1])
def test_the_filter_finds_them_whatever_else_was_granted(
    sets: int, outgrown: Connection, provider: Provider, fake: FakeProvider, make_user: Callable[..., User], admin_client: Client
) -> None:  # fmt: skip
    long = " ".join(f"https://api.example/scope/{number}" for number in range(20))
    lacking = ("", "Write", "write:more", long)
    granted = [*lacking, "write", f"write {long}", f"{long} write", *(f"write {number}" for number in range(sets))]
    others = [make_connection(provider, make_user(f"u{n}"), fake, subject=str(n)) for n in range(len(granted))]
    for other, scopes in zip(others, granted, strict=True):
        Connection.objects.filter(pk=other.pk).update(granted_scopes=scopes)
    page = admin_client.get("/admin/oauth_flows/connection/?required_scopes=lacking")
    assert {row.pk for row in page.context["cl"].queryset} == {
        outgrown.pk,
        *(row.pk for row in others[: len(lacking)]),
    }


def test_the_filter_looks_up_so_many_sets_of_scopes_and_no_more(
    outgrown: Connection, user: User, fake: FakeProvider, admin_client: Client
) -> None:
    for number in range(4):
        provider = make_provider(fake, slug=f"with-many-{number}", required_scopes=("write",))
        for granted in range(searching.MOST_LOOKS // 4):
            make_connection(provider, user, fake, subject=str(granted), scopes=("write", str(granted)))
    with CaptureQueriesContext(database) as asked:
        page = admin_client.get("/admin/oauth_flows/connection/?required_scopes=lacking")
    looks = sum("LIMIT 1" in query["sql"] and "granted_scopes" in query["sql"] for query in asked)
    assert looks == (searching.MOST_LOOKS if database.vendor == "postgresql" else 0)
    assert [row.pk for row in page.context["cl"].queryset] == [outgrown.pk]


def test_the_owner_is_asked_on_the_page_and_gives_it_with_one_button(
    outgrown: Connection, browser: Client, fake: FakeProvider
) -> None:
    page = browser.get("/oauth/").content.decode()
    assert "oauth-health-outgrown" in page
    assert '<dt>Needed now</dt><dd><ul class="oauth-permissions"><li><code>write</code></li></ul>' in page
    assert flows.session(outgrown).get("echo").status_code == 200  # nothing is taken away meanwhile
    started: Any = browser.post(f"/oauth/connections/{outgrown.pk}/reconnect/")
    assert parse_qs(urlsplit(started["Location"]).query)["scope"] == ["read write"]
    answer(browser, consent(started["Location"]))
    outgrown.refresh_from_db()
    assert outgrown.granted_scopes == ("read", "write")
    assert "oauth-health-working" in browser.get("/oauth/").content.decode()


def test_the_api_says_so(outgrown: Connection, browser: Client) -> None:
    (row,) = browser.get("/api/oauth/v1/connections/").json()["results"]
    assert (row["health"], row["missing_required_scopes"]) == ("outgrown", ["write"])


def test_views_that_need_a_connection_ask_first(outgrown: Connection, browser: Client, user: User) -> None:
    @connection_required("fake")
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("in")

    request: Any = RequestFactory().get("/view/")
    request.user = user
    detour = view(request)
    assert detour.status_code == 302
    query = parse_qs(urlsplit(detour["Location"]).query)
    assert query == {"scopes": ["read write"], "next": ["/view/"]}
    confirm = browser.get(detour["Location"]).content.decode()
    assert "<code>write</code> (not granted so far)" in confirm
    Connection.objects.update(granted_scopes=("read", "write"))
    assert view(request).content == b"in"


def test_what_is_required_is_asked_for_whatever_else_is(
    outgrown: Connection, browser: Client, provider: Provider
) -> None:
    assert "write" in browser.get("/oauth/connect/fake/confirm/").content.decode()
    for form in ({}, {"scopes": "read"}):
        assert begin(browser, provider, **form)
    started: Any = browser.post("/oauth/connect/fake/", {"scopes": "read"})
    assert parse_qs(urlsplit(started["Location"]).query)["scope"] == ["read write"]


def test_a_required_scope_is_a_scope(provider: Provider) -> None:
    provider.required_scopes = ('wr"ite',)
    with pytest.raises(ValidationError) as caught:
        provider.clean()
    assert list(caught.value.message_dict) == ["required_scopes"]
