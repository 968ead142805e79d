"""Mutual TLS: RFC 8705. The certificate says who the client is, and goes to nobody whom that does not concern."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from django_oauth_flows import flows
from django_oauth_flows.checks.rows import check_providers
from django_oauth_flows.exceptions import ConfigurationError, OAuthFlowsError
from django_oauth_flows.models import Provider, Revocation
from django_oauth_flows.protocol import certificates, pool
from django_oauth_flows.protocol.dialect import Dialect
from django_oauth_flows.protocol.discovery import read_metadata
from django_oauth_flows.protocol.introspection import introspected
from django_oauth_flows.protocol.oauth2 import OAuth2Flow
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import FakeProvider
from django_oauth_flows.testing.factories import make_provider, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    import trustme
    from django.contrib.auth.models import User
    from django.test import Client


def pem_of(issued: trustme.LeafCert) -> Secret:
    """Return certificates and key as staff paste them."""
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    return Secret((chain + issued.private_key_pem.bytes()).decode())


def der_of(certificate: Secret) -> bytes:
    """Return the first certificate as a handshake shows it."""
    return ssl.PEM_cert_to_DER_cert(
        certificate.reveal().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    )


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA) -> Secret:
    """Return a client's certificate with its key."""
    return pem_of(authority.issue_cert("client.example"))


