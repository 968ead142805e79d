"""A provider that speaks OpenID Connect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows.protocol import jwks
from django_oauth_flows.testing.factories import make_provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider


@pytest.fixture(autouse=True)
def _no_keys_of_others(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin without keys: a port may be another test's fake."""
    jwks.CACHE._kept.clear()
    yield
    jwks.CACHE._kept.clear()


@pytest.fixture
def make_openid_provider(db: None, fake: FakeProvider) -> Callable[..., Provider]:
    """Return a maker of providers that ask for ``openid``."""

    def make(**columns: Any) -> Provider:
        usual: dict[str, Any] = {"scopes": ("openid", "read"), "identity_source": "id_token"}
        return make_provider(fake, **{**usual, **columns})

    return make


@pytest.fixture
def openid_provider(make_openid_provider: Callable[..., Provider]) -> Provider:
    """Return a provider whose accounts are told by ID tokens."""
    return make_openid_provider()
