"""The service's OAuth 1.0a server, spoken to by a client that shares no code with it, over real HTTP and HTTPS."""

from __future__ import annotations

import ssl
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import trustme
from authlib.integrations.base_client import OAuthError

from example_project.servers import Consumer, Member, Service, start_service
from tests.example.conftest import CALLBACK
from tests.example.signing import AUTHLIB_METHODS, OWN_METHODS, AllMethodsSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from example_project.browser import Page

OVER_HTTP = tuple(method for method in (*AUTHLIB_METHODS, *OWN_METHODS) if method != "PLAINTEXT")


@pytest.fixture(scope="module")
def consumer(service: Service) -> Consumer:
    """Register a consumer that can sign with a secret and with a key."""
    return service.register_consumer("Dashboard", callbacks=[CALLBACK], rsa=True)


@pytest.fixture(scope="module")
def tls_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Path]]:
    """Run a second service over TLS; yield it with the CA to trust."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(directory / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(directory / "certificate.pem")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    with start_service(directory / "var", tls=(directory / "certificate.pem", directory / "key.pem")) as running:
        yield running, directory / "ca.pem"


def _session(consumer: Consumer, method: str = "HMAC-SHA1", **credentials: Any) -> AllMethodsSession:
    return AllMethodsSession(
        consumer.key, consumer.secret, rsa_key=consumer.private_key, signature_method=method, **credentials
    )


@pytest.mark.rfc("5849", "2")
@pytest.mark.parametrize("method", OVER_HTTP)
def test_the_whole_dance_works_with_each_signature_method(
    method: str, service: Service, consumer: Consumer, member: Member, consent: Callable[..., Page]
) -> None:
    with _session(consumer, method, redirect_uri=f"{CALLBACK}?state=s") as client:
        temporary = client.fetch_request_token(service.oauth1["temporary_credential_endpoint"])
        assert temporary["oauth_callback_confirmed"] == "true"
        client.redirect_uri = None
        back = consent(client.create_authorization_url(service.oauth1["authorization_endpoint"])).location
        assert back.startswith(f"{CALLBACK}?state=s&")
        client.parse_authorization_response(back)
        client.fetch_access_token(service.oauth1["token_endpoint"])
        assert client.get(f"{service.url}/api/me/").json() == {"id": member.account_id, "name": member.name}


@pytest.mark.rfc("5849", "3.4.4")
def test_plaintext_works_over_tls(tls_service: tuple[Service, Path]) -> None:
    service, authority = tls_service
    consumer = service.register_consumer("Dashboard", callbacks=[CALLBACK])
    token, secret = service.issue_oauth1("lovelace", key=consumer.key)
    with _session(consumer, "PLAINTEXT", token=token, token_secret=secret) as client:
        client.trust_env, client.verify = False, str(authority)
        assert client.get(f"{service.url}/api/me/").json()["name"] == "Ada Lovelace"


def test_tls_is_refused_by_a_client_that_does_not_trust_the_authority(tls_service: tuple[Service, Path]) -> None:
    service, _ = tls_service
    with pytest.raises(requests.exceptions.SSLError) as refusal:
        requests.get(service.url, timeout=5)
    assert isinstance(refusal.value.args[0].reason.args[0], ssl.SSLCertVerificationError)


@pytest.mark.rfc("5849", "3.4.4")
def test_plaintext_is_refused_without_tls(service: Service, consumer: Consumer, member: Member) -> None:
    token, secret = service.issue_oauth1(member.username, key=consumer.key)
    with _session(consumer, "PLAINTEXT", token=token, token_secret=secret) as client:
        assert client.get(f"{service.url}/api/me/").status_code == 401


@pytest.mark.rfc("5849", "3.5")
@pytest.mark.parametrize("placement", ["HEADER", "QUERY", "BODY"])
def test_the_protocol_parameters_are_read_from_header_query_and_body(
    placement: str, service: Service, consumer: Consumer, member: Member
) -> None:
    token, secret = service.issue_oauth1(member.username, key=consumer.key)
    with _session(consumer, token=token, token_secret=secret, signature_type=placement) as client:
        added = client.post(f"{service.url}/api/notes/", data={"text": "An ä, a + and a %"})
        assert added.status_code == 201
        assert added.json()["text"] == "An ä, a + and a %"


@pytest.mark.rfc("5849", "3.2")
@pytest.mark.parametrize("part", ["consumer", "token", "signature"])
def test_a_request_with_one_wrong_part_is_refused(
    part: str, service: Service, consumer: Consumer, member: Member
) -> None:
    token, secret = service.issue_oauth1(member.username, key=consumer.key)
    key = "x" * 30 if part == "consumer" else consumer.key
    token = "y" * 30 if part == "token" else token
    secret = "z" * 30 if part == "signature" else secret
    with AllMethodsSession(key, consumer.secret, token=token, token_secret=secret) as client:
        refused = client.get(f"{service.url}/api/me/")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("OAuth ")


@pytest.mark.rfc("5849", "3.3")
def test_a_request_is_not_accepted_twice(service: Service, consumer: Consumer, member: Member) -> None:
    token, secret = service.issue_oauth1(member.username, key=consumer.key)
    with _session(consumer, token=token, token_secret=secret) as client:
        prepared = client.prepare_request(requests.Request("GET", f"{service.url}/api/me/", auth=client.auth))
        assert client.send(prepared).status_code == 200
        assert client.send(prepared).status_code == 401


@pytest.mark.rfc("5849", "3.3")
@pytest.mark.parametrize(("fast_by", "status"), [(300, 200), (3600, 401), (-3600, 401)])
def test_a_request_from_another_time_is_refused_and_the_answer_says_what_time_it_is(
    fast_by: int, status: int, service: Service, consumer: Consumer, member: Member
) -> None:
    token, secret = service.issue_oauth1(member.username, key=consumer.key)
    with _session(consumer, token=token, token_secret=secret) as client, service.wrong_clock(fast_by=fast_by):
        answer = client.get(f"{service.url}/api/me/")
    assert answer.status_code == status
    shown = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    assert shown - time.time() == pytest.approx(fast_by, abs=10)


@pytest.mark.rfc("5849", "2.1")
def test_an_unregistered_callback_gets_no_temporary_credentials(service: Service, consumer: Consumer) -> None:
    foreign = "http://evil.example/oauth/callback/notebook/"
    with _session(consumer, redirect_uri=foreign) as client, pytest.raises(OAuthError):
        client.fetch_request_token(service.oauth1["temporary_credential_endpoint"])


@pytest.mark.rfc("5849", "2.3")
def test_temporary_credentials_are_exchanged_once_and_only_with_their_verifier(
    service: Service, consumer: Consumer, consent: Callable[..., Page]
) -> None:
    with _session(consumer, redirect_uri=CALLBACK) as client:
        temporary = client.fetch_request_token(service.oauth1["temporary_credential_endpoint"])
        client.redirect_uri = None
        with pytest.raises(OAuthError):
            client.fetch_access_token(service.oauth1["token_endpoint"], verifier="v" * 30)
        client.token = temporary
        back = consent(client.create_authorization_url(service.oauth1["authorization_endpoint"])).location
        verifier = parse_qs(urlsplit(back).query)["oauth_verifier"][0]
        assert client.fetch_access_token(service.oauth1["token_endpoint"], verifier=verifier)["oauth_token"]
        client.token = temporary
        with pytest.raises(OAuthError):
            client.fetch_access_token(service.oauth1["token_endpoint"], verifier=verifier)


def test_a_member_can_refuse(service: Service, consumer: Consumer, consent: Callable[..., Page]) -> None:
    with _session(consumer, redirect_uri=CALLBACK) as client:
        temporary = client.fetch_request_token(service.oauth1["temporary_credential_endpoint"])
        url = client.create_authorization_url(service.oauth1["authorization_endpoint"])
    query = parse_qs(urlsplit(consent(url, button="Do not allow").location).query)
    assert query["denied"] == [temporary["oauth_token"]]
    assert "oauth_verifier" not in query


def test_a_token_revokes_itself_and_works_no_longer(service: Service, consumer: Consumer, member: Member) -> None:
    token, secret = service.issue_oauth1(member.username, key=consumer.key)
    with _session(consumer, token=token, token_secret=secret) as client:
        assert client.get(f"{service.url}/api/me/").status_code == 200
        assert client.post(service.oauth1["revocation_endpoint"]).status_code == 204
        assert client.get(f"{service.url}/api/me/").status_code == 401
    assert service.live_tokens(member.username)["token_credentials"] == 0