@pytest.fixture
def mutual(authority: trustme.CA, server_context: ssl.SSLContext, certificate: Secret) -> Iterator[FakeProvider]:
    """Return a provider that asks for a client's certificate, and knows ours."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    with FakeProvider(tls=context) as running:
        running.oauth2.client_certificate = der_of(certificate)
        yield running


@pytest.fixture
def provider(db: None, mutual: FakeProvider, ca_bundle: str, certificate: Secret) -> Provider:
    """Return a provider that is shown it."""
    row = make_provider(mutual, ca_bundle=ca_bundle, token_endpoint_auth_method="tls_client_auth")
    row.client_secret = None
    row.seal("client_certificate", certificate)
    row.save()
    return row


def shown(fake: FakeProvider, *endpoints: str) -> set[bool]:
    """Return whether requests to these endpoints came with a certificate."""
    return {bool(request.certificate) for endpoint in endpoints for request in fake.received(endpoint)}


@pytest.mark.security("T18")
@pytest.mark.rfc("8705", "2")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("method", ["tls_client_auth", "self_signed_tls_client_auth"])
def test_the_certificate_alone_says_who_the_client_is(
    *, method: str, provider: Provider, mutual: FakeProvider, browser: Client, user: User
) -> None:
    provider.token_endpoint_auth_method = method
    provider.pushed_authorization_request_endpoint = f"{mutual.url}/par"
    provider.full_clean()
    provider.save()
    assert walk(browser, provider).status_code == 303
    mine = user.oauth_connections.get()
    assert flows.refresh(mine).refreshed
    with flows.session(mine) as http:
        assert http.get("echo").status_code == 200
    assert flows.revoke(mine) == Revocation.Outcome.REVOKED
    assert shown(mutual, "par", "token", "revoke") == {True}
    assert shown(mutual, "userinfo", "api") == {False}  # whom it does not concern
    sent = mutual.received("token")[0]
    assert sent.form["client_id"] == provider.client_id
    assert "client_secret" not in sent.form
    assert "authorization" not in sent.headers


@pytest.mark.security("T18")
@pytest.mark.rfc("8705", "3")
@pytest.mark.django_db(transaction=True)
def test_a_bound_token_is_used_with_the_certificate(
    provider: Provider, mutual: FakeProvider, browser: Client, user: User
) -> None:
    mutual.oauth2.binds_to_certificate = True
    provider.tls_client_certificate_bound_access_tokens = True
    provider.save()
    assert walk(browser, provider).status_code == 303
    mine = user.oauth_connections.get()
    with flows.session(mine) as http:
        assert http.get("echo").status_code == 200
    assert shown(mutual, "userinfo", "api") == {True}
    with requests.Session() as own, pytest.raises(ConfigurationError) as caught:
        own.get(f"{mutual.url}/api/echo", auth=flows.requests_auth(mine), timeout=10)
    assert caught.value.code == "provider_misconfigured"
    Provider.objects.update(tls_client_certificate_bound_access_tokens=False)
    with flows.session(mine) as http:
        assert http.get("echo").status_code == 401  # the fake means it


@pytest.mark.security("T18")
@pytest.mark.rfc("8705", "5")
@pytest.mark.django_db(transaction=True)
def test_an_alias_is_used_by_who_shows_a_certificate_and_by_nobody_else(
    provider: Provider, mutual: FakeProvider, browser: Client, user: User
) -> None:
    alias = mutual.url.replace("127.0.0.1", "localhost")
    plain = provider.fingerprint()
    provider.dialect = {
        "mtls_endpoint_aliases": {name: f"{alias}/{path}" for name, path in (
            ("token_endpoint", "token"), ("revocation_endpoint", "revoke"), ("userinfo_endpoint", "userinfo"))}
    }  # fmt: skip
    provider.full_clean()
    provider.save()
    assert provider.fingerprint() != plain  # codes and refresh tokens go there
    assert walk(browser, provider).status_code == 303
    flows.revoke(user.oauth_connections.get())
    hosts = {endpoint: {request.headers["host"].partition(":")[0] for request in mutual.received(endpoint)}
             for endpoint in ("token", "revoke", "userinfo")}  # fmt: skip
    assert hosts == {"token": {"localhost"}, "revoke": {"localhost"}, "userinfo": {"127.0.0.1"}}
    provider.tls_client_certificate_bound_access_tokens = True
    assert urlsplit(provider.registration().server.userinfo_endpoint).hostname == "localhost"
    provider.token_endpoint_auth_method, provider.tls_client_certificate_bound_access_tokens = "none", False
    assert urlsplit(provider.registration().server.token_endpoint).hostname == "127.0.0.1"
    assert provider.registration().client_certificate is None


@pytest.mark.security("T18")
@pytest.mark.django_db
def test_connections_of_one_certificate_are_nobody_elses(
    provider: Provider, mutual: FakeProvider, authority: trustme.CA
) -> None:
    with flows.client_session(provider) as http:
        assert http.get("echo").status_code == 200
    other = pem_of(authority.issue_cert("other.example"))
    provider.seal("client_certificate", other)
    provider.save()
    with pytest.raises(OAuthFlowsError), flows.client_session(provider, scopes=("write",)) as http:
        http.get("echo")
    assert mutual.received("token")[-1].certificate == der_of(other)
    policy = provider.registration().own_transport
    assert pool.adapter_for(policy) is not pool.adapter_for(provider.registration().transport)
    assert pool.adapter_for(policy) is pool.adapter_for(provider.registration().own_transport)


@pytest.mark.security("T18", "S01")
def test_the_key_lies_on_the_disk_encrypted_and_for_a_moment(
    certificate: Secret, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    seen: list[str] = []

    class Watching(ssl.SSLContext):
        def load_cert_chain(self, certfile: Any, keyfile: Any = None, password: Any = None) -> None:
            seen.append(Path(certfile).read_text())
            super().load_cert_chain(certfile, keyfile, password)

    certificates.present(Watching(ssl.PROTOCOL_TLS_CLIENT), certificate)
    key = "".join(certificate.reveal().rpartition("-----BEGIN")[2].splitlines()[1:-1])
    assert "ENCRYPTED PRIVATE KEY" in seen[0]
    assert key[:40] not in seen[0].replace("\n", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.security("T18")
def test_what_no_handshake_can_show_is_refused_without_being_repeated(
    certificate: Secret, authority: trustme.CA
) -> None:
    text, other = certificate.reveal(), pem_of(authority.issue_cert("other.example")).reveal()
    only_key = text[text.rindex("-----BEGIN") :]
    for wrong in ("", "canary", only_key, text[: text.rindex("-----BEGIN")], other.replace(other[other.rindex("-----BEGIN"):], only_key),
                  text.replace(only_key, only_key.replace("\n", "\nAA", 1))):  # fmt: skip
        with pytest.raises(ConfigurationError) as caught:
            certificates.expires_at(Secret(wrong))
        assert caught.value.code == "client_certificate_invalid"
        assert "canary" not in str(caught.value)


@pytest.mark.security("T18")
@pytest.mark.django_db
def test_a_certificate_that_is_missing_is_said(provider: Provider, mutual: FakeProvider) -> None:
    provider.client_certificate = None
    provider.save()
    for bound in (False, True):
        provider.tls_client_certificate_bound_access_tokens = bound
        with pytest.raises(ConfigurationError) as caught:
            OAuth2Flow(provider.registration()).client_credentials()
        assert caught.value.code == "client_certificate_missing"
    assert mutual.requests == []


@pytest.mark.security("T18")
@pytest.mark.django_db
@pytest.mark.parametrize(("left", "said"), [(29, True), (-1, True), (31, False)])
def test_a_month_before_its_end_a_check_speaks_of_it(
    *, left: int, said: bool, provider: Provider, authority: trustme.CA
) -> None:
    ends = datetime.now(UTC) + timedelta(days=left, hours=1)
    provider.seal("client_certificate", pem_of(authority.issue_cert("client.example", not_after=ends)))
    provider.save()
    found = [m for m in check_providers(databases=["default"]) if m.id == "oauth_flows.W042"]
    assert bool(found) is said
    if said:
        assert f"{ends:%Y-%m-%d}" in found[0].msg


@pytest.mark.django_db
def test_a_certificate_that_is_no_longer_readable_stops_no_check(provider: Provider) -> None:
    provider.seal("client_certificate", Secret("nonsense"))
    provider.save()
    assert not [m for m in check_providers(databases=["default"]) if m.id == "oauth_flows.W042"]


@pytest.mark.security("T18", "H05")
@pytest.mark.rfc("8705", "5")
def test_aliases_are_taken_from_metadata_and_vetted() -> None:
    issuer = "https://op.example"
    usual = {"issuer": issuer, "authorization_endpoint": f"{issuer}/a", "token_endpoint": f"{issuer}/t"}
    aliases = {"token_endpoint": "https://mtls.op.example/t", "registration_endpoint": "file:///etc/passwd"}
    found = read_metadata({**usual, "mtls_endpoint_aliases": aliases}, issuer, internal=False)
    assert found.mtls_endpoint_aliases == {"token_endpoint": "https://mtls.op.example/t"}
    assert Dialect.from_json({"mtls_endpoint_aliases": dict(found.mtls_endpoint_aliases)}).endpoints
    for wrong in (
        [],
        "https://mtls.op.example",
        {"token_endpoint": "http://mtls.op.example/"},
        {"revocation_endpoint": 7},
    ):
        with pytest.raises(OAuthFlowsError) as caught:
            read_metadata({**usual, "mtls_endpoint_aliases": wrong}, issuer, internal=False)
        assert caught.value.code == "metadata_invalid"
    for odd in ({"jwks_uri": f"{issuer}/x"}, {"token_endpoint": 7}, {"token_endpoint": "javascript:1"}, []):
        with pytest.raises(ValueError, match="mtls_endpoint_aliases"):
            Dialect.from_json({"mtls_endpoint_aliases": odd})


@pytest.mark.security("T18")
@pytest.mark.rfc("8705", "2")
@pytest.mark.django_db
def test_codes_for_other_devices_and_introspection_are_asked_for_with_the_certificate(
    provider: Provider, mutual: FakeProvider
) -> None:
    provider.device_authorization_endpoint = f"{mutual.url}/device"
    provider.introspection_endpoint = f"{mutual.url}/introspect"
    flow = OAuth2Flow(provider.registration())
    assert flow.authorize_device(scopes=("read",)).user_code
    introspected(flow.registration, Secret("token"))
    assert shown(mutual, "device", "introspect") == {True}
