"""Servers that are none of ours, over real HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows import flows
from tests.independent.life import CALLBACK
from tests.independent.openid_server import start_openid_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_oauth_flows.models import Provider
    from tests.independent.openid_server import OpenIDServer


@pytest.fixture(scope="session")
def openid_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIDServer]:
    """Run npm's oidc-provider over plain http; its clients register themselves, so that tests can share it."""
    with start_openid_server(tmp_path_factory.mktemp("oidc-provider")) as running:
        yield running


@pytest.fixture
def add_op(db: None, openid_server: OpenIDServer) -> Callable[..., Provider]:
    """Return a maker of providers: a client of its own at the server, the rest from discovery.

    ``client``: its metadata (RFC 7591 §2). ``columns`` override what was discovered.
    """

    def make(*, client: dict[str, Any] | None = None, scopes: Any = None, **columns: Any) -> Provider:
        registered = openid_server.register(**{"redirect_uris": [CALLBACK], **(client or {})})
        provider = flows.add_discovered_provider(
            openid_server.url,
            slug="op",
            client_id=registered["client_id"],
            client_secret=registered.get("client_secret", ""),
            scopes=scopes,
            api_base_url=f"{openid_server.url}/",
            internal=True,
        )
        provider.dialect = {**provider.dialect, **columns.pop("dialect", {})}
        for name, value in columns.items():
            setattr(provider, name, value)
        provider.full_clean()
        provider.save()
        return provider

    return make
