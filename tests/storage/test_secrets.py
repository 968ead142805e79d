"""Group S: what lies in the database, and what a row shows of itself."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pickle
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from django.core import serializers
from django.core.exceptions import FieldError, ValidationError
from django.db import connection as database
from django.forms.models import model_to_dict
from django.views.debug import SafeExceptionReporterFilter
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_oauth_flows import conf, crypto, flows
from django_oauth_flows.exceptions import ConfigurationError, DecryptionError, ReauthorizationRequiredError
from django_oauth_flows.fields import Ciphertext
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider, Revocation, Token
from django_oauth_flows.protocol.messages import Credentials
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import answer, begin, make_connection, make_provider, posted_form, walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider

PLAIN = "canary_access_" + "7" * 32
SEALED = re.compile(r"v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]{38,}")


def token_of(connection: Connection) -> Token:
    """Read the token anew."""
    return Token.objects.select_related("connection__provider").get(connection=connection)


@pytest.mark.security("S01")
def test_no_secret_lies_in_clear_in_any_column(
    connection: Connection, oauth1_connection: Connection, fake: FakeProvider
) -> None:
    with database.cursor() as cursor:
        cursor.execute("SELECT access_token, refresh_token, token_secret FROM oauth_flows_token")
        values = [value for row in cursor.fetchall() for value in row if value]
        cursor.execute("SELECT client_secret FROM oauth_flows_provider")
        values += [row[0] for row in cursor.fetchall()]
    assert len(values) == 6
    assert all(value.startswith("v1.") and "canary" not in value for value in values)
    assert token_of(connection).open("access_token") in [Secret(t) for t in fake.oauth2.grants[0].access]


@pytest.mark.security("S01", "O14", "O15")
@pytest.mark.django_db(transaction=True)
def test_every_sealed_column_that_is_ever_filled_holds_ciphertext(
    *, browser: Client, provider: Provider, oauth1_provider: Provider, user: User, make_user: Any, fake: FakeProvider
) -> None:
    for name in ("private_key", "client_certificate", "proxy", "second_client_secret"):
        provider.seal(name, Secret(f"{PLAIN}-{name}"))
    provider.save()
    oauth1_provider.seal("private_key", Secret(PLAIN))
    oauth1_provider.save()
    begin(browser, oauth1_provider)
    make_connection(oauth1_provider, user, fake)
    provider.proxy = None
    make_connection(provider, make_user("bob"), fake)
    Provider.objects.filter(pk=provider.pk).update(proxy=None)
    begin(browser, provider)
    begin(browser, make_provider(fake, slug="binding", dpop_bound_access_tokens=True))
    fake.oauth2.subject = "account-2"
    bound = make_provider(fake, slug="bound", dpop_bound_access_tokens=True)
    walk(browser, bound)
    walk(browser, make_provider(fake, slug="leaving", dpop_bound_access_tokens=True))
    fake.oauth2.subject = "account-1"
    make_provider(fake, slug="poster", response_mode="form_post")
    _, form = posted_form(browser.post("/oauth/connect/poster/")["Location"])
    browser.post("/oauth/callback/poster/", urlencode(form), content_type="application/x-www-form-urlencoded")
    make_provider(fake, slug="device", device_authorization_endpoint=f"{fake.url}/device")
    browser.post("/oauth/connect/device/", {"way": "device"})
    assert walk(browser, provider)["Location"].startswith("/oauth/parked/")
    fake.script("revoke", Answer(503), Answer(503))
    fake.script("revoke1", Answer(503))
    flows.revoke(make_connection(provider, user, fake, subject="leaving"))
    fake.script("revoke", Answer(503), Answer(503))
    flows.revoke(Connection.objects.get(provider__slug="leaving"))
    flows.revoke(make_connection(oauth1_provider, user, fake, subject="leaving"))
    provider.seal("proxy", Secret(PLAIN))
    provider.save(update_fields=["proxy"])
    filled = set()
    for model in (Provider, Token, AuthorizationRequest, Revocation):
        for name in model.sealed_fields():
            with database.cursor() as cursor:
                cursor.execute(f"SELECT {name} FROM {model._meta.db_table} WHERE {name} IS NOT NULL")  # noqa: S608
                values = [row[0] for row in cursor.fetchall()]
            assert all(SEALED.fullmatch(value) for value in values), f"{model.__name__}.{name}"
            filled |= {f"{model.__name__}.{name}"} if values else set()
    every = {
        f"{m.__name__}.{n}" for m in (Provider, Token, AuthorizationRequest, Revocation) for n in m.sealed_fields()
    }
    assert every - filled == {"AuthorizationRequest.nonce"}


@pytest.mark.security("S02")
@pytest.mark.parametrize("column", ["access_token", "refresh_token"])
def test_a_connection_with_somebody_elses_ciphertext_is_unusable_and_a_critical_event(
    *, column: str, connection: Connection, make_user: Any, fake: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    other = make_connection(connection.provider, make_user("bob"), fake)
    Token.objects.filter(connection=connection).update(**{column: getattr(token_of(other), column)})
    for _ in range(2):
        with pytest.raises(ReauthorizationRequiredError) as caught:
            flows.access_token(connection) if column == "access_token" else flows.refresh(connection)
        assert caught.value.reason == "undecryptable"
    assert fake.requests == []
    (event,) = [r for r in caplog.records if r.getMessage() == "oauth_flows.decrypt_failed"]
    assert event.levelname == "CRITICAL"
    assert (event.__dict__["connection"], event.__dict__["provider"]) == (
        str(connection.pk),
        str(connection.provider_id),
    )


@pytest.mark.security("S02")
@pytest.mark.parametrize("what", ["row", "column", "owner", "provider", "table", "environment"])
def test_a_ciphertext_that_was_moved_does_not_open(
    what: str, connection: Connection, user: User, make_user: Callable[..., User], fake: FakeProvider, settings: Any
) -> None:
    other = make_connection(connection.provider, make_user("bob"), fake)
    mine, theirs = token_of(connection), token_of(other)
    assert mine.open("access_token")
    if what == "row":
        mine.access_token = theirs.access_token
    elif what == "column":
        mine.access_token = mine.refresh_token
    elif what == "owner":
        mine.connection.owner_id = other.owner_id
    elif what == "provider":
        mine.connection.provider_id = make_provider(fake, slug="other").pk
    elif what == "table":
        row = Revocation(
            provider=connection.provider, owner_model=connection.owner_model, owner_id=connection.owner_id, id=mine.pk
        )
        row.access_token = mine.access_token
        with pytest.raises(DecryptionError):
            row.open("access_token")
        return
    else:
        settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "ENVIRONMENT": "staging"}
    with pytest.raises(DecryptionError) as caught:
        mine.open("access_token")
    assert caught.value.code == "decrypt_failed"
    assert caught.value.__cause__ is None


@pytest.mark.security("S02")
def test_a_ciphertext_of_the_same_owners_other_account_does_not_open(
    connection: Connection, user: User, fake: FakeProvider
) -> None:
    mine, other = token_of(connection), token_of(make_connection(connection.provider, user, fake, subject="account-2"))
    mine.access_token = other.access_token
    with pytest.raises(DecryptionError):
        mine.open("access_token")


@pytest.mark.security("S02")
def test_a_ciphertext_of_an_owner_with_the_same_id_in_another_model_does_not_open(connection: Connection) -> None:
    token = token_of(connection)
    token.connection.owner_model = "auth.group"
    with pytest.raises(DecryptionError):
        token.open("access_token")


@pytest.mark.security("S03")
def test_an_altered_value_fails_closed_with_the_same_error(connection: Connection) -> None:
    token = token_of(connection)
    good = token.access_token.value
    version, key_id, payload = good.split(".")
    bad = [
        "",
        "v1",
        "v1..",
        good[:-4],
        good + "AAAA",
        f"v2.{key_id}.{payload}",
        f"{version}.00000000.{payload}",
        PLAIN,
        f"{version}.{key_id}.!!",
    ]
    bad += [
        f"{version}.{key_id}.{payload[:i]}{'A' if payload[i] != 'A' else 'B'}{payload[i + 1 :]}"
        for i in range(len(payload) - 1)
    ]
    bad += [good + tail for tail in ("=", "==", ".", " ", "\n", "\x00")]
    bad += [
        good[:-1] + last
        for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        if last != good[-1]
    ]
    for value in bad:
        token.access_token = Ciphertext(value)
        with pytest.raises(DecryptionError) as caught:
            token.open("access_token")
        assert caught.value.code == "decrypt_failed"
        assert PLAIN not in str(caught.value)


def test_an_empty_column_opens_as_nothing_and_plaintext_cannot_be_stored(connection: Connection) -> None:
    token = token_of(connection)
    assert token.open("token_secret") is None
    token.access_token = PLAIN  # type: ignore[assignment]
    with pytest.raises(ValidationError):
        token.save()
    with pytest.raises(ValidationError):
        Token.objects.update(access_token=PLAIN)


@pytest.mark.security("S04")
def test_the_first_key_writes_and_all_keys_read(connection: Connection, settings: Any) -> None:
    old, new = crypto.generate_key(), crypto.generate_key()
    settings.OAUTH_FLOWS = {"ENCRYPTION_KEYS": [old]}
    sealed = crypto.seal(Secret(PLAIN), context=b"x")
    settings.OAUTH_FLOWS = {"ENCRYPTION_KEYS": [new, old]}
    assert crypto.unseal(sealed, context=b"x").reveal() == PLAIN
    assert crypto.key_id_of(sealed) != crypto.current_key_id()
    assert crypto.key_id_of(sealed) in crypto.known_key_ids()
    settings.OAUTH_FLOWS = {"ENCRYPTION_KEYS": [new]}
    with pytest.raises(DecryptionError):
        crypto.unseal(sealed, context=b"x")


@pytest.mark.security("S05")
@pytest.mark.parametrize("key", ["", "short", "x" * 43 + "!", "é" * 32, "A" * 44])
def test_a_key_that_is_none_is_named_as_such(key: str, settings: Any) -> None:
    settings.OAUTH_FLOWS = {"ENCRYPTION_KEYS": [key]}
    with pytest.raises(ConfigurationError) as caught:
        crypto.seal(Secret("x"), context=b"")
    assert caught.value.code == "encryption_key_invalid"
    assert key not in str(caught.value) or not key


@pytest.mark.security("S05")
def test_tokens_survive_a_new_secret_key(settings: Any) -> None:
    settings.OAUTH_FLOWS = {"ENCRYPTION_KEYS": [crypto.generate_key()]}
    sealed = crypto.seal(Secret(PLAIN), context=b"x")
    settings.SECRET_KEY = "another" * 10
    assert crypto.unseal(sealed, context=b"x").reveal() == PLAIN
    settings.OAUTH_FLOWS = {}
    derived = crypto.seal(Secret(PLAIN), context=b"x")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "third" * 10, [settings.SECRET_KEY]
    assert crypto.unseal(derived, context=b"x").reveal() == PLAIN


@pytest.mark.security("S05")
def test_no_dump_of_the_settings_shows_a_key(settings: Any) -> None:
    key = crypto.generate_key()
    settings.OAUTH_FLOWS = {"ENCRYPTION_KEYS": [key]}
    crypto.seal(Secret(PLAIN), context=b"")
    dumped = f"{SafeExceptionReporterFilter().get_safe_settings()} {conf.settings!r} {conf.settings}"
    assert "OAUTH_FLOWS" in dumped
    assert key not in dumped


@pytest.mark.security("S06")
def test_nonces_do_not_repeat_not_even_across_a_fork() -> None:
    def nonces(count: int) -> set[str]:
        return {crypto.seal(Secret("x"), context=b"").split(".")[2][:16] for _ in range(count)}

    seen = nonces(20_000)
    assert len(seen) == 20_000
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, "".join(nonces(100)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    text = os.read(read, 65536).decode()
    assert not {text[i : i + 16] for i in range(0, len(text), 16)} & (seen | nonces(100))


@pytest.mark.security("S07")
@pytest.mark.parametrize(
    "show",
    [repr, str, "{}".format, "{!r:>40}".format, lambda s: str(copy.copy(s)), lambda s: str(copy.deepcopy(s)),
     lambda s: str(dataclasses.asdict(Credentials(s))), lambda s: str(Credentials(s)), lambda s: f"{[s]} { {'a': s} }"],
)  # fmt: skip
def test_a_secret_never_shows_itself(show: Any) -> None:
    assert PLAIN not in show(Secret(PLAIN))


@pytest.mark.security("S07")
def test_a_secret_cannot_be_serialised_or_taken_apart() -> None:
    secret = Secret(PLAIN)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        vars(secret)
    with pytest.raises(AttributeError):
        secret._value = "x"
    assert secret == Secret(PLAIN)
    assert secret != Secret("x")
    assert hash(secret) == hash(Secret(PLAIN))
    assert PLAIN not in str(hash(secret))


@pytest.mark.security("S07", "S09")
def test_a_row_shows_at_most_its_ciphertext(connection: Connection) -> None:
    from rest_framework.serializers import ModelSerializer

    token = token_of(connection)

    class Everything(ModelSerializer):  # type: ignore[type-arg]
        class Meta:
            model = Token
            fields = "__all__"

    plain = {s.reveal() for name in ("access_token", "refresh_token") if (s := token.open(name))}
    shown = [
        repr(token), str(token), str(vars(token)), str(model_to_dict(token)), repr(token.access_token), str(token.access_token),
        serializers.serialize("json", Token.objects.all()), str(Everything(token).data), repr(copy.deepcopy(token)),
        pickle.dumps(token).decode("latin-1"), str(list(Token.objects.values())), repr(Provider.objects.get()),
        # What a history app stores: a copy of every concrete field.
        str({f.name: f.value_to_string(token) for f in token._meta.concrete_fields}),
    ]  # fmt: skip
    assert not any(secret in text for secret in plain for text in shown)
    with pytest.raises(TypeError):
        json.dumps(token.access_token)
    restored = next(serializers.deserialize("json", serializers.serialize("json", Token.objects.all()))).object
    restored.connection = token.connection
    assert restored.open("access_token") == token.open("access_token")


@pytest.mark.security("S08")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("protocol", ["oauth2", "oauth1"])
@pytest.mark.parametrize("engine", ["db", "cache", "cached_db", "file", "signed_cookies"])
def test_the_session_holds_nothing_of_a_dance(
    *, engine: str, protocol: str, client_for: Any, user: User, fake: FakeProvider, settings: Any, tmp_path: Any
) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    settings.SESSION_FILE_PATH = str(tmp_path)
    browser, provider = client_for(user), make_provider(fake, protocol=protocol)
    before = dict(browser.session)
    callback = begin(browser, provider)
    assert dict(browser.session) == before
    assert answer(browser, callback).status_code == 303
    assert dict(browser.session) == before


@pytest.mark.security("S11")
def test_one_connections_parameters_never_reach_another(provider: Provider) -> None:
    provider.authorization_endpoint = "https://{shop}.shops.example/authorize"
    first = provider.registration({"shop": "one"})
    second = provider.registration({"shop": "two"})
    assert first.server.authorization_endpoint == "https://one.shops.example/authorize"
    assert second.server.authorization_endpoint == "https://two.shops.example/authorize"
    assert provider.parameters == {}
    assert provider.fingerprint({"shop": "one"}) != provider.fingerprint({"shop": "two"})
    with pytest.raises(ConfigurationError):
        provider.registration({})
    for hostile in ("evil.example/", "a@b", "a:1", "..", "a/../b", "-a", "a b", "a?b", "é"):
        with pytest.raises(ConfigurationError):
            provider.registration({"shop": hostile})


def test_a_user_filled_placeholder_may_not_choose_who_gets_the_client_secret(provider: Provider) -> None:
    for endpoint in ("https://{host}/token", "https://{tenant}.com/token", "https://{a}.{b}/token"):
        provider.token_endpoint = endpoint
        with pytest.raises(ValidationError) as caught:
            provider.full_clean()
        assert "token_endpoint" in caught.value.message_dict
    provider.token_endpoint = "https://{tenant}.idp.example/token"
    provider.full_clean()


@pytest.mark.parametrize("lookup", ["exact", "startswith", "regex", "contains", "gt", "in", "length"])
def test_no_filter_can_probe_a_secret(lookup: str, connection: Connection) -> None:
    with pytest.raises(FieldError):
        Token.objects.filter(**{f"access_token__{lookup}": "v1"}).exists()
    with pytest.raises(FieldError):
        Connection.objects.filter(**{f"token__access_token__{lookup}": "v1"}).exists()
    assert Token.objects.filter(access_token__isnull=False).exists()


@hypothesis_settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(min_size=1, max_size=200), context=st.binary(max_size=50), other=st.binary(max_size=50))
def test_sealing_is_reversible_with_the_same_context_only(text: str, context: bytes, other: bytes) -> None:
    sealed = crypto.seal(Secret(text), context=context)
    assert crypto.unseal(sealed, context=context).reveal() == text
    if other != context:
        with pytest.raises(DecryptionError):
            crypto.unseal(sealed, context=other)


def test_scopes_are_found_whole_and_exactly(connection: Connection, user: User) -> None:
    Connection.objects.update(granted_scopes=("repo", "user:email", "a.b"))
    found = Connection.objects.for_owner(user).active("fake")
    assert found.with_scopes("repo", "user:email").exists()
    for absent in ("rep", "Repo", "REPO", "repo ", "user", "email", "a_b", "%", "_", ""):
        assert not found.with_scopes(absent).exists() or absent == ""
    assert Connection.objects.get().granted_scopes == ("repo", "user:email", "a.b")


def test_subjects_are_compared_byte_by_byte(provider: Provider, user: User, fake: FakeProvider) -> None:
    one = make_connection(provider, user, fake, subject="Abc")
    two = make_connection(provider, user, fake, subject="abc")
    three = make_connection(provider, user, fake, subject="abc ")
    again = make_connection(provider, user, fake, subject="Abc")
    assert len({one.pk, two.pk, three.pk}) == 3
    assert again.pk == one.pk


def test_a_user_holds_several_accounts_and_two_users_hold_the_same(
    provider: Provider, user: User, make_user: Callable[..., User], fake: FakeProvider
) -> None:
    make_connection(provider, user, fake, subject="1")
    make_connection(provider, user, fake, subject="2")
    make_connection(provider, make_user("bob"), fake, subject="1")
    assert user.oauth_connections.count() == 2
    assert Connection.objects.count() == 3


def test_ownership_changes_by_transfer_and_the_tokens_open_for_the_new_owner_only(
    connection: Connection, make_user: Callable[..., User]
) -> None:
    before = token_of(connection).open("access_token")
    bob = make_user("bob")
    flows.transfer(connection, to=bob)
    after = token_of(connection)
    assert (after.connection.owner_id, after.open("access_token")) == (str(bob.pk), before)
    assert after.generation == 2
    assert flows.access_token(connection)


def test_deleting_a_user_revokes_and_removes_what_they_had(
    connection: Connection, user: User, fake: FakeProvider
) -> None:
    user.delete()
    assert not Connection.objects.exists()
    assert not Token.objects.exists()
    assert Revocation.objects.get().reason == "deleted"


@pytest.mark.django_db(transaction=True)
def test_a_deleted_users_tokens_are_revoked_at_the_provider(
    connection: Connection, user: User, fake: FakeProvider
) -> None:
    user.delete()
    assert not fake.oauth2.grants[0].alive
    assert Revocation.objects.get().outcome == "revoked"


def test_models_that_hold_secrets_name_every_sealed_column() -> None:
    for model in (Provider, Token, AuthorizationRequest, Revocation):
        for name in model.sealed_fields():
            field: Any = model._meta.get_field(name)
            assert (
                field.context
                == f"{model.__name__.lower() if model is not AuthorizationRequest else 'authorization_request'}.{name}"
            )
            assert not field.editable
