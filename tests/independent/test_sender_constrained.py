"""Tokens that are bound to a key or a certificate, at a server that is none of ours: npm's oidc-provider."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from jwt.algorithms import ECAlgorithm

from django_oauth_flows import flows
from django_oauth_flows.models import Provider, Token
from django_oauth_flows.protocol.secret import Secret
from tests.independent.life import CALLBACK, connect, found
from tests.independent.openid_server import TLS, start_openid_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Connection
    from tests.independent.openid_server import OpenIDServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.needs("oidc-provider")]

BOUND = {"dpop_bound_access_tokens": True}
OFFLINE = ("openid", "offline_access", "profile")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIDServer]:
    """Run a server that wants its nonce in every proof."""
    with start_openid_server(tmp_path_factory.mktemp("strict"), requireNonce=True) as running:
        yield running


def add(server: OpenIDServer, client: dict[str, Any] | None = None, **columns: Any) -> Provider:
    """Register a client whose tokens are bound to keys, and discover the rest."""
    registered = server.register(**{"redirect_uris": [CALLBACK], **BOUND, **(client or {})})
    provider = flows.add_discovered_provider(
        server.url,
        slug="op",
        client_id=registered["client_id"],
        client_secret=registered.get("client_secret", ""),
        scopes=OFFLINE,
        api_base_url=f"{server.url}/",
        internal=True,
        dpop=True,
    )
    provider.dialect = {**provider.dialect, "authorization_parameters": {"prompt": "consent"}}
    for name, value in columns.items():
        setattr(provider, name, value)
    provider.full_clean()
    provider.save()
    return provider


def token_of(connection: Connection) -> str:
    """Return the access token, as somebody may find it."""
    secret = Token.objects.select_related("connection").get(connection=connection).open("access_token")
    assert secret is not None
    return secret.reveal()


@pytest.mark.security("T19")
@pytest.mark.rfc("9449", "8")
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_jwt", "none"])
def test_a_bound_token_lives_a_whole_life_with_nonces(
    method: str, strict: OpenIDServer, browser: Client, user: User
) -> None:
    add(strict, {"token_endpoint_auth_method": method}, token_endpoint_auth_method=method)
    connect(browser, strict)
    mine = user.oauth_connections.get()
    assert mine.subject == "account-1"
    assert mine.token.token_type == "DPoP"
    with flows.session(mine) as http:
        assert http.get("me").json()["sub"] == "account-1"
        first = token_of(mine)
        assert flows.refresh(mine).refreshed
        assert token_of(mine) != first
        assert http.post("me", data={}).json()["sub"] == "account-1"
    with httpx.Client(auth=flows.httpx_auth(mine)) as own:
        assert own.get(f"{strict.url}/me").status_code == 200
    with requests.Session() as own:
        own.auth = flows.requests_auth(mine)
        assert own.get(f"{strict.url}/me", timeout=10).status_code == 200
    stolen = token_of(mine)
    assert found(f"{strict.url}/me", stolen) == 401  # without the key it is worth nothing
    assert flows.revoke(mine) == "revoked"


@pytest.mark.security("T19")
@pytest.mark.rfc("9449", "10.1")
def test_a_pushed_request_commits_to_the_key(openid_server: OpenIDServer, browser: Client, user: User) -> None:
    provider = add(openid_server, {"require_pushed_authorization_requests": True})
    assert provider.pushed_authorization_request_endpoint
    connect(browser, openid_server)
    with flows.session(user.oauth_connections.get()) as http:
        assert http.get("me").status_code == 200


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> trustme.CA:
    """Return a certificate authority of our own."""
    return trustme.CA()


@pytest.fixture(scope="module")
def mutual(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIDServer]:
    """Run a server over TLS that asks for certificates."""
    place: Path = tmp_path_factory.mktemp("mutual")
    own = authority.issue_cert("127.0.0.1")
    files = TLS(place / "server.pem", place / "key.pem", place / "ca.pem")
    own.cert_chain_pems[0].write_to_path(str(files.certificate))
    own.private_key_pem.write_to_path(str(files.key))
    authority.cert_pem.write_to_path(str(files.authorities))
    with start_openid_server(place, tls=files) as running:
        yield running


def key_set(issued: trustme.LeafCert) -> dict[str, Any]:
    """Return the key set by which a certificate of nobody's is registered. RFC 8705 §2.2.2."""
    certificate = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
    jwk = json.loads(ECAlgorithm.to_jwk(certificate.public_key()))  # type: ignore[arg-type]
    return {"keys": [{**jwk, "x5c": [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()]}]}


@pytest.mark.security("T18")
@pytest.mark.rfc("8705", "2.1")
@pytest.mark.rfc("8705", "2.2")
@pytest.mark.rfc("8705", "3")
@pytest.mark.parametrize("bound", [False, True])
@pytest.mark.parametrize("method", ["tls_client_auth", "self_signed_tls_client_auth"])
def test_a_certificate_says_who_the_client_is(
    *, method: str, bound: bool, mutual: OpenIDServer, authority: trustme.CA, browser: Client, user: User, settings: Any
) -> None:
    settings.OAUTH_FLOWS = {**settings.OAUTH_FLOWS, "CA_BUNDLE": str(mutual.ca)}
    is_vouched_for = method == "tls_client_auth"
    issued = (authority if is_vouched_for else trustme.CA()).issue_cert("client.example")
    known_by = {"tls_client_auth_san_dns": "client.example"} if is_vouched_for else {"jwks": key_set(issued)}
    registered = mutual.register(
        redirect_uris=[CALLBACK],
        token_endpoint_auth_method=method,
        tls_client_certificate_bound_access_tokens=bound,
        **known_by,
    )
    found_columns = flows.discover(mutual.url, internal=True)
    provider = Provider(
        slug="op",
        name="op",
        client_id=registered["client_id"],
        api_base_url=f"{mutual.url}/",
        tls_client_certificate_bound_access_tokens=bound,
        **{**found_columns, "token_endpoint_auth_method": method, "scopes": OFFLINE},
    )
    provider.dialect = {**provider.dialect, "authorization_parameters": {"prompt": "consent"}}
    pem = b"".join(blob.bytes() for blob in (*issued.cert_chain_pems, issued.private_key_pem))
    provider.seal("client_certificate", Secret(pem.decode()))
    provider.full_clean()
    provider.save()
    connect(browser, mutual)
    mine = user.oauth_connections.get()
    assert flows.refresh(mine).refreshed
    with flows.session(mine) as http:
        assert http.get("me").json()["sub"] == "account-1"
    stolen = requests.get(
        f"{mutual.url}/me", headers={"Authorization": f"Bearer {token_of(mine)}"}, timeout=10, verify=str(mutual.ca)
    )
    assert stolen.status_code == (401 if bound else 200)
    assert flows.revoke(mine) == "revoked"
