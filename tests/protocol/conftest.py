"""Registrations that point at the fake provider, without Django's models."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from django_oauth_flows.protocol.dialect import Dialect
from django_oauth_flows.protocol.messages import ClientRegistration, IdentityClaims, ServerMetadata, TransportPolicy
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import FakeProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Register = Any


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Return a certificate authority of our own."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of its certificate."""
    path: Path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    """Return a server's context with a certificate for this machine."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture
def tls_fake(server_context: ssl.SSLContext) -> Iterator[FakeProvider]:
    """Return a provider over TLS."""
    with FakeProvider(tls=server_context) as running:
        yield running


@pytest.fixture
def register() -> Callable[..., ClientRegistration]:
    """Return a maker of registrations at a fake."""

    def make(fake: FakeProvider, *, protocol: str = "oauth2", **changes: Any) -> ClientRegistration:
        prefix = f"{fake.url}/oauth1" if protocol == "oauth1" else fake.url
        server = ServerMetadata(
            authorization_endpoint=f"{prefix}/authorize",
            token_endpoint=f"{prefix}/token",
            temporary_credential_endpoint=f"{prefix}/temporary",
            revocation_endpoint=f"{prefix}/revoke",
            userinfo_endpoint=f"{fake.url}/userinfo",
            issuer=fake.url,
        )
        policy = {"api_base_url": f"{fake.url}/api/", "internal": True, "deadline": 5.0} | changes.pop("transport", {})
        client = fake.oauth1 if protocol == "oauth1" else fake.oauth2
        values: dict[str, Any] = {
            "name": "fake",
            "protocol": protocol,
            "server": server,
            "client_id": client.client_id,
            "client_secret": Secret(client.client_secret),
            "identity": IdentityClaims("userinfo", "sub", "name"),
            "dialect": Dialect(),
            "transport": TransportPolicy(**policy),
        }
        return ClientRegistration(**(values | changes))

    return make
