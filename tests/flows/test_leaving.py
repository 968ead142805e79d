"""Nothing of a grant is left behind when its user, its owner or its connection is deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.db import router
from django.db.models.signals import pre_delete

from django_oauth_flows import flows
from django_oauth_flows.flows.leaving import connect_receivers
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider, Revocation, Token
from django_oauth_flows.testing.factories import answer, consent, make_connection, make_provider, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def provider(fake: FakeProvider, db: None) -> Provider:
    """Return a provider whose tokens stand alone: what is discarded is revoked."""
    return make_provider(fake, revocation_effect="token")


@pytest.fixture
def member() -> Iterator[type[User]]:
    """Return a proxy of the user model, as a site has it for a page of its own in the admin."""

    class Member(User):
        class Meta:
            proxy = True
            app_label = "auth"

    apps.clear_cache()
    connect_receivers()
    yield Member
    apps.all_models["auth"].pop("member")
    apps.clear_cache()


@pytest.mark.security("D08")
@pytest.mark.parametrize("how", ["instance", "query set"])
def test_a_grant_that_waits_for_a_yes_is_given_back_when_its_user_is_deleted(
    how: str, provider: Provider, fake: FakeProvider, browser: Client, user: User, make_user: Callable[..., User]
) -> None:
    make_connection(provider, make_user("bob"), fake)
    walk(browser, provider)
    assert AuthorizationRequest.objects.get().outcome == "parked"
    if how == "instance":
        user.delete()
    else:
        User.objects.filter(pk=user.pk).delete()
    assert not AuthorizationRequest.objects.exists()
    assert Revocation.objects.get().outcome == "revoked"
    assert [grant.alive for grant in fake.oauth2.grants] == [True, False]


@pytest.mark.security("D08")
@pytest.mark.parametrize("who", ["connection", "owner"])
def test_a_grant_that_waits_to_replace_another_is_given_back_with_it(
    who: str, provider: Provider, connection: Connection, fake: FakeProvider, browser: Client, user: User
) -> None:
    fake.oauth2.subject = "account-2"
    answer(browser, consent(browser.post(f"/oauth/connections/{connection.pk}/reconnect/")["Location"]))
    assert AuthorizationRequest.objects.get().outcome == "parked"
    (connection if who == "connection" else user).delete()
    assert not Connection.objects.exists()
    assert not Token.objects.exists()
    assert [grant.alive for grant in fake.oauth2.grants] == [False, False]
    assert list(Revocation.objects.values_list("outcome", flat=True)) == ["revoked", "revoked"]


@pytest.mark.security("D08")
def test_a_connection_that_is_deleted_is_revoked_first(connection: Connection, fake: FakeProvider) -> None:
    Connection.objects.filter(pk=connection.pk).delete()
    row = Revocation.objects.get()
    assert (row.reason, row.outcome, row.connection) == ("deleted", "revoked", None)
    assert not fake.oauth2.grants[0].alive


@pytest.mark.security("D08")
def test_a_user_deleted_through_a_proxy_leaves_nothing_behind(
    member: type[User], connection: Connection, user: User, fake: FakeProvider
) -> None:
    member.objects.get(pk=user.pk).delete()
    assert not Connection.objects.exists()
    assert not fake.oauth2.grants[0].alive


def test_a_proxy_counts_as_the_model_that_it_stands_for(
    member: type[User], provider: Provider, user: User, fake: FakeProvider, settings: Any
) -> None:
    proxy = member.objects.get(pk=user.pk)
    mine = make_connection(provider, proxy, fake)
    assert (mine.owner_model, mine.user_id) == ("auth.user", user.pk)
    assert list(Connection.objects.for_owner(proxy)) == [mine]
    started = flows.start_authorization(
        provider, user=proxy, session_auth_hash="x", reconnect=mine, site_url="http://testserver"
    )
    assert started.authorization_url
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "OWNER_MODELS": ["auth.Member"]}
    assert flows.transfer(mine, to=proxy).owner_model == "auth.user"


class Replica:
    """A router of a site that reads our tables from a replica."""

    def db_for_read(self, model: Any, **_: Any) -> str | None:
        return "replica" if model._meta.app_label == "oauth_flows" else None

    def db_for_write(self, model: Any, **_: Any) -> str:
        return "default"


@pytest.mark.security("D03")
def test_what_decides_a_write_is_read_where_it_is_written(
    provider: Provider, user: User, fake: FakeProvider, settings: Any
) -> None:
    """There is no replica: whatever is read from it raises."""
    mine, theirs = make_connection(provider, user, fake), make_connection(provider, user, fake, subject="account-2")
    settings.DATABASE_ROUTERS = [Replica()]
    assert router.db_for_read(Connection) == "replica"
    assert flows.revoke(mine) == "revoked"
    assert flows.import_connection(provider, user, access_token="abc", subject="account-2").pk == theirs.pk
    assert flows.work_off_revocations() == 0
    assert flows.drop_expired_parked() == 0
    user.delete()
    assert not Token.objects.using("default").exists()


@pytest.mark.security("D08")
def test_an_owner_in_another_database_takes_its_connections_along(
    provider: Provider, user: User, fake: FakeProvider, settings: Any
) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "OWNER_MODELS": ["auth.Group"]}
    connect_receivers()
    team = Group.objects.create(name="team")
    make_connection(provider, team, fake, user=user)
    pre_delete.send(sender=Group, instance=team, using="another", origin=team)
    assert not Connection.objects.exists()
    assert not fake.oauth2.grants[0].alive


@pytest.mark.security("M09", "D08")
def test_a_provider_is_not_deleted_while_a_grant_waits_for_a_yes(
    provider: Provider,
    fake: FakeProvider,
    browser: Client,
    make_user: Callable[..., User],
    client_for: Callable[[User], Client],
) -> None:
    bob, root = make_user("bob"), client_for(make_user("root", is_staff=True, is_superuser=True))
    flows.revoke(make_connection(provider, bob, fake))
    make_connection(provider, bob, fake)
    page = walk(browser, provider)["Location"]
    flows.revoke(Connection.objects.get())
    Provider.objects.update(enabled=False)
    delete = f"/admin/oauth_flows/provider/{provider.pk}/delete/"
    assert root.post(delete, {"post": "yes"}).status_code == 403
    browser.post(page, {"action": "drop"})
    assert not any(grant.alive for grant in fake.oauth2.grants)
    assert root.post(delete, {"post": "yes"}).status_code == 302
