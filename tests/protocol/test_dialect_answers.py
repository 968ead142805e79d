"""Token responses in other shapes: where the members stand, what they say, and what is never kept of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from django_oauth_flows.exceptions import TokenEndpointError
from django_oauth_flows.protocol.dialect import Dialect
from django_oauth_flows.protocol.parsing import parse_token_response
from django_oauth_flows.protocol.quirks import Quirk
from django_oauth_flows.protocol.transport import ProtocolResponse

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def parse(body: Any, *, status: int = 200, quirk: Quirk | None = None, **dialect: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_token_response(
        ProtocolResponse(status, {}, raw), dialect=Dialect.from_json(dialect), quirk=quirk, now=NOW
    )


@pytest.mark.parametrize(
    ("form", "value", "seconds"),
    [
        ("seconds", 3600, 3600),
        ("seconds", "3600", 3600),
        ("seconds", 0, 0),
        ("milliseconds", 7_200_000, 7200),
        ("milliseconds", "7200000", 7200),
        ("epoch", NOW.timestamp() + 90, 90),
        ("epoch", str(int(NOW.timestamp()) + 90), 90),
        ("epoch", NOW.timestamp() - 90, 0),
        ("epoch", 1e300, 10 * 365 * 24 * 3600),
        ("epoch_milliseconds", (NOW.timestamp() + 90) * 1000, 90),
        ("date", "2026-05-04T13:00:00Z", 3600),
        ("date", "2026-05-04T15:00:00+02:00", 3600),
        ("date", "2026-05-04T13:00:00", 3600),
        ("date", "2026-05-04T11:00:00+00:00", 0),
        ("date", "soon", None),
        ("date", 5, 5),
        ("epoch", "soon", None),
        ("epoch", {}, None),
        ("epoch", float("inf"), None),
        ("epoch", float("nan"), None),
        ("epoch", None, None),
    ],
)
def test_an_expiry_is_read_in_the_dialects_format(form: str, value: Any, seconds: int | None) -> None:
    answer = parse({"access_token": "a", "expires_in": value}, expiry_format=form)
    assert answer.expires_in == seconds


@pytest.mark.parametrize("value", [0, "0", 0.0])
def test_a_lifetime_of_zero_may_mean_that_the_token_does_not_expire(value: Any) -> None:
    members = {"access_token": "a", "expires_in": value, "refresh_token_expires_in": value}
    assert parse(members).expires_in == 0
    endless = parse(members, zero_expiry_is_never=True)
    assert (endless.expires_in, endless.refresh_token_expires_in) == (None, None)
    assert parse({**members, "expires_in": 5}, zero_expiry_is_never=True).expires_in == 5


def test_the_first_path_that_leads_somewhere_counts() -> None:
    paths = {"access_token": ["access_token", "authed_user.access_token"], "expires_in": ["expires_in", "expires"]}
    assert parse({"access_token": "bot"}, token_response_paths=paths).access_token.reveal() == "bot"
    answer = parse(
        {"access_token": None, "authed_user": {"access_token": "user"}, "expires": 7}, token_response_paths=paths
    )
    assert (answer.access_token.reveal(), answer.expires_in) == ("user", 7)


@pytest.mark.security("S01", "L05")
def test_no_secret_is_left_among_what_may_be_kept() -> None:
    answer = parse(
        {
            "data": {
                "accessToken": "a",
                "refreshToken": "r",
                "authed_user": {"id": "U1", "access_token": "other", "list": [{"refresh_token": "x", "n": 1}]},
                "team": {"id": "T1"},
            },
            "access_token": "outside",
            "code": 0,
        },
        token_response_envelope="data",
        token_response_paths={"access_token": "accessToken", "refresh_token": "refreshToken"},
    )
    assert answer.access_token.reveal() == "a"
    assert answer.refresh_token.reveal() == "r"
    assert answer.extra == {"code": 0, "authed_user": {"id": "U1", "list": [{"n": 1}]}, "team": {"id": "T1"}}


@pytest.mark.security("T08")
@pytest.mark.parametrize(
    "body", [{}, {"data": []}, {"data": None}, {"data": {}}, {"data": {"access_token": {}}}, {"access_token": "a"}]
)
def test_what_is_not_in_the_envelope_is_no_token(body: Any) -> None:
    with pytest.raises(TokenEndpointError) as caught:
        parse(body, token_response_envelope="data")
    assert caught.value.code == "bad_token"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"code": 0, "data": {"access_token": "a"}}, ""),
        ({"code": 20026, "message": "token is gone", "data": {}}, "20026"),
        ({"code": "0", "error": "ignored", "data": {"access_token": "a"}}, ""),
        ({"error": "invalid_grant"}, "invalid_grant"),
        ({"error": {"code": 190, "type": "OAuthException"}}, "190"),
        ({"code": {"x": 1}, "error": "invalid_grant"}, "invalid_grant"),
        ({"code": "a" * 200}, "unknown"),
    ],
)
def test_an_error_is_found_where_the_dialect_says(body: Any, error: str) -> None:
    dialect = {
        "token_response_paths": {"error": "code", "error_description": "message"},
        "token_success_codes": ["0"],
        "token_response_envelope": "data",
    }
    if not error:
        assert parse(body, **dialect).access_token.reveal() == "a"
        return
    with pytest.raises(TokenEndpointError) as caught:
        parse(body, **dialect)
    assert caught.value.error == error
    assert caught.value.provider_text == body.get("message", "")


def test_a_success_code_on_an_error_status_is_no_success() -> None:
    with pytest.raises(TokenEndpointError) as caught:
        parse(
            {"code": 0, "access_token": "a"},
            status=400,
            token_response_paths={"error": "code"},
            token_success_codes=["0"],
        )
    assert caught.value.code == "bad_response"


def test_scopes_of_a_second_parameter_are_marked_with_its_name() -> None:
    dialect = {"second_scope_parameter": "user_scope", "token_response_paths": {"second_scope": "authed_user.scope"}}
    answer = parse({"access_token": "a", "scope": "chat:write", "authed_user": {"scope": "read,search"}}, **dialect)
    assert answer.scopes == ("chat:write", "user_scope:read", "user_scope:search")
    assert parse({"access_token": "a", "scope": None}, **dialect).scopes is None


def test_a_server_without_refresh_tokens_is_refreshed_with_its_access_token() -> None:
    answer = parse({"access_token": "a", "refresh_token": "unasked"}, refreshes_with_access_token="access_token")
    assert answer.refresh_token.reveal() == "a"


def test_a_quirk_reads_an_answer_of_its_own() -> None:
    unpack = Quirk(token_response=lambda members: {"access_token": members["ticket"]["value"]})
    assert parse({"ticket": {"value": "a"}}, quirk=unpack).access_token.reveal() == "a"
