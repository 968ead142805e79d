"""Group H: where we connect to, and what we send there."""

from __future__ import annotations

import base64
import ipaddress
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import requests
import trustme

from django_oauth_flows.exceptions import ConfigurationError, ProviderUnreachable, RequestBlocked, TokenEndpointError
from django_oauth_flows.protocol import pool
from django_oauth_flows.protocol.addresses import is_allowed, resolve
from django_oauth_flows.protocol.messages import Credentials, TransportPolicy
from django_oauth_flows.protocol.oauth2 import OAuth2Flow
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.protocol.session import OAuthSession
from django_oauth_flows.protocol.transport import send
from django_oauth_flows.protocol.urls import check_endpoint, check_host
from django_oauth_flows.testing import Answer, FakeProvider

if TYPE_CHECKING:
    from django_oauth_flows.protocol.messages import ClientRegistration

NEVER = [
    "169.254.169.254", "169.254.170.2", "100.100.100.200", "0.0.0.0", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "168.63.129.16", "::", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "::169.254.169.254",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::", "fec0::1", "ff02::1", "2001:db8::1",
    "2001:0:4136:e378:8000:63bf:5601:5601", "2001:0:808:808:8000:63bf:f7f7:f7f7", "::ffff:0:a9fe:a9fe", "::ffff:0:7f00:1",
]  # fmt: skip
PRIVATE = [
    "127.0.0.1", "127.8.9.1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "::1", "fc00::1",
    "fd12::1", "::ffff:10.0.0.1", "::10.0.0.1", "64:ff9b::10.0.0.1", "2002:0a00:0001::", "::ffff:127.0.0.1",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "172.32.0.1",
    "100.128.0.1",
]


@pytest.mark.security("H01")
@pytest.mark.parametrize("address", NEVER)
def test_metadata_and_link_local_addresses_are_never_allowed(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address), internal=False)
    assert not is_allowed(ipaddress.ip_address(address), internal=True)


@pytest.mark.security("H01")
@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_an_internal_provider(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address), internal=False)
    assert is_allowed(ipaddress.ip_address(address), internal=True)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(ipaddress.ip_address(address), internal=False)


@pytest.mark.security("H02", "H05")
@pytest.mark.parametrize(
    "url",
    [
        "https://2130706433/", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/", "https://0x7f000001/",
        "https://[fe80::1%25lo]/", "https://[fe80::1%lo]/", "https://1.2.3.4.5/", "https://a.1/", "https://0x7f.0.0.0x1/",
        "https://ok@169.254.169.254/", "https://ok\\@evil/", "https://evil#@ok/", "https://evil/#", "https://a\tb/", "https://a\nb/",
        "https://a b/", "https://a.example:/", "https://a.example:22/", "https://a.example:0/", "https://a.example:99999/",
        "https://a.example:x/", "https:///x", "https:a.example", "//a.example/", "ftp://a.example/", "file:///etc/passwd",
        "data:text/plain,x", "gopher://a.example/", "javascript:alert(1)", "http://a.example/", "http://127.0.0.1/",
        "https://%61.example/", "https://a..example/", "https://-a.example/", "https://localhost./", "https://" + "a" * 300 + "/", "https://a/" + "x" * 100_000,
        "https://[::1", "https://a.example\u202e/", "", "https://①②⑦.0.0.1/", "https://127。0。0。1/", "https://☃.example/", "https://ａ.example/",
    ],
)  # fmt: skip
def test_urls_that_could_be_read_in_two_ways_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_endpoint(url)


@pytest.mark.security("H02")
@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://BÜCHER.example/", "xn--bcher-kva.example"), ("https://faß.example/", "xn--fa-hia.example"),
        ("https://[2606:4700:4700:0::1111]/", "2606:4700:4700::1111"),
    ],
)  # fmt: skip
def test_other_spellings_are_read_as_the_host_they_mean(url: str, host: str) -> None:
    assert check_endpoint(url).host.rstrip(".") == host.rstrip(".")
    assert check_endpoint(str(requests.Request("GET", url).prepare().url)).host == host, "and that is who is asked"


