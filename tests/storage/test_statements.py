"""Statements that are compiled once do exactly what Django's own would, on every database and thread."""

from __future__ import annotations

import threading
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import IntegrityError, connections, transaction
from django.db import connection as database
from django.db.models import F, IntegerField, Value
from django.db.models.signals import post_init, post_save
from django.test.utils import CaptureQueriesContext

from django_oauth_flows import flows
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.snapshot import read
from django_oauth_flows.models import AuthorizationRequest, Connection, ConnectionEvent, Provider, Token
from django_oauth_flows.statements import AtOnce, Insert, Select, Slot, Update

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.db.models import Model
    from pytest_django.fixtures import DjangoAssertNumQueries

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db


def values(instance: Model) -> dict[str, Any]:
    return {field.attname: getattr(instance, field.attname) for field in instance._meta.concrete_fields}


@pytest.fixture
def busy(connection: Connection) -> Connection:
    """Return a connection whose row, provider and token have a value of every type."""
    connection.parameters = {"shop": "ü"}
    connection.save()
    Provider.objects.update(dialect={"token_parameters": {"a": "b"}}, api_hosts=["api.example"], reuse_grace=30)
    Token.objects.update(
        extra={"kept": [1, None]},
        lease_owner=uuid.uuid4(),
        lease_expires_at=datetime.fromisoformat("2030-01-01T00:00Z"),
    )
    return connection


