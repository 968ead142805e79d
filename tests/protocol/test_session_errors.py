"""What the errors of a session say: the host and the cause, and nothing secret."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import requests

from django_oauth_flows.exceptions import RequestBlocked
from django_oauth_flows.protocol.session import OAuthSession
from django_oauth_flows.testing import Answer, Delay, Drop, FakeProvider, Half
from tests.protocol.sources import oauth1, oauth2


def told(error: BaseException) -> str:
    """Return everything an error and what it holds say."""
    assert error.__cause__ is None
    assert error.__context__ is None
    request = vars(getattr(error, "request", None) or error)
    return f"{error} {error!r} {error.args!r} {vars(error)!r} {request!r}"


def frames(error: BaseException) -> str:
    """Return the variables of all frames but the tests', as a tracker would collect them."""
    collected, traceback = "", error.__traceback__
    while traceback is not None:
        if "/tests/" not in traceback.tb_frame.f_code.co_filename:
            collected += repr(traceback.tb_frame.f_locals)
        traceback = traceback.tb_next
    return collected


FAILURES: dict[str, tuple[Any, type[Exception]]] = {
    "nobody listens": (None, requests.ConnectionError),
    "dropped": (Drop(acted=False), requests.ConnectionError),
    "late": (Delay(1.0), requests.ReadTimeout),
    "half an answer": (Half(0.9), requests.exceptions.ChunkedEncodingError),
    "no gzip": (Answer(200, "<html>", {"Content-Encoding": "gzip"}), requests.exceptions.ContentDecodingError),
    "in circles": (Answer(302, b"", {"Location": "/api/x?private=value"}), requests.TooManyRedirects),
}


@pytest.mark.security("L03")
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("placement", ["header", "query", "body"])
@pytest.mark.parametrize("make", [oauth1, oauth2])
def test_an_error_names_the_host_and_nothing_that_was_sent(
    failure: str, placement: str, make: Any, fake: FakeProvider, register: Any
) -> None:
    fault, kind = FAILURES[failure]
    source = make(fake, register, signature_placement=placement)
    host = fake.url.partition("//")[2]
    with OAuthSession(source) as http:
        http.max_redirects = 2
        if fault is None:
            fake.server.shutdown()
            fake.server.server_close()
            fake.server.shutdown = lambda: None  # the fixture's own is to find nothing left
        else:
            fake.script("api", *[fault] * 3)
        with pytest.raises(kind) as caught:
            http.post("/x", params={"private": "value"}, data={"hidden": "body"}, timeout=0.4)
    error: Any = caught.value
    assert str(error).startswith(f"The call to {host} failed: ")
    assert error.request.url == f"{fake.url}/api/x"
    secret = source.secret.reveal() if source.secret else source.tokens[0]
    for word in (source.tokens[0], secret, "oauth_signature", "oauth_token", "Bearer"):
        assert word not in told(error) + frames(error)
    assert "private" not in told(error)
    assert "hidden" not in told(error)


@pytest.mark.security("L03")
@pytest.mark.parametrize("fault", ["half", "stalled"])
def test_an_answer_that_breaks_off_while_it_is_streamed_tells_nothing(
    fault: str, fake: FakeProvider, register: Any
) -> None:
    source = oauth1(fake, register, signature_placement="query")
    over = threading.Event()

    class Stalled(Half):
        def play(self, handler: Any, normal: Any) -> None:
            super().play(handler, normal)
            handler.wfile.flush()
            over.wait(5)

    fake.script("api", Half(0.9) if fault == "half" else Stalled(0.9))
    with (
        OAuthSession(source) as http,
        pytest.raises(requests.RequestException) as caught,
        http.get("/x", params={"private": "1"}, stream=True, timeout=0.4) as response,
    ):
        list(response.iter_content(10))
    over.set()
    error: BaseException | None = caught.value
    while error is not None:
        for word in ("private", "oauth_", source.tokens[0]):
            assert word not in f"{error} {error!r} {error.args!r}"
        error = error.__cause__ or error.__context__


@pytest.mark.security("L03")
def test_a_plaintext_signature_is_in_no_error(tls_fake: FakeProvider, register: Any, ca_bundle: str) -> None:
    """It is both secrets; in the query also the response's URL would tell it, which ``raise_for_status()`` prints."""
    policy = {"ca_bundle": ca_bundle}
    source = oauth1(tls_fake, register, signature_placement="query", signature_method="PLAINTEXT", transport=policy)
    assert source.secret is not None
    with OAuthSession(source) as http:
        tls_fake.script("api", Drop(acted=False), Answer(404, b""), Answer(404, b""))
        with pytest.raises(requests.ConnectionError) as dropped:
            http.get("/x?a=1")
        response = http.get("/x?a=1")
        assert response.url == f"{tls_fake.url}/api/x?a=1"
        with pytest.raises(requests.HTTPError) as refused:
            response.raise_for_status()
        http.hooks["response"] = lambda answer, **_: answer.raise_for_status()
        with pytest.raises(requests.HTTPError, match="status 404") as hooked:
            http.get("/x?a=1")
        assert hooked.value.response.status_code == 404
        hooked.value.response.close()
    for caught in (dropped, hooked):
        assert source.secret.reveal() not in told(caught.value) + frames(caught.value)
    assert source.secret.reveal() not in f"{refused.value} {refused.value!r}"


@pytest.mark.security("L03", "H11")
def test_an_error_of_tls_says_what_is_wrong(tls_fake: FakeProvider, register: Any) -> None:
    with OAuthSession(oauth2(tls_fake, register)) as http, pytest.raises(requests.exceptions.SSLError) as caught:
        http.get("/x?private=1")
    assert "certificate" in str(caught.value)
    assert "private" not in told(caught.value)


@pytest.mark.security("L03")
def test_an_error_of_preparing_tells_nothing_either(fake: FakeProvider, register: Any) -> None:
    with OAuthSession(oauth2(fake, register)) as http:
        with pytest.raises(requests.exceptions.InvalidHeader) as header:
            http.get("/x?private=1", headers={"X-A": "private\r\nX-B: 1"})
        with pytest.raises(RequestBlocked) as parameter:
            http.get("/x", params={"q": "private\ud800"})
    for caught in (header, parameter):
        assert "private" not in f"{caught.value} {caught.value!r} {caught.value.args!r}"
        assert caught.value.__context__ is None
