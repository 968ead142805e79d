"""Servers that are none of ours, over real HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.independent.openid_server import start_openid_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.independent.openid_server import OpenIDServer


@pytest.fixture(scope="session")
def openid_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIDServer]:
    """Run npm's oidc-provider over plain http; its clients register themselves, so that tests can share it."""
    with start_openid_server(tmp_path_factory.mktemp("oidc-provider")) as running:
        yield running
