"""Where a session's requests and their redirects go, and what is signed of them."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from django_oauth_flows.exceptions import RequestBlocked
from django_oauth_flows.protocol.session import OAuthSession
from django_oauth_flows.testing import Answer, FakeProvider
from tests.protocol.sources import oauth1, oauth2

# Redirects


@pytest.mark.security("H09")
@pytest.mark.parametrize(
    "location",
    ["https://[bad", "https://127.0.0.1:99999999/", "//host:port/", "/caf\xe9", "//@/", "http://\x00/", "https:///", "http://%/",
     "\\\\evil.example/x", "//evil.example\\@127.0.0.1/", "javascript:alert(1)", "/" + "x" * 9000, "mailto:a@b", ""],
)  # fmt: skip
@pytest.mark.parametrize("make", [oauth1, oauth2])
def test_no_location_crashes_the_caller_or_leads_away(
    location: str, make: Any, fake: FakeProvider, register: Any
) -> None:
    fake.script("api", Answer(302, b"", {"Location": location}))
    with OAuthSession(make(fake, register)) as http:
        response = http.get("/echo")
    if response.status_code != 302:  # read as a path of this very host
        assert response.url.startswith(f"{fake.url}/")
        assert "evil" not in response.url.split("/")[2]
    assert len(fake.requests) == 1 + (response.status_code != 302)


@pytest.mark.security("H09", "O05")
def test_a_redirect_to_protocol_parameters_of_others_is_not_followed(fake: FakeProvider, register: Any) -> None:
    fake.script("api", Answer(302, b"", {"Location": "/api/x?oauth_verifier=evil"}))
    with OAuthSession(oauth1(fake, register)) as http:
        assert http.get("/echo").status_code == 302


@pytest.mark.security("H09")
def test_the_default_port_is_the_same_origin(
    tls_fake: FakeProvider, register: Any, ca_bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, port = socket.socket.connect, int(tls_fake.url.rpartition(":")[2])
    # The fake cannot listen on 443: what connects to it there is led to its port.
    monkeypatch.setattr(socket.socket, "connect", lambda sock, address: real(sock, (address[0], port)))
    policy = {"ca_bundle": ca_bundle, "api_base_url": "https://127.0.0.1/api/"}
    with OAuthSession(oauth2(tls_fake, register, transport=policy)) as http:
        for location in (
            "https://127.0.0.1:443/api/next",
            "https://127.0.0.1/api/next",
            "HTTPS://127.0.0.1:443/api/next",
        ):
            tls_fake.script("api", Answer(302, b"", {"Location": location}))
            assert http.get("/first").json()["path"] == "/api/next"
        tls_fake.script("api", Answer(302, b"", {"Location": "https://127.0.0.1:8443/api/next"}))
        assert http.get("/first").status_code == 302


class AppendSlash(Answer):
    """Redirect to the same address with a slash, and the whole query."""

    def play(self, handler: Any, normal: Any) -> None:
        path, mark, query = handler.path.partition("?")
        Answer(self.status, b"", {"Location": f"{path}/{mark}{query}"}).play(handler, normal)


@pytest.mark.security("O13")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("method", ["HMAC-SHA1", "PLAINTEXT"])
def test_a_signature_that_a_redirect_echoes_is_made_anew(
    status: int, method: str, tls_fake: FakeProvider, register: Any, ca_bundle: str
) -> None:
    policy = {"ca_bundle": ca_bundle}
    source = oauth1(tls_fake, register, signature_placement="query", signature_method=method, transport=policy)
    tls_fake.script("api", AppendSlash(status))
    with OAuthSession(source) as http:
        response = http.get("/a", params={"q": "1 2", "r": "ü"})
    assert response.status_code == 200
    last = tls_fake.received("api")[-1]
    assert last.path == "/api/a/"
    assert [pair for pair in last.query if not pair[0].startswith("oauth_")] == [("q", "1 2"), ("r", "ü")]
    names = [name for name, _ in last.query]
    assert len(names) == len(set(names))


@pytest.mark.security("O13")
@pytest.mark.parametrize("status", [307, 308])
def test_a_signature_in_a_form_is_made_anew_as_well(status: int, fake: FakeProvider, register: Any) -> None:
    fake.script("api", Answer(status, b"", {"Location": "/api/b"}))
    with OAuthSession(oauth1(fake, register, signature_placement="body")) as http:
        assert http.post("/a", data={"q": "1"}).status_code == 200
    names = [pair.split(b"=")[0] for pair in fake.received("api")[-1].body.split(b"&")]
    assert len(names) == len(set(names))
    assert b"q" in names


# URLs and bodies


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        ("/a b", "/api/a%20b", []), ("/x?q=a b", "/api/x", [("q", "a b")]), ("/café?x=☃", "/api/caf%C3%A9", [("x", "☃")]),
        ("/web/https://example.org/x", "/api/web/https://example.org/x", []), ("/x?a=%zz", "/api/x", [("a", "%zz")]),
        ("web/http://127.0.0.1:9/", "/api/web/http://127.0.0.1:9/", []), ("/s?ids[]=1&ids[]=2", "/api/s", [("ids[]", "1"), ("ids[]", "2")]),
        ("/x?next=https://evil.example/", "/api/x", [("next", "https://evil.example/")]), ("items:batch", "/api/items:batch", []),
        ("https:evil.example", "/api/https:evil.example", []), (b"/x", "/api/x", []), (" /x", "/api/x", []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("make", [oauth1, oauth2])
@pytest.mark.parametrize("placement", ["header", "query"])
def test_paths_and_queries_are_quoted_as_requests_does(
    url: Any, path: str, query: Any, make: Any, placement: str, fake: FakeProvider, register: Any
) -> None:
    with OAuthSession(make(fake, register, signature_placement=placement)) as http:
        assert http.get(url).ok
    (received,) = fake.received("api")
    assert received.path == path
    assert [pair for pair in received.query if not pair[0].startswith("oauth_")] == query


def test_an_absolute_url_is_quoted_as_well(fake: FakeProvider, register: Any) -> None:
    with OAuthSession(oauth2(fake, register)) as http:
        assert http.get(f"{fake.url}/api/a b?q=c d").json()["path"] == "/api/a%20b"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("ids[]=1&ids[]=2", ""), ("a b", ""), ("{}", ""), ("a=1;b=2", ""), ("ü=☃", ""), ("", ""), (b"ids[]=1", ""), (b"", ""), ("a=1&&b", ""),
        (b"\xff\xfe", "body_not_allowed"), ("a=%zz", "body_not_allowed"), ("a=%", "body_not_allowed"), ("a=%ff", "body_not_allowed"),
        ("a=1&oauth_token=evil", "parameter_not_allowed"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("placement", ["header", "query", "body"])
@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "Application/X-WWW-Form-Urlencoded; charset=utf-8"]
)
def test_a_form_is_signed_in_every_spelling_or_refused(
    data: Any, code: str, placement: str, kind: str, fake: FakeProvider, register: Any
) -> None:
    with OAuthSession(oauth1(fake, register, signature_placement=placement)) as http:
        if not code:
            assert http.post("/x", data=data, headers={"Content-Type": kind}).ok
            raw = data.encode() if isinstance(data, str) else data
            assert placement == "body" or fake.received("api")[0].body == raw
            return
        with pytest.raises(RequestBlocked) as caught:
            http.post("/x", data=data, headers={"Content-Type": kind})
    assert caught.value.code == code
    assert not fake.requests


def test_a_get_with_a_form_is_refused_and_one_with_its_type_only_is_signed(fake: FakeProvider, register: Any) -> None:
    with OAuthSession(oauth1(fake, register)) as http:
        assert http.get("/x", headers={"Content-Type": "application/x-www-form-urlencoded"}).ok
        for data in ({"a": "1"}, "a=1"):
            with pytest.raises(RequestBlocked) as caught:
                http.get("/x", data=data)
            assert caught.value.code == "body_not_allowed"
