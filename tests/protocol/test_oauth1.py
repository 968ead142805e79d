"""Group O: OAuth 1.0a, against the RFC's own vectors and two independent verifiers."""

from __future__ import annotations

import base64
import hmac
import os
import time
from email.utils import formatdate as http_date
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from authlib.oauth1.rfc5849.signature import verify_hmac_sha1, verify_plaintext, verify_rsa_sha1
from authlib.oauth1.rfc5849.wrapper import OAuth1Request
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from oauthlib.oauth1.rfc5849 import signature as oauthlib_signature

from django_oauth_flows.exceptions import (
    AuthorizationError,
    ConfigurationError,
    OAuthFlowsError,
    RequestBlocked,
    TokenEndpointError,
)
from django_oauth_flows.protocol.authorization import validate_authorization_response
from django_oauth_flows.protocol.messages import (
    AuthorizationResponse,
    ClientRegistration,
    Credentials,
    PendingAuthorization,
    ServerMetadata,
    TemporaryCredentials,
    TransportPolicy,
)
from django_oauth_flows.protocol.oauth1 import OAuth1Flow
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.protocol.session import OAuthSession
from django_oauth_flows.protocol.transport import ProtocolResponse
from django_oauth_flows.testing import Answer, FakeProvider
from django_oauth_flows.testing.oauth1 import base_string, collect_parameters, verify
from django_oauth_flows.testing.server import Received

if TYPE_CHECKING:
    from collections.abc import Iterator

METHODS = ["HMAC-SHA1", "HMAC-SHA256", "HMAC-SHA512", "RSA-SHA1", "RSA-SHA256", "RSA-SHA512", "PLAINTEXT"]
STATE = Secret("s" * 43)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def pem(key: rsa.RSAPrivateKey) -> Secret:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return Secret(key.private_bytes(encoding, form, serialization.NoEncryption()).decode())


def flow_at(url: str, **changes: Any) -> OAuth1Flow:
    """Return a flow that can sign, for requests that are never sent."""
    values: dict[str, Any] = {
        "name": "x",
        "protocol": "oauth1",
        "server": ServerMetadata(token_endpoint=url),
        "client_id": "dpf43f3p2l4k3l03",
        "client_secret": Secret("kd94hf93k423kf44"),
        "transport": TransportPolicy(internal=True),
    }
    return OAuth1Flow(ClientRegistration(**(values | changes)))


def as_received(prepared: requests.PreparedRequest) -> Received:
    """Look at a signed request as a server does."""
    body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body or b""
    headers = {str(k).lower(): str(v) for k, v in prepared.headers.items()}
    return Received(str(prepared.method), str(prepared.url), headers, body)


def is_valid(prepared: requests.PreparedRequest, *, client_secret: str, token_secret: str, key: Any = None) -> bool:
    """Verify straight from RFC 5849, without any OAuth library."""
    received = as_received(prepared)
    oauth, signed = collect_parameters(received)
    return verify(received, oauth, signed, client_secret=client_secret, token_secret=token_secret, key=key)


@pytest.mark.security("O01")
@pytest.mark.rfc("5849", "3.4.1.1")
def test_the_base_string_of_the_rfc() -> None:
    expected = (
        "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26"
        "oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26"
        "oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
    )
    header = (
        'OAuth realm="Example", oauth_consumer_key="9djdj82h48djs9d2", oauth_token="kkk9d7dh3k39sjv7", '
        'oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131201", oauth_nonce="7d8f3e4a", '
        'oauth_signature="bYT5CMsGcbgUdFHObYMEfcx6bsw%3D"'
    )
    headers = {"authorization": header, "content-type": "application/x-www-form-urlencoded"}
    url = "http://example.com/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b"
    received = Received("POST", url, headers, b"c2&a3=2+q")
    _, signed = collect_parameters(received)
    assert base_string("POST", url, signed) == expected
    parameters = oauthlib_signature.collect_parameters(urlsplit(url).query, "c2&a3=2+q", {"Authorization": header})
    normalised = oauthlib_signature.normalize_parameters(parameters)
    uri = oauthlib_signature.base_string_uri(url)
    assert oauthlib_signature.signature_base_string("POST", uri, normalised) == expected