@pytest.mark.security("H01", "H02")
@pytest.mark.parametrize(
    ("host", "means", "internal"),
    [
        ("①②⑦.0.0.1", "", False), ("127。0。0。1", "", False), ("[::1]", "", False), ("localhost", "127.0.0.1", False),
        ("metadata.google.internal", "169.254.169.254", True), ("metadata.google.internal", "fd00:ec2::254", True),
    ],
)  # fmt: skip
def test_a_name_or_spelling_that_means_a_forbidden_address_is_never_connected_to(
    *, host: str, means: str, internal: bool, register: Any, tls_fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(tls_fake.url.rpartition(":")[2])

    def resolver(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET6 if ":" in means else socket.AF_INET, socket.SOCK_STREAM, 6, "", (means, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    policy = {"internal": internal, "api_base_url": f"https://{host}:{port}/api/"}
    with pytest.raises(RequestBlocked) as caught, session_for(register(tls_fake, transport=policy)) as http:
        http.get("/echo")
    assert caught.value.code == ("address_not_allowed" if host.isascii() else "url_not_allowed")
    assert tls_fake.connections == 0


def test_plain_http_is_for_internal_providers_on_this_machine_only() -> None:
    assert check_endpoint("http://127.0.0.1:8000/", internal=True).port == 8000
    assert check_endpoint("http://localhost/", internal=True).port == 80
    for url in (
        "http://10.0.0.1/",
        "http://a.example/",
        "http://localhost.evil.example/",
        "http://127.0.0.1.evil.example/",
    ):
        with pytest.raises(ValueError, match="https"):
            check_endpoint(url, internal=True)


@pytest.mark.parametrize("entry", ["https://a", "a/b", "*.a.example", "", 7, None, "a b", "a:22", "user@a"])
def test_allow_list_entries_are_exact_hosts(entry: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_host(entry)


@pytest.mark.security("H01", "H06")
def test_a_provider_that_is_not_internal_cannot_reach_this_machine(
    tls_fake: FakeProvider, register: Any, ca_bundle: str
) -> None:
    registration = register(tls_fake, transport={"internal": False, "ca_bundle": ca_bundle})
    with pytest.raises(ProviderUnreachable):
        OAuth2Flow(registration).client_credentials()
    assert not tls_fake.requests
    with pytest.raises(RequestBlocked) as caught, session_for(registration) as http:
        http.get("/echo")
    assert caught.value.code == "address_not_allowed"
    assert tls_fake.connections == 0


class Source:
    """A token source that always has the same token."""

    def __init__(self, registration: ClientRegistration, token: str) -> None:
        self.registration = registration
        self.credentials = Credentials(Secret(token))

    def current(self, *, rejected: Credentials | None = None) -> tuple[ClientRegistration, Credentials]:
        return self.registration, self.credentials


def session_for(registration: ClientRegistration, token: str = "token") -> OAuthSession:
    return OAuthSession(Source(registration, token))


@pytest.mark.security("H03")
def test_every_answer_of_the_resolver_is_vetted(
    tls_fake: FakeProvider, register: Any, ca_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(tls_fake.url.rpartition(":")[2])

    def resolver(*_: Any, **__: Any) -> list[Any]:
        # A public and a private answer, as an attacker's name server would give.
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("93.184.216.34", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    policy = {"internal": False, "ca_bundle": ca_bundle, "api_base_url": f"https://rebind.example:{port}/api/"}
    with pytest.raises(RequestBlocked), session_for(register(tls_fake, transport=policy)) as http:
        http.get("/echo")
    assert tls_fake.connections == 0


@pytest.mark.security("H03")
def test_the_name_is_resolved_once_and_tls_still_checks_the_name(
    authority: trustme.CA, register: Any, ca_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("pinned.example").configure_cert(context)
    lookups: list[str] = []
    with FakeProvider(tls=context) as fake:
        port = int(fake.url.rpartition(":")[2])

        def resolver(host: str, *_: Any, **__: Any) -> list[Any]:
            lookups.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", resolver)
        policy = {"ca_bundle": ca_bundle, "api_base_url": f"https://pinned.example:{port}/api/"}
        token, _ = fake.oauth2.issue()
        with session_for(register(fake, transport=policy), token) as http:
            answer = http.get("/echo")
        assert answer.json()["headers"]["host"] == f"pinned.example:{port}"
        assert lookups == ["pinned.example"]


def test_the_resolver_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def resolver(*_: object, **__: object) -> list[object]:
        over.wait(5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        resolve("slow.example", 443, timeout=0.2)
    assert time.monotonic() - started < 2
    over.set()


@pytest.mark.security("H04", "T02")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "target",
    ["/token2", "https://evil.example/token", "http://127.0.0.1:9/", "file:///etc/passwd", "//169.254.169.254/"],
)
def test_a_redirecting_endpoint_gets_nothing_more(status: int, target: str, fake: FakeProvider, register: Any) -> None:
    flow = OAuth2Flow(register(fake))
    fake.script("token", Answer(status, headers={"Location": target}))
    with pytest.raises(TokenEndpointError) as caught:
        flow.refresh(Secret("refresh"))
    assert caught.value.code == "provider_redirect"
    fake.script("userinfo", Answer(status, headers={"Location": target}))
    with pytest.raises(TokenEndpointError):
        flow.identify(Credentials(Secret("token")), {})
    assert len(fake.requests) == 2


@pytest.mark.security("H06")
@pytest.mark.parametrize("url", ["http://as.example/token", "https://user@as.example/token", "https://as.example:25/t"])
def test_endpoints_are_vetted_at_use_as_well(url: str, fake: FakeProvider, register: Any) -> None:
    registration = register(fake)
    object.__setattr__(registration.server, "token_endpoint", url)
    with pytest.raises(ConfigurationError) as caught:
        OAuth2Flow(registration).refresh(Secret("refresh"))
    assert caught.value.code == "endpoint_not_allowed"
    prepared = requests.Request("POST", url).prepare()
    with pytest.raises(RequestBlocked):
        send(prepared, policy=TransportPolicy(internal=True))


@pytest.mark.security("H07")
def test_proxies_and_netrc_of_the_environment_are_ignored(
    fake: FakeProvider, register: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login evil password evil\n")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("NO_PROXY", "")
    token, _ = fake.oauth2.issue()
    registration = register(fake)
    with session_for(registration, token) as http:
        assert http.get("/echo").status_code == 200
    OAuth2Flow(registration).client_credentials()
    assert fake.received("api")[0].headers["authorization"] == f"Bearer {token}"


@pytest.mark.security("H07")
def test_an_explicit_proxy_is_used(fake: FakeProvider, register: Any) -> None:
    with FakeProvider() as proxy:
        token, _ = fake.oauth2.issue()
        registration = register(fake, transport={"proxy": proxy.url})
        with session_for(registration, token) as http:
            http.get("/echo")
        assert [r.url.endswith("/api/echo") for r in proxy.requests] == [True]
        assert not fake.requests


def test_an_explicit_proxy_is_shown_the_credentials_in_its_url(register: Any, fake: FakeProvider) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(5)

        def refuse() -> None:
            client, _ = proxy.accept()
            with client:
                asked.append(client.recv(9999))
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=refuse)
        thread.start()
        address = f"http://us%40er:p%C3%A4%E2%82%AC@127.0.0.1:{proxy.getsockname()[1]}"
        registration = register(fake, transport={"proxy": address, "deadline": 3.0})
        object.__setattr__(registration.server, "token_endpoint", "https://provider.example/token")
        with pytest.raises(ProviderUnreachable):
            OAuth2Flow(registration).client_credentials()
        thread.join()
    head = {line.partition(":")[0].lower(): line.partition(": ")[2] for line in asked[0].decode().split("\r\n")}
    assert head["proxy-authorization"] == "Basic " + base64.b64encode("us@er:pä€".encode()).decode()


@pytest.mark.security("H08")
@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/", "//evil.example/", "\\\\evil.example", "@evil.example", "/\\evil.example", "http://127.0.0.1/",
        "http://localhost:{port}/", "http://sub.127.0.0.1:{port}/", "http://127.0.0.1:9/", "http://127.0.0.1:{port}@evil.example/",
        "HTTPS://evil.example", "http://127.0.0.1:{port}.evil.example/", " https://evil.example/", " //evil.example/", "\t//evil.example",
        "http://127.0.0.1:{port}\\@evil.example/", "http://127.0.0.1:{port} @evil.example/", "https:\\\\evil.example", "x\\y", "a\r\nb",
        "https://evil.example?@127.0.0.1:{port}/", "https://evil.example#@127.0.0.1:{port}/", "http://127.0.0.1:{port}%2f@evil.example/",
        "http://127.0.0.1/:{port}", "http://[::1]:{port}/", "ftp://127.0.0.1:{port}/", b"\xff", b"//evil.example",
    ],
)  # fmt: skip
def test_a_token_goes_to_listed_hosts_only_and_no_name_is_looked_up(
    url: str | bytes, fake: FakeProvider, register: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolver(*_: Any, **__: Any) -> Any:
        pytest.fail("a name was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    with session_for(register(fake)) as http, pytest.raises(RequestBlocked):
        http.get(url if isinstance(url, bytes) else url.format(port=fake.url.rpartition(":")[2]))
    assert not fake.requests


def test_further_hosts_can_be_listed_by_name_and_port(fake: FakeProvider, register: Any) -> None:
    token, _ = fake.oauth2.issue()
    port = fake.url.rpartition(":")[2]
    registration = register(
        fake, transport={"api_base_url": "https://api.example/", "api_hosts": (f"127.0.0.1:{port}",)}
    )
    with session_for(registration, token) as http:
        assert http.get(f"{fake.url}/api/echo").status_code == 200


@pytest.mark.security("H09", "O13")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_only_a_redirect_within_the_origin_is_followed_with_the_token(
    status: int, fake: FakeProvider, register: Any
) -> None:
    token, _ = fake.oauth2.issue()
    with FakeProvider() as other, session_for(register(fake), token) as http:
        fake.script("api", Answer(status, headers={"Location": "/api/echo?again"}))
        assert http.get("/first").url.endswith("/api/echo?again")
        fake.script("api", Answer(status, headers={"Location": f"{other.url}/steal"}))
        assert http.get("/second").status_code == status
        fake.script(
            "api", Answer(status, headers={"Location": fake.url.replace("127.0.0.1", "localhost") + "/api/echo"})
        )
        assert http.get("/third").status_code == status
        assert not other.requests
    assert all(r.headers["authorization"] == f"Bearer {token}" for r in fake.requests)


@pytest.mark.security("H09", "O13")
def test_another_origin_is_not_followed_to_even_if_it_is_listed(fake: FakeProvider, register: Any) -> None:
    """The API's own host by another name, another port, and a host that may be called directly."""
    token, _ = fake.oauth2.issue()
    port = fake.url.rpartition(":")[2]
    with FakeProvider() as other:
        hosts = (f"localhost:{port}", other.url.removeprefix("http://"))
        with session_for(register(fake, transport={"api_hosts": hosts}), token) as http:
            for target in (f"http://localhost:{port}/api/echo", f"{other.url}/api/echo"):
                fake.script("api", Answer(302, headers={"Location": target}))
                assert http.get("/first").status_code == 302
            assert http.get(f"http://localhost:{port}/api/echo").status_code == 200, "called directly, it is allowed"
        assert not other.requests


@pytest.mark.security("H09", "O13")
def test_a_redirect_from_https_to_http_is_not_followed(tls_fake: FakeProvider, register: Any, ca_bundle: str) -> None:
    token, _ = tls_fake.oauth2.issue()
    with session_for(register(tls_fake, transport={"ca_bundle": ca_bundle}), token) as http:
        tls_fake.script("api", Answer(302, headers={"Location": f"{tls_fake.url.replace('https:', 'http:')}/api/echo"}))
        assert http.get("/first").status_code == 302
    assert tls_fake.connections == 1


@pytest.mark.security("H10")
@pytest.mark.parametrize("bad", ["/a\r\nX-Evil: 1", "/a\nb", "/a\x00b", "/a b HTTP/1.1\r\nX-Evil: 1\r\n\r\n", "\r\n/a"])
def test_nothing_can_break_out_of_the_request_line(bad: str, fake: FakeProvider, register: Any) -> None:
    with session_for(register(fake)) as http, pytest.raises(RequestBlocked) as caught:
        http.get(bad)
    assert caught.value.code == "url_not_allowed"
    assert fake.connections == 0


@pytest.mark.security("H10")
@pytest.mark.parametrize("bad", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "é"])
def test_nothing_can_break_out_of_a_header(bad: str, fake: FakeProvider, register: Any) -> None:
    with session_for(register(fake), bad) as http, pytest.raises(RequestBlocked):
        http.get("/echo")
    token, _ = fake.oauth2.issue()
    with session_for(register(fake), token) as http:
        with pytest.raises((requests.exceptions.InvalidHeader, UnicodeError, RequestBlocked)):
            http.get("/echo", headers={"X-A": bad + "\r\n"})
        http.get("/echo", params={"q": bad})
    assert all("x-evil" not in r.headers for r in fake.requests)


@pytest.mark.security("H11")
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("fault", ["self-signed", "wrong-name", "expired", "old-tls", "null-cipher"])
def test_tls_that_cannot_be_trusted_is_not_used(
    fault: str, authority: trustme.CA, register: Any, ca_bundle: str
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issuer = trustme.CA() if fault == "self-signed" else authority
    yesterday = datetime.now(UTC) - timedelta(days=1)
    names = ["other.example"] if fault == "wrong-name" else ["127.0.0.1"]
    issuer.issue_cert(*names, not_after=yesterday if fault == "expired" else None).configure_cert(context)
    if fault == "old-tls":
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    elif fault == "null-cipher":
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # later versions have none
        context.set_ciphers("eNULL:@SECLEVEL=0")
    with FakeProvider(tls=context) as fake:
        registration = register(fake, transport={"ca_bundle": ca_bundle})
        with pytest.raises(ProviderUnreachable):
            OAuth2Flow(registration).client_credentials()
        with session_for(registration) as http, pytest.raises(requests.exceptions.SSLError):
            http.get("/echo", verify=False)  # a caller cannot switch it off either
        assert not fake.requests


@pytest.mark.security("H12")
def test_a_filtered_target_looks_like_a_blocked_one_and_only_the_log_tells(
    ca_bundle: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_: Any) -> None:
        raise TimeoutError

    monkeypatch.setattr(socket.socket, "connect", nowhere)
    texts = set()
    for url in ("https://10.0.0.1/t", "https://169.254.169.254/t"):
        with pytest.raises(ProviderUnreachable) as caught:
            send(requests.Request("POST", url).prepare(), policy=TransportPolicy(internal=True, ca_bundle=ca_bundle))
        texts.add((str(caught.value), caught.value.hint, caught.value.code, type(caught.value)))
    assert len(texts) == 1
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        "oauth_flows.address_not_allowed"
    ] * 2


@pytest.mark.security("H12")
def test_open_closed_and_blocked_targets_look_alike(fake: FakeProvider, register: Any, ca_bundle: str) -> None:
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    texts = set()
    for url, internal in (
        (f"https://127.0.0.1:{closed.getsockname()[1]}/t", True),
        (fake.url.replace("http:", "https:") + "/t", True),
        (fake.url.replace("http:", "https:") + "/t", False),
        ("https://169.254.169.254/t", True),
    ):
        with pytest.raises(ProviderUnreachable) as caught:
            send(
                requests.Request("POST", url).prepare(), policy=TransportPolicy(internal=internal, ca_bundle=ca_bundle)
            )
        texts.add((str(caught.value), caught.value.hint, caught.value.code))
    closed.close()
    assert len(texts) == 1


def test_one_pool_serves_all_sessions_and_a_forked_child_starts_its_own(register: Any, fake: FakeProvider) -> None:
    policy = register(fake).transport
    assert pool.adapter_for(policy) is pool.adapter_for(policy)
    assert pool.adapter_for(policy) is not pool.adapter_for(TransportPolicy())
