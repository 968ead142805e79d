"""Importing takes what a developer would write, and says clearly what it does not take."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows import flows
from django_oauth_flows.exceptions import AuthorizationError, ConfigurationError
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.testing.factories import make_provider

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("scopes", ["read write", ["read", "write"], ["read write"], ("read", "", "write", "read")])
def test_scopes_may_be_one_string(scopes: Any, provider: Provider, user: User) -> None:
    mine = flows.import_connection(provider, user, access_token="abc", scopes=scopes)
    mine.refresh_from_db()
    assert mine.granted_scopes == mine.requested_scopes == ("read", "write")


@pytest.mark.parametrize(
    ("given", "stored"), [({"subject": 7}, ("7", "")), ({"label": None}, (None, "")), ({"subject": ""}, (None, ""))]
)
def test_what_says_little_is_taken(given: Any, stored: Any, provider: Provider, user: User) -> None:
    mine = flows.import_connection(provider, user, access_token="abc", **given)
    mine.refresh_from_db()
    assert (mine.subject, mine.label) == stored


def test_a_label_is_only_for_people_and_is_trimmed(provider: Provider, user: User) -> None:
    mine = flows.import_connection(provider, user, access_token="abc", label="a\0b " + "x" * 999)
    mine.refresh_from_db()
    assert mine.label.startswith("a b xxx")


@pytest.mark.parametrize("subject", ["x" * 256, "a\0b", "  ", "a\nb", "\ud800"])
def test_an_account_id_that_cannot_be_one_is_refused(subject: str, provider: Provider, user: User) -> None:
    with pytest.raises(AuthorizationError) as caught:
        flows.import_connection(provider, user, access_token="abc", subject=subject)
    assert caught.value.code == "subject_invalid"
    assert not Connection.objects.exists()


@pytest.mark.parametrize("name", ["expires_at", "refresh_token_expires_at"])
def test_a_naive_time_is_refused(name: str, provider: Provider, user: User) -> None:
    with pytest.raises(ValueError, match="naive"):
        flows.import_connection(provider, user, access_token="abc", **{name: datetime(2030, 1, 1)})  # noqa: DTZ001
    with pytest.raises(ValueError, match="printed"):
        flows.import_connection(provider, user, access_token="abc", scopes=["a\0"])
    assert not Connection.objects.exists()


def test_a_time_far_away_is_as_far_as_a_lifetime_goes(provider: Provider, user: User) -> None:
    far = datetime.max.replace(tzinfo=UTC)
    mine = flows.import_connection(provider, user, access_token="abc", expires_at=far)
    assert mine.token.expires_at is not None
    assert mine.token.expires_at.year < 2100


@pytest.mark.parametrize("column", ["enabled", "paused"])
def test_a_provider_that_accepts_no_new_connections_accepts_no_imports(
    column: str, provider: Provider, user: User
) -> None:
    setattr(provider, column, column == "paused")
    with pytest.raises(AuthorizationError) as caught:
        flows.import_connection(provider, user, access_token="abc")
    assert caught.value.code == "provider_disabled"


def test_a_placeholder_needs_its_value(user: User, fake: FakeProvider) -> None:
    provider = make_provider(fake, authorization_endpoint=f"{fake.url}/authorize?shop={{shop}}")
    with pytest.raises(ConfigurationError) as caught:
        flows.import_connection(provider, user, access_token="abc")
    assert caught.value.code == "provider_misconfigured"
    mine = flows.import_connection(provider, user, access_token="abc", parameters={"shop": 7})  # type: ignore[dict-item]
    assert mine.parameters == {"shop": "7"}