@pytest.mark.security("O02")
@pytest.mark.filterwarnings("ignore:use sign_hmac_sha1")
@pytest.mark.rfc("5849", "1.2")
@pytest.mark.parametrize(
    ("method", "url", "oauth", "token_secret", "signature"),
    [
        (
            "POST",
            "https://photos.example.net/token",
            {
                "oauth_token": "hh5s93j4hdidpola",
                "oauth_timestamp": "137131201",
                "oauth_nonce": "walatlh",
                "oauth_verifier": "hfdp7dh39dks9884",
            },
            "hdhd0244k9j7ao03",
            "gKgrFCywp7rO0OXSjdot/IHF7IU=",
        ),
        (
            "GET",
            "http://photos.example.net/photos?file=vacation.jpg&size=original",
            {"oauth_token": "nnch734d00sl2jdk", "oauth_timestamp": "137131202", "oauth_nonce": "chapoH"},
            "pfkkdhi9sl3r4s00",
            "MdpQcU8iPSUjWoN/UDMsK2sui9I=",
        ),
    ],
)
def test_the_signatures_of_the_rfc(
    method: str, url: str, oauth: dict[str, str], token_secret: str, signature: str
) -> None:
    """Both verifiers of this suite agree with the RFC, so what they accept below is signed by the RFC."""
    oauth = {"oauth_consumer_key": "dpf43f3p2l4k3l03", "oauth_signature_method": "HMAC-SHA1", **oauth}
    pairs = [*parse_qsl(urlsplit(url).query), *oauth.items()]
    text = oauthlib_signature.signature_base_string(
        method, oauthlib_signature.base_string_uri(url), oauthlib_signature.normalize_parameters(pairs)
    )
    assert text == base_string(method, url, pairs)
    assert oauthlib_signature.sign_hmac_sha1(text, "kd94hf93k423kf44", token_secret) == signature
    received = Received(method, url, {}, b"")
    oauth["oauth_signature"] = signature
    assert verify(received, oauth, pairs, client_secret="kd94hf93k423kf44", token_secret=token_secret)
    assert not verify(received, oauth, pairs, client_secret="kd94hf93k423kf44", token_secret="other")


SIGNED = {
    "POST https://photos.example.net/token": (
        {"oauth_token": "hh5s93j4hdidpola", "oauth_timestamp": "137131201", "oauth_nonce": "walatlh"},
        ("kd94hf93k423kf44", "hdhd0244k9j7ao03"),
        (
            "POST&https%3A%2F%2Fphotos.example.net%2Ftoken&oauth_consumer_key%3Ddpf43f3p2l4k3l03%26oauth_nonce%3Dwalatlh%26"
            "oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dhh5s93j4hdidpola%26"
            "oauth_verifier%3Dhfdp7dh39dks9884"
        ),
        "gKgrFCywp7rO0OXSjdot/IHF7IU=",
    ),
    "GET http://photos.example.net/photos?file=vacation.jpg&size=original": (
        {"oauth_token": "nnch734d00sl2jdk", "oauth_timestamp": "137131202", "oauth_nonce": "chapoH"},
        ("kd94hf93k423kf44", "pfkkdhi9sl3r4s00"),
        (
            "GET&http%3A%2F%2Fphotos.example.net%2Fphotos&file%3Dvacation.jpg%26oauth_consumer_key%3Ddpf43f3p2l4k3l03%26"
            "oauth_nonce%3DchapoH%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131202%26"
            "oauth_token%3Dnnch734d00sl2jdk%26size%3Doriginal"
        ),
        "MdpQcU8iPSUjWoN/UDMsK2sui9I=",
    ),
    "POST http://example.com/request?b5=%3D%253D&a3=a&c%40=&a2=r%20b": (
        {"oauth_token": "kkk9d7dh3k39sjv7", "oauth_timestamp": "137131201", "oauth_nonce": "7d8f3e4a"},
        ("j49sk3j29djd", "dh893hdasih9"),
        (
            "POST&http%3A%2F%2Fexample.com%2Frequest&a2%3Dr%2520b%26a3%3D2%2520q%26a3%3Da%26b5%3D%253D%25253D%26c%2540%3D%26c2%3D%26"
            "oauth_consumer_key%3D9djdj82h48djs9d2%26oauth_nonce%3D7d8f3e4a%26oauth_signature_method%3DHMAC-SHA1%26"
            "oauth_timestamp%3D137131201%26oauth_token%3Dkkk9d7dh3k39sjv7"
        ),
        "r6/TJjbCOr97/+UU0NsvSne7s5g=",
    ),
}
"""Method and URL → the RFC's protocol parameters, the two secrets, the base string, and the signature."""