def test_it_reads_every_column_of_token_connection_and_provider(
    busy: Connection, user: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    expected = Token.objects.select_related("connection__provider", "connection__user").get()
    with django_assert_num_queries(1):
        snapshot = read(busy.pk)
        token, now = snapshot.token, snapshot.now
        assert values(token) == values(expected)
        assert values(token.connection) == values(expected.connection)
        assert values(token.connection.provider) == values(expected.connection.provider)
        assert token.connection.user == user
        assert token.connection.user.is_active
    assert now.tzinfo is not None
    assert (token._state.db, token._state.adding) == ("default", False)
    assert {type(value) for value in values(token).values()} == {type(value) for value in values(expected).values()}


def test_who_listens_to_instances_being_made_hears_of_each(connection: Connection) -> None:
    heard: list[Any] = []
    post_init.connect(listen := lambda instance, **_: heard.append(instance.pk), sender=Provider)
    try:
        assert heard == []
        assert read(connection.pk).provider.pk in heard
    finally:
        post_init.disconnect(listen, sender=Provider)


def test_the_rest_of_the_user_is_read_when_asked_for(
    connection: Connection, user: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    token = read(connection.pk).token
    assert "password" not in token.connection.user.__dict__
    with django_assert_num_queries(1):
        assert token.connection.user.username == user.username


def test_a_related_row_that_is_not_there_is_none(connection: Connection) -> None:
    Connection.objects.update(user=None)
    assert read(connection.pk).token.connection.user is None


def test_a_reverse_one_to_one_is_in_place_on_both_sides(
    connection: Connection, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with_token = Select(lambda: Connection.objects.filter(pk=Slot("id")), related=("token",))
    found = with_token.first(using="default", id=connection.pk)
    assert found is not None
    with django_assert_num_queries(0):
        assert found.token.connection is found
    Token.objects.all().delete()
    found = with_token.first(using="default", id=connection.pk)
    assert found is not None
    assert not hasattr(found, "token")
    assert with_token.first(using="default", id=uuid.uuid4()) is None


def test_rows_keep_their_order_and_limit(provider: Provider) -> None:
    for number in range(5):
        Provider.objects.create(slug=f"p{number}", name="x", client_id="c", token_endpoint="https://a/t")
    last = Select(lambda: Provider.objects.filter(name=Slot("name")).order_by("-slug"), limit=2)
    assert [row.slug for row in last.rows(using="default", name="x")] == ["p4", "p3"]
    assert last.rows(using="default", name="y") == []


class NeverNull(IntegerField):  # type: ignore[type-arg]
    """A field of a site's own that cannot read NULL, which it never holds."""

    def from_db_value(self, value: Any, *_: Any) -> int:
        return int(str(value))


def test_a_field_that_cannot_read_null_is_read(provider: Provider) -> None:
    numbered = Select(lambda: Provider.objects.annotate(number=Value(7, output_field=NeverNull())))
    found: Any = numbered.first(using="default")
    assert found.number == 7


def test_an_update_sets_values_and_expressions_and_counts(connection: Connection) -> None:
    bump = Update(
        lambda: (
            Token.objects.filter(connection=Slot("connection_id"), generation=Slot("generation", "seen")),
            {"extra": Slot("extra"), "generation": F("generation") + 1, "not_before": DatabaseNow()},
        )
    )
    given = {"connection_id": connection.pk, "extra": {"a": ["ü"]}}
    assert bump.run(using="default", seen=1, **given) == 1
    assert bump.run(using="default", seen=1, **given) == 0
    token = Token.objects.get()
    assert (token.generation, token.extra) == (2, {"a": ["ü"]})
    assert token.not_before is not None


def a_request(user: User, provider: Provider, **columns: Any) -> AuthorizationRequest:
    usual = {"state_hash": uuid.uuid4().hex, "owner_model": "auth.user", "owner_id": str(user.pk), "next_url": "/ü"}
    return AuthorizationRequest(
        id=uuid.uuid4(),
        user=user,
        provider=provider,
        requested_scopes=("a", "b"),
        parameters={"x": 1},
        **usual,
        **columns,
    )


def test_an_insert_writes_what_save_would_write(user: User, provider: Provider) -> None:
    expires = datetime.fromisoformat("2030-01-01T00:00Z")
    saved, inserted = a_request(user, provider, expires_at=expires), a_request(user, provider, expires_at=expires)
    saved.save(force_insert=True)
    Insert[AuthorizationRequest]().run(inserted)
    assert (inserted._state.adding, inserted._state.db) == (False, "default")
    assert inserted.created_at is not None
    rows = [values(AuthorizationRequest.objects.get(pk=request.pk)) for request in (saved, inserted)]
    different = {name for name in rows[0] if rows[0][name] != rows[1][name]}
    assert different == {"id", "state_hash", "created_at"}


def test_an_insert_can_leave_a_column_to_the_database(user: User, provider: Provider) -> None:
    insert = Insert[AuthorizationRequest](expires_at=DatabaseNow() + timedelta(minutes=10))
    request = a_request(user, provider)
    insert.run(request)
    left = AuthorizationRequest.objects.annotate(left=F("expires_at") - DatabaseNow()).get(pk=request.pk).left
    assert timedelta(minutes=9) < left <= timedelta(minutes=10)


def test_a_key_that_the_database_makes_is_left_to_it(connection: Connection) -> None:
    before = ConnectionEvent.objects.count()
    insert = Insert[ConnectionEvent]()
    for _ in range(2):
        insert.run(ConnectionEvent(provider=connection.provider, connection=connection, kind="paused"))
    assert ConnectionEvent.objects.filter(kind="paused").count() == 2
    assert ConnectionEvent.objects.count() == before + 2


def test_who_listens_to_saving_hears_it_with_everything_in_place(connection: Connection) -> None:
    heard: list[Any] = []

    def listen(instance: ConnectionEvent, **facts: Any) -> None:
        heard.append((instance.pk, facts["created"]))

    post_save.connect(listen, sender=ConnectionEvent)
    try:
        Insert[ConnectionEvent]().run(ConnectionEvent(provider=connection.provider, kind="paused"))
    finally:
        post_save.disconnect(listen, sender=ConnectionEvent)
    assert heard == [(ConnectionEvent.objects.get(kind="paused").pk, True)]


def test_a_refused_insert_breaks_the_transaction_as_djangos_does(connection: Connection) -> None:
    twin = Token(id=uuid.uuid4(), connection=connection, provider=connection.provider)
    with pytest.raises(IntegrityError), transaction.atomic():
        Insert[Token]().run(twin)
    assert Token.objects.count() == 1


_OF_USER = Select(lambda: AuthorizationRequest.objects.filter(user=Slot("user_id")).order_by(), limit=1)


def test_an_insert_is_left_undone_if_its_condition_finds_a_row(user: User, provider: Provider) -> None:
    insert = Insert[AuthorizationRequest](expires_at=DatabaseNow())
    first, second = a_request(user, provider), a_request(user, provider)

    def save(request: AuthorizationRequest) -> bool:
        return insert.run(request, unless=_OF_USER.bound(using="default", user_id=user.pk))

    assert (save(first), save(second)) == (True, False)
    assert (first._state.adding, second._state.adding) == (False, True)
    assert AuthorizationRequest.objects.get().pk == first.pk


def test_who_listens_hears_of_an_insert_with_a_condition_only_if_it_is_done(user: User, provider: Provider) -> None:
    heard: list[Any] = []
    post_save.connect(listen := lambda instance, **_: heard.append(instance.pk), sender=AuthorizationRequest)
    insert = Insert[AuthorizationRequest](expires_at=DatabaseNow())
    requests = [a_request(user, provider) for _ in range(2)]
    try:
        for request in requests:
            insert.run(request, unless=_OF_USER.bound(using="default", user_id=user.pk))
    finally:
        post_save.disconnect(listen, sender=AuthorizationRequest)
    assert heard == [requests[0].pk]


at_once_only = pytest.mark.skipif(
    "database.vendor != 'postgresql'", reason="PostgreSQL takes several statements as one"
)


def several(user: User, provider: Provider, *requests: AuthorizationRequest) -> AtOnce:
    """Return an AtOnce that inserts ``requests`` and renames the provider."""
    at_once = AtOnce(using="default")
    insert = Insert[AuthorizationRequest](expires_at=DatabaseNow())
    for request in requests:
        at_once.insert(insert, request)
    rename = Update(lambda: (Provider.objects.filter(pk=Slot("id")), {"name": Slot("name")}))
    at_once.update(rename, id=provider.pk, name="100 % renamed")
    return at_once


def written_by_a_dance_begun(user: User, provider: Provider) -> list[str]:
    """Start an authorization and take it, each by the statement of ours; return the SQL."""
    with CaptureQueriesContext(database) as captured:
        flows.start_authorization(provider, user=user, session_auth_hash="hash", site_url="https://site.example")
        assert AuthorizationRequest.objects.take(AuthorizationRequest.objects.get())
    return [query["sql"] for query in captured if query["sql"].startswith(("INSERT", "UPDATE"))]


@at_once_only
@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_the_disk_for_what_a_crash_may_undo(user: User, provider: Provider) -> None:
    started, taken = written_by_a_dance_begun(user, provider)
    assert "synchronous_commit" in started
    assert "synchronous_commit" not in taken, "a code is sent once, whatever crashes"


@at_once_only
def test_a_callers_transaction_is_on_disk_when_it_is_committed(user: User, provider: Provider) -> None:
    assert len(written_by_a_dance_begun(user, provider)) == 2
    with database.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        assert cursor.fetchone() == ("on",)


@at_once_only
def test_several_statements_are_one(user: User, provider: Provider, django_assert_num_queries: Any) -> None:
    requests = [a_request(user, provider) for _ in range(2)]
    with django_assert_num_queries(1):
        assert several(user, provider, *requests).run()
    assert {request.pk for request in AuthorizationRequest.objects.all()} == {request.pk for request in requests}
    assert not any(request._state.adding for request in requests)
    provider.refresh_from_db()
    assert provider.name == "100 % renamed"


@at_once_only
def test_several_statements_do_nothing_if_their_condition_finds_a_row(user: User, provider: Provider) -> None:
    a_request(user, provider, expires_at=datetime.fromisoformat("2030-01-01T00:00Z")).save()
    found = _OF_USER.bound(using="default", user_id=user.pk)
    request = a_request(user, provider)
    assert not several(user, provider, request).run(unless=found)
    assert request._state.adding
    assert AuthorizationRequest.objects.count() == 1
    provider.refresh_from_db()
    assert provider.name != "100 % renamed"
    nobody = _OF_USER.bound(using="default", user_id=0)
    assert several(user, provider, request).run(unless=nobody)
    assert AuthorizationRequest.objects.count() == 2


@at_once_only
@pytest.mark.django_db(transaction=True)
def test_of_several_statements_that_fail_nothing_stays(user: User, provider: Provider) -> None:
    twins = [a_request(user, provider) for _ in range(2)]
    twins[1].state_hash = twins[0].state_hash
    with pytest.raises(IntegrityError):
        several(user, provider, *twins).run()
    assert not AuthorizationRequest.objects.exists()
    provider.refresh_from_db()
    assert provider.name != "100 % renamed"


@pytest.mark.django_db(transaction=True)
def test_several_statements_are_one_only_where_nobody_would_notice() -> None:
    assert AtOnce.is_possible(Connection, Token) == (database.vendor == "postgresql")
    with transaction.atomic():
        assert not AtOnce.is_possible(Connection, Token)
    post_save.connect(listen := lambda **_: None, sender=Token)
    try:
        assert not AtOnce.is_possible(Connection, Token)
    finally:
        post_save.disconnect(listen, sender=Token)


class Spread:
    """Tokens are written to a database of their own."""

    def db_for_write(self, model: type[Any], **hints: Any) -> str:
        return "elsewhere" if model is Token else "default"


@pytest.mark.django_db(transaction=True)
def test_several_statements_are_one_only_on_one_database(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.Spread"]
    assert not AtOnce.is_possible(Connection, Token)


@pytest.mark.django_db(transaction=True)
def test_every_thread_reads_on_its_own_database_connection(connection: Connection, fake: FakeProvider) -> None:
    read(connection.pk)
    failures: list[BaseException] = []

    def call() -> None:
        try:
            assert connections["default"] is not database
            with flows.session(connection) as http:
                assert http.get("/echo").status_code == 200
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
