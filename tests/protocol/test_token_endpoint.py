"""Group T: what the token endpoint may answer, and how we authenticate to it."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_oauth_flows.exceptions import OAuthFlowsError, OutcomeUnknown, ProviderUnreachable, TokenEndpointError
from django_oauth_flows.protocol.client_auth import authenticate_client, basic
from django_oauth_flows.protocol.dialect import Dialect
from django_oauth_flows.protocol.messages import AuthorizationResponse, PendingAuthorization, TokenResponse
from django_oauth_flows.protocol.oauth2 import OAuth2Flow
from django_oauth_flows.protocol.parsing import excerpt, parse_retry_after, parse_token_response
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.protocol.transport import ProtocolResponse
from django_oauth_flows.testing import Answer, Drop, Half, Reset

if TYPE_CHECKING:
    from django_oauth_flows.testing import FakeProvider

GOOD = {"access_token": "abc", "token_type": "Bearer"}


def parse(body: Any, *, status: int = 200, headers: dict[str, str] | None = None, **dialect: Any) -> TokenResponse:
    """Parse a body as the token endpoint's answer."""
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return parse_token_response(ProtocolResponse(status, headers or {}, raw), dialect=Dialect(**dialect))


def code_of(body: Any, **kwargs: Any) -> str:
    with pytest.raises(TokenEndpointError) as caught:
        parse(body, **kwargs)
    return caught.value.code


@pytest.mark.security("T01")
@pytest.mark.rfc("6749", "2.3.1")
@pytest.mark.parametrize(
    ("client_id", "secret", "encoded"),
    [
        ("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw", "s6BhdRkqt3:7Fjfp0ZBr1KtDRbnfVdmIw"),
        ("a:b", "c%d", "a%3Ab:c%25d"),
        ("a+b", "c&d e", "a%2Bb:c%26d+e"),
        ("é", "π", "%C3%A9:%CF%80"),
    ],
)
def test_basic_authentication_is_form_encoded_first(client_id: str, secret: str, encoded: str) -> None:
    assert base64.b64decode(basic(client_id, secret).removeprefix("Basic ")).decode() == encoded
    raw = base64.b64decode(basic(client_id, secret, raw=True).removeprefix("Basic ")).decode()
    assert raw == f"{client_id}:{secret}"


@pytest.mark.rfc("6749", "2.3.1")
def test_the_example_of_the_rfc() -> None:
    assert basic("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw") == "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"


@pytest.mark.security("T01")
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
@pytest.mark.parametrize("client_id", ["plain", "c:d%e+f&g é h"])
@pytest.mark.parametrize("secret", ["plain", "a:b%c+d&e é f"])
def test_exactly_one_authentication_method_is_used_on_the_wire(
    *, method: str, client_id: str, secret: str, fake: FakeProvider, register: Any
) -> None:
    fake.oauth2.client_id = client_id
    fake.oauth2.client_secret, fake.oauth2.public = secret, method == "none"
    flow = OAuth2Flow(register(fake, token_endpoint_auth_method=method))
    flow.client_credentials(scopes=["read"])
    request = fake.received("token")[0]
    assert ("authorization" in request.headers) == (method == "client_secret_basic")
    assert ("client_secret" in request.form) == (method == "client_secret_post")
    assert ("client_id" in request.form) == (method != "client_secret_basic")
    assert request.headers["accept"] == "application/json"
    assert "?" not in request.url


def test_a_missing_secret_is_a_configuration_error(fake: FakeProvider, register: Any) -> None:
    with pytest.raises(OAuthFlowsError) as caught:
        authenticate_client(register(fake, client_secret=None))
    assert caught.value.code == "client_secret_missing"
    assert not fake.requests


@pytest.mark.security("T03")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": "invalid_grant"}, "invalid_grant"),
        ({"ok": False, "error": "x"}, "provider_error"),
        ({"ok": False}, "provider_error"),
        ({"error": {"message": "no"}}, "provider_error"),
        ("error=bad_verification_code&error_description=expired", "provider_error"),
        ({**GOOD, "error": "invalid_grant"}, "invalid_grant"),
    ],
)
def test_an_error_with_status_200_is_an_error(body: Any, code: str) -> None:
    assert code_of(body) == code


@pytest.mark.security("T04")
@pytest.mark.parametrize(
    "body",
    [b"<html>login</html>", b"", b"[]", b"null", b'"x"', b"1", b'{"access_token": "a"', b"[" * 100_000, b"{" * 1000,
     b'{"access_token":"a","access_token":"b","token_type":"Bearer"}', b"NaN", b"\xff\xfe\x00", b"\x00" * 50],
)  # fmt: skip
def test_what_is_no_token_response_is_a_bad_response(body: bytes) -> None:
    started = time.process_time()
    assert code_of(body) == "bad_response"
    assert time.process_time() - started < 0.5


@pytest.mark.security("T04")
def test_no_content_is_a_bad_response() -> None:
    assert code_of(b"", status=204) == "bad_response"


