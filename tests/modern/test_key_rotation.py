"""Our own keys: two are published while one takes over from the other, by the algorithm and for the reader agreed."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_oauth_flows import flows
from django_oauth_flows.admin.provider_form import ProviderForm
from django_oauth_flows.checks.rows import check_providers
from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.models import Provider
from django_oauth_flows.testing.factories import make_provider, walk

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Connection
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def keyed(db: None, fake: FakeProvider, client: Client) -> Provider:
    """Return a provider that knows us by the keys that it has fetched from us, once, and now keeps."""
    provider = make_provider(fake, token_endpoint_auth_method="private_key_jwt")
    flows.rotate_private_key(provider)
    fetch(fake, client)
    return provider


def published(client: Client) -> list[dict[str, str]]:
    """Return what anybody may read at our address."""
    keys: list[dict[str, str]] = client.get("/oauth/jwks/fake/").json()["keys"]
    return keys


def fetch(fake: FakeProvider, client: Client) -> None:
    """Let the service read our key set, and keep it."""
    copy = published(client)
    fake.oauth2.signing.jwks = lambda: copy


def pass_time(provider: Provider, **by: int) -> None:
    """Let a rotation have begun so much earlier."""
    provider.next_private_key_at -= timedelta(**by)  # type: ignore[operator]
    provider.save()


def signed_by(fake: FakeProvider) -> str:
    """Return the id of the key that the last assertion was signed with."""
    kid: str = jwt.get_unverified_header(fake.received("token")[-1].form["client_assertion"])["kid"]
    return kid


@pytest.mark.security("T17")
@pytest.mark.rfc("7517", "5")
def test_no_moment_of_a_rotation_is_one_in_which_we_are_not_known(
    keyed: Provider, fake: FakeProvider, browser: Client, user: User, client: Client
) -> None:
    (old,) = published(client)
    walk(browser, keyed)
    connection: Connection = user.oauth_connections.get()
    made = flows.rotate_private_key(keyed)
    assert [key["kid"] for key in published(client)] == [old["kid"], made.key_id]
    assert made.signs_at - timezone.now() > timedelta(minutes=119)
    assert flows.refresh(connection).refreshed  # the service still has the copy from before
    assert signed_by(fake) == old["kid"]
    fetch(fake, client)
    pass_time(keyed, hours=2)
    assert flows.refresh(connection).refreshed
    assert signed_by(fake) == made.key_id
    assert [key["kid"] for key in published(client)] == [old["kid"], made.key_id]
    assert flows.finish_rotation(keyed)
    assert [key["kid"] for key in published(client)] == [made.key_id]
    assert flows.refresh(connection).refreshed
    assert signed_by(fake) == made.key_id
    assert not flows.finish_rotation(keyed)


def test_one_rotation_at_a_time(keyed: Provider, client: Client) -> None:
    (first,) = published(client)
    second = flows.rotate_private_key(keyed)
    with pytest.raises(ConfigurationError) as caught:
        flows.rotate_private_key(keyed)
    assert caught.value.code == "rotation_pending"
    assert not flows.finish_rotation(keyed)
    pass_time(keyed, hours=3)
    third = flows.rotate_private_key(keyed)  # the second has taken over: the first is forgotten
    assert [key["kid"] for key in published(client)] == [second.key_id, third.key_id]
    assert first["kid"] not in {key["kid"] for key in published(client)}


def test_a_key_that_staff_paste_overtakes_a_rotation(keyed: Provider) -> None:
    flows.rotate_private_key(keyed)
    pasted = keyed.open("private_key")
    assert pasted is not None
    form = ProviderForm(instance=keyed)
    form.cleaned_data = {"new_private_key": pasted.reveal()}
    form.save(commit=False)
    assert (keyed.next_private_key, keyed.next_private_key_at) == (None, None)


@pytest.mark.rfc("7518", "3.5")
@pytest.mark.parametrize("algorithm", ["PS256", "RS256", "ES384", "EdDSA"])
def test_assertions_are_signed_by_the_algorithm_agreed(
    algorithm: str, fake: FakeProvider, client: Client, browser: Client, user: User
) -> None:
    dialect = {"token_endpoint_auth_signing_alg": algorithm}
    provider = make_provider(fake, token_endpoint_auth_method="private_key_jwt", dialect=dialect)
    flows.rotate_private_key(provider)
    (key,) = published(client)
    assert key["alg"] == algorithm
    fetch(fake, client)
    assert walk(browser, provider).status_code == 303
    assert flows.refresh(user.oauth_connections.get()).refreshed


def test_a_key_that_signs_by_two_algorithms_is_published_for_either(
    fake: FakeProvider, client: Client, browser: Client
) -> None:
    dialect = {"token_endpoint_auth_signing_alg": "PS256", "request_object_signing_alg": "RS256"}
    provider = make_provider(fake, token_endpoint_auth_method="private_key_jwt", dialect=dialect)
    flows.rotate_private_key(provider)
    (key,) = published(client)
    assert "alg" not in key
    fetch(fake, client)
    fake.oauth2.signing.algorithms = ("PS256", "RS256")
    assert walk(browser, provider).status_code == 303


def test_one_key_cannot_be_of_two_kinds(fake: FakeProvider) -> None:
    provider = make_provider(fake, dialect={"request_object_signing_alg": "ES256"})
    with pytest.raises(ConfigurationError) as caught:
        flows.rotate_private_key(provider, algorithm="PS256")
    assert caught.value.code == "provider_misconfigured"
    oauth1 = make_provider(fake, slug="fake1", protocol="oauth1")
    with pytest.raises(ConfigurationError):
        flows.rotate_private_key(oauth1)


def test_the_keys_of_signed_requests_are_published_as_well(fake: FakeProvider, client: Client) -> None:
    provider = make_provider(fake, dialect={"request_object_signing_alg": "PS256"})
    flows.rotate_private_key(provider)
    (key,) = published(client)
    assert (key["kty"], key["alg"]) == ("RSA", "PS256")
    assert not {"d", "p", "q", "dp", "dq", "qi"} & set(key)


@pytest.mark.security("T17", "C07")
def test_a_server_that_wants_its_token_endpoint_as_the_audience_gets_it_and_staff_are_told(
    keyed: Provider, fake: FakeProvider, browser: Client
) -> None:
    fake.oauth2.audience = f"{fake.url}/token"
    assert walk(browser, keyed).status_code == 400
    keyed.dialect, keyed.issuer = {"client_assertion_audience": "token_endpoint"}, ""
    keyed.clean()
    keyed.save()
    assert walk(browser, keyed).status_code == 303
    assert "oauth_flows.W060" in {message.id for message in check_providers(app_configs=None, databases=["default"])}
    Provider.objects.update(dialect={})
    assert "oauth_flows.W060" not in {m.id for m in check_providers(app_configs=None, databases=["default"])}


def run(*arguments: Any) -> str:
    """Run the command; return what it says."""
    said = StringIO()
    call_command("rotate_private_key", *arguments, stdout=said)
    return said.getvalue()


def test_the_command_tells_the_key_by_its_id_and_never_shows_it(keyed: Provider, client: Client) -> None:
    said = run("fake", "--lead", "0")
    keyed.refresh_from_db()
    assert "PRIVATE" not in said
    assert published(client)[1]["kid"] in said
    assert "forgotten" in run("fake", "--finish")
    for arguments in (("nobody",), ("fake", "--finish"), ("fake", "--lead", "-1"), ("fake", "--algorithm", "none")):
        with pytest.raises(CommandError):
            run(*arguments)
    run("fake")
    with pytest.raises(CommandError, match="already going over"):
        run("fake")