@pytest.mark.security("O01", "O02")
@pytest.mark.rfc("5849", "1.2")
@pytest.mark.rfc("5849", "3.4.1.1")
@pytest.mark.parametrize("request_line", SIGNED)
def test_the_flow_itself_signs_the_rfcs_requests_as_the_rfc_does(
    request_line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours has ``oauth_version`` in addition, which the RFC's leave out; nothing else differs."""
    oauth, secrets, text, signature = SIGNED[request_line]
    assert hmac_sha1(secrets, text) == signature
    method, _, url = request_line.partition(" ")
    monkeypatch.setattr("django_oauth_flows.protocol.oauth1.secrets.token_hex", lambda _: oauth["oauth_nonce"])
    monkeypatch.setattr("oauthlib.oauth1.rfc5849.generate_timestamp", lambda: oauth["oauth_timestamp"])
    client_id = "9djdj82h48djs9d2" if "example.com/" in url else "dpf43f3p2l4k3l03"
    flow = flow_at(url, client_id=client_id, client_secret=Secret(secrets[0]), realm="Example")
    token, token_secret = Secret(oauth["oauth_token"]), Secret(secrets[1])
    if url.endswith("/token"):
        sent: list[requests.PreparedRequest] = []

        def send(prepared: requests.PreparedRequest, **_: Any) -> ProtocolResponse:
            sent.append(prepared)
            return ProtocolResponse(200, {}, b"oauth_token=a&oauth_token_secret=b")

        monkeypatch.setattr("django_oauth_flows.protocol.oauth1.send", send)
        pending = PendingAuthorization(
            flow.registration, "https://s.example/", temporary_credentials=TemporaryCredentials(token, token_secret)
        )
        flow.exchange(AuthorizationResponse(pending, Secret("hfdp7dh39dks9884")))
        (signed,) = sent
    else:
        body = "c2&a3=2+q" if method == "POST" else None
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        prepared = requests.Request(method, url, data=body, headers=headers).prepare()
        signed = flow.authenticate(prepared, Credentials(token, token_secret))
    before, size, after = text.partition("%26size%3D")
    ours, _ = collect_parameters(as_received(signed))
    assert ours["oauth_signature"] == hmac_sha1(secrets, f"{before}%26oauth_version%3D1.0{size}{after}")


def hmac_sha1(secrets: tuple[str, str], text: str) -> str:
    return base64.b64encode(hmac.digest("&".join(secrets).encode(), text.encode(), "sha1")).decode()


@pytest.mark.security("O03")
@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("HTTP://EXAMPLE.COM:80/r%20v/X?id=123", "http://example.com/r%20v/X"),
        ("https://www.example.net:8080/?q=1", "https://www.example.net:8080/"),
        ("https://h.example:443/a", "https://h.example/a"),
        ("https://h.example:80/a", "https://h.example:80/a"),
        ("http://h.example", "http://h.example/"),
        ("https://[2001:db8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
        ("https://[2001:DB8::1]:443/x", "https://[2001:db8::1]/x"),
        ("https://h.example/%7Euser", "https://h.example/~user"),
        ("https://bücher.example/x", "https://xn--bcher-kva.example/x"),
    ],
)
def test_the_uri_is_normalised_and_what_is_signed_is_what_is_sent(url: str, uri: str) -> None:
    prepared = requests.Request("GET", url).prepare()
    signed = flow_at(url).authenticate(prepared, Credentials(Secret("t"), Secret("ts")))
    assert urlsplit(str(signed.url)).netloc.isascii()
    assert oauthlib_signature.base_string_uri(str(signed.url)) == uri
    assert is_valid(signed, client_secret="kd94hf93k423kf44", token_secret="ts")


@pytest.mark.security("O03")
@pytest.mark.parametrize(
    "url", ["https://me@127.0.0.1:{port}/x", "https://me:pw@127.0.0.1:{port}/x", "https://localhost.:{port}/x"]
)
def test_user_information_and_a_trailing_dot_are_refused_before_signing(
    url: str, tls_fake: FakeProvider, register: Any, ca_bundle: str
) -> None:
    """A server reads the host without them, and would find another signature."""
    port = tls_fake.url.rpartition(":")[2]
    hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
    registration = register(tls_fake, protocol="oauth1", transport={"ca_bundle": ca_bundle, "api_hosts": hosts})
    with OAuthSession(Source(registration, tls_fake)) as http, pytest.raises(RequestBlocked) as caught:
        http.get(url.format(port=port))
    assert caught.value.code == "url_not_allowed"
    assert tls_fake.connections == 0