@pytest.mark.security("T05")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("content_type", ["text/plain", "text/html; charset=latin-1", "application/jwt", ""])
def test_a_json_object_is_read_whatever_it_is_called(encoding: str, content_type: str) -> None:
    body = json.dumps({**GOOD, "scope": "é"}, ensure_ascii=False).encode(encoding)
    assert parse(body, headers={"content-type": content_type}).scopes == ("é",)


@pytest.mark.security("T05")
def test_an_object_in_latin_1_is_no_json_unless_it_is_ascii() -> None:
    body = {**GOOD, "scope": "é"}
    assert code_of(json.dumps(body, ensure_ascii=False).encode("latin-1")) == "bad_response"
    assert parse(json.dumps(body).encode("latin-1")).scopes == ("é",)


@pytest.mark.security("T05")
def test_a_form_is_read_only_where_the_provider_is_known_to_send_one() -> None:
    body = "access_token=abc&token_type=bearer&scope=read%2Cwrite"
    assert code_of(body) == "bad_response"
    assert parse(body, token_response_format="form").scopes == ("read", "write")
    assert code_of(body + "&access_token=evil", token_response_format="form") == "bad_response"


@pytest.mark.security("T06")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("null", None), ("0", 0), ("-10", 0), ("true", None), ('"3600"', 3600), ('"3600.0"', 3600), ("3600.7", 3600),
        ('"abc"', None), ("[]", None), ("{}", None), ("NaN", None), ("1e400", None), ('"1e400"', None), ("Infinity", None),
        ("1" + "0" * 20, 315_360_000), ('""', None), ('"' + "9" * 5000 + '"', None),
    ],
)  # fmt: skip
def test_no_lifetime_loses_the_grant(value: str, expected: int | None) -> None:
    tokens = parse(f'{{"access_token":"abc","token_type":"Bearer","expires_in":{value}}}')
    assert tokens.access_token.reveal() == "abc"
    assert tokens.expires_in == expected


@pytest.mark.security("T07")
@pytest.mark.parametrize(
    "value",
    [None, "", 1, {}, [], True, "a\r\nX: 1", "a\u0000b", "\ud800", "é", "a b", "x" * 16_385],
)
def test_what_cannot_be_a_token_is_not_stored_as_one(value: Any) -> None:
    assert code_of({**GOOD, "access_token": value}) == "bad_token"


@pytest.mark.security("T07")
def test_a_missing_token_is_a_bad_token_and_a_long_one_is_fine() -> None:
    assert code_of({"token_type": "Bearer"}) == "bad_token"
    assert len(parse({**GOOD, "access_token": "x" * 16_384}).access_token.reveal()) == 16_384


@pytest.mark.security("T08")
def test_the_token_type_is_compared_without_case_and_unknown_ones_are_refused() -> None:
    assert parse({**GOOD, "token_type": "BEARER"}).token_type == "Bearer"
    assert parse({"access_token": "abc"}).token_type == "Bearer"
    assert parse({**GOOD, "token_type": None}).token_type == "Bearer"
    for unknown in ("mac", "N_A", "DPoP", 7, []):
        assert code_of({**GOOD, "token_type": unknown}) == "token_type_unsupported"
    assert parse({**GOOD, "token_type": "N_A"}, token_type_aliases=("N_A",)).token_type == "Bearer"


@pytest.mark.security("T09")
def test_a_minimal_response_is_enough() -> None:
    tokens = parse(GOOD)
    assert (tokens.expires_in, tokens.refresh_token, tokens.scopes) == (None, None, None)


@pytest.mark.security("T10")
@pytest.mark.parametrize(
    ("value", "expected"),
    [("x", ("x",)), ("x y z", ("x", "y", "z")), ("", ()), (None, None), (["x", "y"], ("x", "y")), ("x,y", ("x", "y")),
     (7, None), ("x  x\ty", ("x", "y")), ([1, "x"], ("x",))],
)  # fmt: skip
def test_whatever_scope_was_granted_is_kept(value: Any, expected: tuple[str, ...] | None) -> None:
    assert parse({**GOOD, "scope": value}).scopes == expected
    assert parse(GOOD).scopes is None


@pytest.mark.security("F07")
@pytest.mark.parametrize("value", [None, "", 5, "a\nb"])
def test_an_unusable_refresh_token_is_no_refresh_token(value: Any) -> None:
    assert parse({**GOOD, "refresh_token": value}).refresh_token is None


@pytest.mark.security("T11")
@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (400, {"error": "invalid_client"}, TokenEndpointError, "invalid_client"),
        (400, {"error": "invalid_grant"}, TokenEndpointError, "invalid_grant"),
        (401, "", TokenEndpointError, "invalid_client"),
        (403, "", TokenEndpointError, "bad_response"),
        (404, "<html>", TokenEndpointError, "bad_response"),
        (429, "", ProviderUnreachable, "rate_limited"),
        (500, "<html>oops", ProviderUnreachable, "provider_unreachable"),
        (502, "", ProviderUnreachable, "provider_unreachable"),
        (503, {"error": "temporarily_unavailable"}, ProviderUnreachable, "provider_unreachable"),
        (400, {"error": "temporarily_unavailable"}, ProviderUnreachable, "provider_unreachable"),
    ],
)
def test_statuses_map_to_stable_codes(status: int, body: Any, kind: type[Exception], code: str) -> None:
    with pytest.raises(TokenEndpointError) as caught:
        parse(body, status=status)
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.status == status


