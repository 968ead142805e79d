"""Who has a connection: the user who consented, or an organisation on whose behalf they did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group, User
from django.db.models.signals import post_save, pre_save

from django_oauth_flows import flows
from django_oauth_flows.exceptions import AuthorizationError, Disconnected
from django_oauth_flows.models import Connection
from django_oauth_flows.testing.factories import consent, make_connection, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


def members_manage(user: Any, action: str, target: Any) -> bool:
    """Let members of a group manage what the group has, and everybody use every provider."""
    if isinstance(target, Group):
        return bool(user.groups.filter(pk=target.pk).exists())
    if isinstance(target, Connection) and target.owner_model == "auth.group":
        return bool(user.groups.filter(pk=target.owner_id).exists())
    if isinstance(target, Connection):
        return bool(target.owner_id == str(user.pk))
    return bool(not isinstance(target, User) or target.pk == user.pk)


@pytest.fixture
def team(settings: Any, user: User) -> Group:
    """Return an organisation that ``user`` belongs to."""
    settings.OAUTH_FLOWS = {
        **settings.OAUTH_FLOWS,
        "OWNER_MODELS": ["auth.Group"],
        "OWNER_POLICY": f"{__name__}.members_manage",
    }
    group = Group.objects.create(name="team")
    user.groups.add(group)
    return group


def connect_for(owner: Any, user: User, provider: Provider) -> Connection:
    """Walk the dance on behalf of ``owner`` with the verbs alone, as a host with views of its own would."""
    from urllib.parse import parse_qsl, urlsplit

    who = {"user": user, "session_auth_hash": user.get_session_auth_hash()}
    started = flows.start_authorization(provider, owner=owner, **who)
    params = parse_qsl(urlsplit(consent(started.authorization_url)).query)
    cookies = {started.cookie.name: started.cookie.value.reveal()}
    completion = flows.complete_authorization(provider.slug, params, cookies=cookies, **who)
    assert completion.connection is not None
    return completion.connection


def test_an_organisation_has_the_connection_and_keeps_it_when_the_consenting_user_leaves(
    team: Group, user: User, provider: Provider
) -> None:
    connection = connect_for(team, user, provider)
    assert (connection.owner_model, connection.owner_id, connection.user) == ("auth.group", str(team.pk), user)
    assert list(Connection.objects.for_owner(team).active("fake")) == [connection]
    assert not Connection.objects.for_owner(user).exists()
    User.objects.update(is_active=False)
    assert flows.access_token(connection)
    user.delete()
    connection.refresh_from_db()
    assert connection.user is None
    assert flows.access_token(connection)


@pytest.mark.security("D08")
def test_a_users_own_connection_stops_with_the_user(connection: Connection, user: User) -> None:
    User.objects.update(is_active=False)
    with pytest.raises(Disconnected) as caught:
        flows.access_token(connection)
    assert caught.value.code == "owner_inactive"


def test_who_does_not_belong_may_neither_connect_nor_see_nor_disconnect(
    team: Group, user: User, provider: Provider, make_user: Callable[..., User], client_for: Callable[..., Client]
) -> None:
    stranger = make_user("eve")
    with pytest.raises(AuthorizationError) as caught:
        connect_for(team, stranger, provider)
    assert caught.value.code == "not_allowed"
    connection = connect_for(team, user, provider)
    eve, ada = client_for(stranger), client_for(user)
    assert eve.post(f"/oauth/connections/{connection.pk}/disconnect/").status_code == 404
    assert b"Ada Lovelace" not in eve.get("/oauth/").content
    assert b"Ada Lovelace" in ada.get("/oauth/").content
    assert ada.post(f"/oauth/connections/{connection.pk}/disconnect/").status_code == 303


def test_what_is_not_listed_may_not_own(user: User, provider: Provider, fake: FakeProvider) -> None:
    group = Group.objects.create(name="unlisted")
    with pytest.raises(ValueError, match="OWNER_MODELS"):
        make_connection(provider, group, fake)
    with pytest.raises(ValueError, match="saved"):
        make_connection(provider, User(username="new"), fake)


def test_connecting_and_calling_never_saves_the_hosts_user(browser: Client, provider: Provider, user: User) -> None:
    saved: list[str] = []

    def listen(sender: Any, **_: Any) -> None:
        saved.append(sender.__name__)

    for signal in (pre_save, post_save):
        signal.connect(listen, sender=User)
    try:
        walk(browser, provider)
        with flows.session(user.oauth_connections.get()) as http:
            http.get("/echo")
        flows.revoke(user.oauth_connections.get(), actor=user)
    finally:
        for signal in (pre_save, post_save):
            signal.disconnect(listen, sender=User)
    assert saved == []