VALUES = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = VALUES.filter(lambda text: bool(text) and not text.lower().startswith("oauth_"))


@pytest.mark.security("O04")
@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    query=st.lists(st.tuples(NAMES, VALUES), max_size=4),
    form=st.lists(st.tuples(NAMES, VALUES), max_size=4),
    placement=st.sampled_from(["header", "query", "body"]),
)
def test_whatever_is_sent_is_signed(query: Any, form: Any, placement: Any) -> None:
    prepared = requests.Request("POST", "https://api.example/x", params=query, data=form).prepare()
    signed = flow_at("https://api.example/", signature_placement=placement).authenticate(
        prepared, Credentials(Secret("t"), Secret("ts"))
    )
    assert is_valid(signed, client_secret="kd94hf93k423kf44", token_secret="ts")


@pytest.mark.security("O04")
@pytest.mark.parametrize(
    "query",
    ["a=1&a=0&a", "x=&y", "p=a+b&q=a%20b", "t=~*'()", "s=%E2%98%83+100%25", "sc=a;b=c", "z=%7E", "e=%zz", "n=10&n=2&n=%2520&N=1"],
)  # fmt: skip
def test_difficult_parameters_and_unsigned_bodies(query: str) -> None:
    for body in ({"json": {"a": "ü"}}, {"files": {"f": b"x"}}, {"data": b"\xff\x00"}, {"data": {"k": "v w"}}):
        prepared = requests.Request("POST", f"https://api.example/x?{query}", **body).prepare()
        signed = flow_at("https://api.example/").authenticate(prepared, Credentials(Secret("t"), Secret("ts")))
        assert is_valid(signed, client_secret="kd94hf93k423kf44", token_secret="ts")
        assert oauthlib_accepts(signed, client_secret="kd94hf93k423kf44", token_secret="ts")
        assert not oauthlib_accepts(signed, client_secret="kd94hf93k423kf44", token_secret="other")


def oauthlib_accepts(prepared: requests.PreparedRequest, *, client_secret: str, token_secret: str) -> bool:
    """Verify with the server side of oauthlib, as most Python providers do."""
    received = as_received(prepared)
    is_form = received.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    parameters = oauthlib_signature.collect_parameters(
        uri_query=urlsplit(received.url).query,
        body=received.body.decode() if is_form else "",
        headers={"Authorization": received.headers["authorization"]},
        exclude_oauth_signature=False,
    )
    signature = dict(parameters)["oauth_signature"]
    signed = [pair for pair in parameters if pair[0] != "oauth_signature"]
    request = SimpleNamespace(uri=received.url, http_method=received.method, params=signed, signature=signature)
    return bool(oauthlib_signature.verify_hmac_sha1(request, client_secret, token_secret))


@pytest.mark.security("O05")
@pytest.mark.parametrize("query", ["oauth_token=evil", "a=1&oauth_signature=x", "OAuth_Nonce=1"])
def test_smuggled_parameters_are_refused_before_signing(query: str) -> None:
    prepared = requests.Request("GET", f"https://api.example/?{query}").prepare()
    with pytest.raises(RequestBlocked):
        flow_at("https://api.example/").authenticate(prepared, Credentials(Secret("t"), Secret("ts")))