@pytest.mark.security("T11", "T24")
@pytest.mark.parametrize(
    ("value", "expected"),
    [("7", 7), ("99999999", 3600), ("-5", None), ("soon", None), ("", None), ("9" * 500, 3600), ("1.5", None)],
)
def test_retry_after_is_clamped(value: str, expected: int | None) -> None:
    assert parse_retry_after(value) == expected


@pytest.mark.security("T11")
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("value", "expected"), [("7", 7), ("99999999", 3600), ("soon", None)])
def test_an_answer_of_not_now_says_for_how_long(status: int, value: str, expected: int | None) -> None:
    with pytest.raises(ProviderUnreachable) as caught:
        parse("", status=status, headers={"retry-after": value})
    assert caught.value.retry_after == expected


@pytest.mark.security("T11")
@pytest.mark.parametrize(
    "zone", ["+99999999999999999999", "-99999999999999999999", "+9999", "+", "x", "\x00", "(", "+2400", "-0000"]
)
@pytest.mark.parametrize("day", ["Mon, 01 Jan 2024", "Mon, 01 Jan 0001", "Fri, 31 Dec 9999", "Mon, 99 Foo 99999999999"])
def test_no_date_in_retry_after_costs_the_answer_that_it_came_with(day: str, zone: str) -> None:
    value = f"{day} 00:00:00 {zone}"
    assert parse_retry_after(value) in (None, 0, 3600)
    assert parse(GOOD, headers={"retry-after": value}).access_token == Secret("abc")
    assert code_of("", status=429, headers={"retry-after": value}) == "rate_limited"


@pytest.mark.security("T11")
def test_retry_after_may_be_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert parse_retry_after(format_datetime(now + timedelta(seconds=90), usegmt=True), now=now) == 90
    assert parse_retry_after(format_datetime(now - timedelta(days=9), usegmt=True), now=now) == 0
    assert parse_retry_after(format_datetime(now + timedelta(days=9), usegmt=True), now=now) == 3600


@pytest.mark.security("T11", "T13", "T15")
@pytest.mark.parametrize(
    "fault", [Answer(503), Drop(), Half(0.97), Reset(), Reset(after=10), Answer(200, b"", {"Content-Length": "99"})]
)
def test_a_code_is_presented_once_whatever_happens(fault: Any, fake: FakeProvider, register: Any) -> None:
    registration = register(fake)
    pending = PendingAuthorization(registration, "https://site.example/cb", ("read",), Secret("v" * 43))
    fake.script("token", fault)
    with pytest.raises(ProviderUnreachable) as caught:
        OAuth2Flow(registration).exchange(AuthorizationResponse(pending, Secret("code")))
    assert fake.count("token") == 1
    assert isinstance(caught.value, OutcomeUnknown) == (not isinstance(fault, Answer) or fault.status == 200)


@pytest.mark.security("L03", "B14")
@given(st.text(max_size=400))
def test_an_excerpt_is_short_printable_and_on_one_line(text: str) -> None:
    short = excerpt(text)
    assert len(short) <= 200
    assert short == "" or short.isprintable()


@pytest.mark.security("L03")
def test_no_error_carries_what_the_provider_said_in_secret() -> None:
    body = {"error": "invalid_grant", "error_description": "no", "refresh_token": "s3cret", "access_token": "s3cret"}
    with pytest.raises(TokenEndpointError) as caught:
        parse(body, status=400)
    error = caught.value
    seen = f"{error!r} {error} {error.args} {vars(error)} {error.__cause__!r} {error.__context__!r}"
    assert "s3cret" not in seen


@pytest.mark.security("V08")
@pytest.mark.parametrize(
    "text", ["a" * 100_000, " ," * 50_000, "\\" * 100_000, '{"a":' * 20_000, "&" * 100_000, "é" * 50_000]
)
def test_parsing_hostile_text_is_linear(text: str) -> None:
    started = time.process_time()
    for raw in (text, json.dumps({**GOOD, "scope": text}), json.dumps({"error": text, "error_description": text})):
        try:
            parse(raw)
        except TokenEndpointError:
            continue
    assert time.process_time() - started < 0.5


@pytest.mark.rfc("7009", "2")
def test_revocation_answers(fake: FakeProvider, register: Any) -> None:
    flow = OAuth2Flow(register(fake))
    token, _ = fake.oauth2.issue()
    assert flow.revoke(Secret(token), hint="access_token").outcome == "revoked"
    assert flow.revoke(Secret("unknown"), hint="refresh_token").outcome == "revoked"
    fake.script("revoke", Answer(400, {"error": "unsupported_token_type"}))
    assert flow.revoke(Secret(token), hint="access_token").outcome == "unsupported"
    fake.script("revoke", Answer(503, headers={"Retry-After": "5"}))
    with pytest.raises(ProviderUnreachable) as caught:
        flow.revoke(Secret(token), hint="access_token")
    assert caught.value.retry_after == 5