@pytest.mark.security("O05")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"oauth_token": "evil"}, "parameter_not_allowed"),
        ("a=1&oauth%5Fsignature=x", "parameter_not_allowed"),
        (b"OAuth_Nonce=1", "parameter_not_allowed"),
        (b"a=\xff&OAuth_Nonce=1", "body_not_allowed"),
    ],
)
def test_smuggled_parameters_in_a_form_are_refused_before_signing(body: Any, code: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    prepared = requests.Request("POST", "https://api.example/", data=body, headers=headers).prepare()
    with pytest.raises(RequestBlocked) as caught:
        flow_at("https://api.example/").authenticate(prepared, Credentials(Secret("t"), Secret("ts")))
    assert caught.value.code == code


@pytest.mark.security("O05")
@pytest.mark.parametrize("realm", ['a"b', "a\r\nb", "\x00"])
def test_a_realm_cannot_break_out_of_the_header(realm: str) -> None:
    prepared = requests.Request("GET", "https://api.example/").prepare()
    with pytest.raises(OAuthFlowsError):
        flow_at("https://api.example/", realm=realm).authenticate(prepared, Credentials(Secret("t"), Secret("ts")))
    good = flow_at("https://api.example/", realm="Photos").authenticate(
        prepared, Credentials(Secret("t"), Secret("ts"))
    )
    assert 'realm="Photos"' in good.headers["Authorization"]


@pytest.mark.security("O06")
def test_nonces_have_128_bits_and_do_not_repeat() -> None:
    flow, seen = flow_at("https://api.example/"), set()
    for _ in range(2000):
        signed = flow.authenticate(
            requests.Request("GET", "https://api.example/").prepare(), Credentials(Secret("t"), Secret("s"))
        )
        oauth, _signed = collect_parameters(as_received(signed))
        assert len(oauth["oauth_nonce"]) == 32
        assert abs(int(oauth["oauth_timestamp"]) - time.time()) < 60
        seen.add(oauth["oauth_nonce"])
    assert len(seen) == 2000


@pytest.mark.security("O06")
def test_nonces_do_not_repeat_across_processes() -> None:
    """Workers are forked from one process, and share whatever it has seeded."""
    flow = flow_at("https://api.example/")
    prepared = requests.Request("GET", "https://api.example/").prepare()

    def nonces() -> str:
        signed = [flow.authenticate(prepared.copy(), Credentials(Secret("t"), Secret("s"))) for _ in range(100)]
        return "".join(collect_parameters(as_received(one))[0]["oauth_nonce"] for one in signed)

    text, children = nonces(), []
    for _ in range(8):
        read, write = os.pipe()
        if (child := os.fork()) == 0:
            os.write(write, nonces().encode())
            os._exit(0)
        os.close(write)
        children.append((child, read))
    for child, read in children:
        os.waitpid(child, 0)
        text += os.read(read, 65536).decode()
        os.close(read)
    assert len(text) == 900 * 32
    assert len({text[i : i + 32] for i in range(0, len(text), 32)}) == 900


@pytest.mark.security("O06")
@pytest.mark.parametrize("problem", ["timestamp_refused", "nonce_used"])
def test_a_refused_clock_is_tried_once_more_and_then_named(problem: str, fake: FakeProvider, register: Any) -> None:
    flow = OAuth1Flow(register(fake, protocol="oauth1"))
    refusal = Answer(401, f"oauth_problem={problem}")
    fake.script("temporary", refusal)
    flow.start(redirect_uri="https://site.example/cb", scopes=(), state=STATE)
    assert fake.count("temporary") == 2
    fake.script("temporary", refusal, refusal)
    with pytest.raises(TokenEndpointError) as caught:
        flow.start(redirect_uri="https://site.example/cb", scopes=(), state=STATE)
    assert caught.value.code == "clock_refused"
    assert "clock" in caught.value.hint
    assert fake.count("temporary") == 4
    nonces = [collect_parameters(r)[0]["oauth_nonce"] for r in fake.received("temporary")]
    assert len(set(nonces)) == 4


@pytest.mark.security("O06")
@pytest.mark.parametrize("status", [400, 401])
@pytest.mark.parametrize(
    ("fast_by", "body", "suspect"),
    [
        (3600, "", "clock"),
        (-3600, "error=invalid_request", "clock"),
        (120, "", ""),
        (3600, "oauth_problem=signature_invalid", ""),
        (None, "", ""),
    ],
)
def test_a_refusal_for_no_reason_where_it_is_another_time_is_put_down_to_the_clock(
    fast_by: int | None, body: str, suspect: str, status: int, fake: FakeProvider, register: Any
) -> None:
    """Few servers say ``timestamp_refused``: oauthlib's say nothing or a sentence. What they all have is a ``Date``."""
    date = "the day before yesterday" if fast_by is None else http_date(time.time() + fast_by)
    fake.script("temporary", Answer(status, body, {"Date": date}))
    with pytest.raises(TokenEndpointError) as caught:
        OAuth1Flow(register(fake, protocol="oauth1")).start(
            redirect_uri="https://site.example/cb", scopes=(), state=STATE
        )
    assert caught.value.suspect == suspect
    assert ("clock" in caught.value.hint) == bool(suspect)
    assert fake.count("temporary") == 1


@pytest.mark.security("O07")
@pytest.mark.rfc("5849", "2.1")
@pytest.mark.parametrize("value", [None, "false", "", "1", "truee", "true&oauth_callback_confirmed=true"])
def test_an_unconfirmed_callback_is_refused(value: str | None, fake: FakeProvider, register: Any) -> None:
    confirmed = "" if value is None else f"&oauth_callback_confirmed={value}"
    fake.script("temporary", Answer(200, f"oauth_token=a&oauth_token_secret=b{confirmed}"))
    with pytest.raises(AuthorizationError) as caught:
        OAuth1Flow(register(fake, protocol="oauth1")).start(
            redirect_uri="https://site.example/cb", scopes=(), state=STATE
        )
    assert caught.value.code == "callback_not_confirmed"


@pytest.mark.security("O07")
def test_a_callback_confirmed_in_capitals_is_confirmed(fake: FakeProvider, register: Any) -> None:
    fake.oauth1.confirms_callback = "True"
    pending, url = OAuth1Flow(register(fake, protocol="oauth1")).start(
        redirect_uri="https://s.example/cb", scopes=(), state=STATE
    )
    assert pending.temporary_credentials is not None
    assert dict(parse_qsl(urlsplit(url).query)) == {"oauth_token": pending.temporary_credentials.token.reveal()}
    callback = next(iter(fake.oauth1.temporary_credentials.values())).callback
    assert callback == f"https://s.example/cb?state={STATE.reveal()}"


def pending_for(registration: ClientRegistration) -> PendingAuthorization:
    temporary = TemporaryCredentials(Secret("temp"), Secret("temp-secret"))
    return PendingAuthorization(registration, "https://site.example/cb", temporary_credentials=temporary)


@pytest.mark.security("O08")
@pytest.mark.parametrize("token", ["other", "", None, "temp\x00"])
def test_another_request_token_is_refused(token: str | None, fake: FakeProvider, register: Any) -> None:
    params = [("oauth_verifier", "v")] + ([] if token is None else [("oauth_token", token)])
    with pytest.raises(AuthorizationError) as caught:
        validate_authorization_response(pending_for(register(fake, protocol="oauth1")), params)
    assert caught.value.code == "token_mismatch"


@pytest.mark.security("O10")
@pytest.mark.parametrize(
    ("verifier", "code"),
    [
        (None, "verifier_missing"),
        ("", "verifier_missing"),
        ("x" * 65_536, "invalid_code"),
        ("a b", "invalid_code"),
        ("é", "invalid_code"),
    ],
)
def test_a_missing_or_hostile_verifier_is_never_sent(
    verifier: str | None, code: str, fake: FakeProvider, register: Any
) -> None:
    params = [("oauth_token", "temp")] + ([] if verifier is None else [("oauth_verifier", verifier)])
    with pytest.raises(AuthorizationError) as caught:
        validate_authorization_response(pending_for(register(fake, protocol="oauth1")), params)
    assert caught.value.code == code


@pytest.mark.security("O10")
def test_a_doubled_verifier_is_refused_and_a_wrong_one_is_the_servers_to_refuse(
    fake: FakeProvider, register: Any
) -> None:
    registration = register(fake, protocol="oauth1")
    with pytest.raises(AuthorizationError) as caught:
        validate_authorization_response(
            pending_for(registration), [("oauth_token", "temp"), ("oauth_verifier", "a"), ("oauth_verifier", "b")]
        )
    assert caught.value.code == "duplicate_parameter"
    flow = OAuth1Flow(registration)
    pending, _ = flow.start(redirect_uri="https://site.example/cb", scopes=(), state=STATE)
    with pytest.raises(TokenEndpointError):
        flow.exchange(AuthorizationResponse(pending, Secret("wrong")))


@pytest.mark.security("O11")
@pytest.mark.parametrize(
    "body",
    ["oauth_token=a", "oauth_token=a&oauth_token_secret=", "oauth_token_secret=b", "oauth_token=a&oauth_token=b&oauth_token_secret=c",
     "<html>login</html>", "", '{"oauth_token":"a","oauth_token_secret":"b"}', "oauth_token=a%0d%0a&oauth_token_secret=b", b"\xff\xfe"],
)  # fmt: skip
def test_what_is_no_credential_response_is_refused(body: Any, fake: FakeProvider, register: Any) -> None:
    flow = OAuth1Flow(register(fake, protocol="oauth1"))
    pending, _ = flow.start(redirect_uri="https://site.example/cb", scopes=(), state=STATE)
    fake.script("token1", Answer(200, body))
    with pytest.raises(TokenEndpointError) as caught:
        flow.exchange(AuthorizationResponse(pending, Secret("v")))
    assert caught.value.code == "bad_response"


@pytest.mark.security("O11")
def test_a_problem_with_status_200_is_a_problem_and_a_huge_answer_is_refused(fake: FakeProvider, register: Any) -> None:
    flow = OAuth1Flow(register(fake, protocol="oauth1"))
    fake.script("temporary", Answer(200, "oauth_problem=permission_denied"), Answer(200, "a=" + "b" * 2_000_000))
    for code in ("provider_error", "bad_response"):
        with pytest.raises(TokenEndpointError) as caught:
            flow.start(redirect_uri="https://site.example/cb", scopes=(), state=STATE)
        assert caught.value.code == code


@pytest.mark.security("O12")
def test_plaintext_and_plain_http_are_refused_before_a_secret_leaves(fake: FakeProvider, register: Any) -> None:
    registration = register(fake, protocol="oauth1", signature_method="PLAINTEXT")
    with pytest.raises(RequestBlocked):
        OAuth1Flow(registration).start(redirect_uri="https://site.example/cb", scopes=(), state=STATE)
    prepared = requests.Request("GET", "http://api.example/").prepare()
    with pytest.raises(RequestBlocked):
        flow_at("x", signature_method="PLAINTEXT").authenticate(prepared, Credentials(Secret("t"), Secret("s")))
    with pytest.raises(OAuthFlowsError):
        OAuth1Flow(register(fake, protocol="oauth1", transport={"internal": False})).start(
            redirect_uri="https://site.example/cb", scopes=(), state=STATE
        )
    assert not fake.requests


@pytest.mark.security("O12")
@pytest.mark.parametrize("internal", [False, True])
@pytest.mark.parametrize("host", ["as.example", "10.0.0.1", "127.0.0.1.as.example"])
def test_plain_http_beyond_this_machine_is_refused_before_a_name_is_looked_up(
    *, host: str, internal: bool, fake: FakeProvider, register: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    server = ServerMetadata(**dict.fromkeys(("temporary_credential_endpoint", "token_endpoint"), f"http://{host}/"))
    transport = {"internal": internal, "api_hosts": (f"{host}:80",)}
    registration = register(fake, protocol="oauth1", server=server, transport=transport)
    flow = OAuth1Flow(registration)
    pending = pending_for(registration)
    for leg in (
        lambda: flow.start(redirect_uri="https://site.example/cb", scopes=(), state=STATE),
        lambda: flow.exchange(AuthorizationResponse(pending, Secret("v"))),
    ):
        with pytest.raises(ConfigurationError) as caught:
            leg()
        assert caught.value.code == "endpoint_not_allowed"
    with OAuthSession(Source(registration, fake)) as http, pytest.raises(RequestBlocked) as blocked:
        http.get(f"http://{host}/x")
    assert blocked.value.code == "url_not_allowed"
    assert fake.connections == 0


class Source:
    """A token source with one pair of token credentials."""

    def __init__(self, registration: ClientRegistration, fake: FakeProvider) -> None:
        token, secret = fake.oauth1.issue()
        self.registration, self.credentials = registration, Credentials(Secret(token), Secret(secret), "OAuth")

    def current(self, *, rejected: Credentials | None = None) -> tuple[ClientRegistration, Credentials]:
        return self.registration, self.credentials


@pytest.mark.security("O13")
@pytest.mark.parametrize("method", ["HMAC-SHA1", "PLAINTEXT"])
def test_a_redirect_is_signed_anew_within_the_origin_and_never_for_another_host(
    method: str, tls_fake: FakeProvider, fake: FakeProvider, register: Any, ca_bundle: str
) -> None:
    registration = register(tls_fake, protocol="oauth1", signature_method=method, transport={"ca_bundle": ca_bundle})
    with OAuthSession(Source(registration, tls_fake)) as http:
        tls_fake.script("api", Answer(302, headers={"Location": "/api/echo?again=1"}))
        assert http.get("/first").status_code == 200
        for target in (f"{fake.url}/steal", tls_fake.url.replace("127.0.0.1", "localhost") + "/steal"):
            tls_fake.script("api", Answer(302, headers={"Location": target}))
            assert http.get("/second").status_code == 302
    assert not fake.requests
    assert not [r for r in tls_fake.requests if r.path == "/steal"]


@pytest.mark.security("O15")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("placement", ["header", "query", "body"])
def test_all_seven_methods_are_accepted_by_a_server_that_does_not_use_oauthlib(
    method: str,
    placement: str,
    tls_fake: FakeProvider,
    register: Any,
    ca_bundle: str,
    key: rsa.RSAPrivateKey,
    pem: Secret,
) -> None:
    tls_fake.oauth1.public_key = key.public_key()
    registration = register(
        tls_fake,
        protocol="oauth1",
        signature_method=method,
        signature_placement=placement,
        private_key=pem,
        transport={"ca_bundle": ca_bundle},
    )
    flow = OAuth1Flow(registration)
    pending, url = flow.start(redirect_uri="https://site.example/cb", scopes=(), state=STATE)
    page = requests.get(url, allow_redirects=False, verify=ca_bundle, timeout=5)
    params = parse_qsl(urlsplit(page.headers["Location"]).query)
    tokens = flow.exchange(validate_authorization_response(pending, params))
    assert flow.identify(Credentials(tokens.token, tokens.token_secret), {}).subject == "account-1"
    with OAuthSession(Source(registration, tls_fake)) as http:
        assert http.get("/echo", params={"q": "ü &"}).status_code == 200
        assert http.post("/echo", data={"a": "b c"}).status_code == 200
        assert http.post("/echo", json={"a": 1}).status_code == 200
    assert flow.revoke(Credentials(tokens.token, tokens.token_secret)).outcome == "revoked"
    signed = [collect_parameters(r)[0] for r in tls_fake.requests if r.path != "/oauth1/authorize"]
    assert {oauth["oauth_signature_method"] for oauth in signed} == {method}


@pytest.mark.security("O15")
@pytest.mark.parametrize("method", ["HMAC-SHA1", "RSA-SHA1", "PLAINTEXT"])
def test_authlib_accepts_our_signatures(method: str, key: rsa.RSAPrivateKey, pem: Secret) -> None:
    """Authlib verifies three of the seven methods; the others have the verifier above, written from the RFC."""
    flow = flow_at("https://api.example/", signature_method=method, private_key=pem)
    prepared = requests.Request("POST", "https://api.example/x?b=2&a=%20", data={"c": "ü"}).prepare()
    signed = flow.authenticate(prepared, Credentials(Secret("token"), Secret("token-secret")))
    request = OAuth1Request("POST", str(signed.url), body=signed.body, headers=dict(signed.headers))
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    check = {"HMAC-SHA1": verify_hmac_sha1, "RSA-SHA1": verify_rsa_sha1, "PLAINTEXT": verify_plaintext}[method]

    def as_client(secret: str, public_key: str) -> SimpleNamespace:
        return SimpleNamespace(get_client_secret=lambda: secret, get_rsa_public_key=lambda: public_key)

    request.credential = SimpleNamespace(get_oauth_token_secret=lambda: "token-secret")
    request.client = as_client("kd94hf93k423kf44", public.decode())
    assert check(request)
    request.client = as_client("other", _other_key())
    assert not check(request)


def _other_key() -> str:
    other = rsa.generate_private_key(65537, 2048).public_key()
    return other.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def test_an_rsa_key_is_parsed_once(pem: Secret) -> None:
    flow = flow_at("https://api.example/", signature_method="RSA-SHA256", private_key=pem)

    def sign() -> None:
        flow.authenticate(
            requests.Request("GET", "https://api.example/").prepare(), Credentials(Secret("t"), Secret("s"))
        )

    sign()
    started = time.process_time()
    for _ in range(20):
        sign()
    assert (time.process_time() - started) / 20 < 0.02  # parsing alone takes about 0.05


@pytest.mark.parametrize("broken", ["", "no pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"])
def test_a_broken_private_key_is_a_configuration_error(broken: str) -> None:
    flow = flow_at("https://api.example/", signature_method="RSA-SHA1", private_key=Secret(broken))
    with pytest.raises(OAuthFlowsError) as caught:
        flow.authenticate(
            requests.Request("GET", "https://api.example/").prepare(), Credentials(Secret("t"), Secret("s"))
        )
    assert caught.value.code == "private_key_invalid"


def test_a_stream_is_sent_and_not_read_by_signing(fake: FakeProvider, register: Any) -> None:
    def stream() -> Iterator[bytes]:
        yield b"a" * 1000
        yield b"b" * 1000

    with OAuthSession(Source(register(fake, protocol="oauth1"), fake)) as http:
        assert http.put("/echo", data=stream()).json()["size"] == 2000
