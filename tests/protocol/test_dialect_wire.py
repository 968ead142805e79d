"""The dialect on the wire: what cannot be seen by walking through a whole connection."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import requests

from django_oauth_flows.exceptions import AuthorizationError, ConfigurationError, RequestBlocked, TokenEndpointError
from django_oauth_flows.protocol.auth_httpx import HttpxAuth
from django_oauth_flows.protocol.auth_requests import RequestsAuth
from django_oauth_flows.protocol.authorization import validate_authorization_response
from django_oauth_flows.protocol.dialect import Dialect
from django_oauth_flows.protocol.kept import as_variables, resolve
from django_oauth_flows.protocol.messages import Credentials, PendingAuthorization
from django_oauth_flows.protocol.oauth2 import OAuth2Flow
from django_oauth_flows.protocol.quirks import Quirk, quirk_named
from django_oauth_flows.protocol.quirks import register as make_known
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.protocol.session import OAuthSession
from django_oauth_flows.testing import Answer
from tests.protocol.sources import Source

if TYPE_CHECKING:
    from django_oauth_flows.protocol.messages import ClientRegistration
    from django_oauth_flows.testing import FakeProvider


def dialect(**keys: Any) -> Dialect:
    return Dialect.from_json(keys)


def start(registration: ClientRegistration, **scopes: Any) -> str:
    return OAuth2Flow(registration).start(
        redirect_uri="https://site.example/cb", scopes=scopes.get("scopes", ("a:b", "c")), state=Secret("s" * 43)
    )[1]


@pytest.mark.security("A08")
def test_a_reserved_parameter_is_not_sent_whatever_got_it_into_the_dialect(register: Any, fake: FakeProvider) -> None:
    odd = Dialect(
        authorization_parameters=(("redirect_uri", "https://evil.example"), ("state", "x"), ("ok", "1")),
        token_parameters=(("code_verifier", "x"), ("ok", "2")),
    )
    query = parse_qs(urlsplit(start(register(fake, dialect=odd))).query)
    assert query["redirect_uri"] == ["https://site.example/cb"]
    assert query["state"] == ["s" * 43]
    assert query["ok"] == ["1"]
    fake.script("token", Answer(200, {"access_token": "a"}))
    OAuth2Flow(register(fake, dialect=odd)).client_credentials()
    assert fake.received("token")[0].form == {"grant_type": "client_credentials", "ok": "2"}


def test_raw_values_stay_readable_and_cannot_end_their_parameter(register: Any, fake: FakeProvider) -> None:
    raw = register(fake, dialect=dialect(unquoted_parameters=["scope"]))
    url = start(raw, scopes=("https://x.example/a:b", "c&d#e=f%20", "g"))
    assert "scope=https://x.example/a:b%20c%26d%23e=f%2520%20g" in url
    assert parse_qs(urlsplit(url).query)["scope"] == ["https://x.example/a:b c&d#e=f%20 g"]


def test_the_query_of_the_endpoint_itself_is_left_alone(register: Any, fake: FakeProvider) -> None:
    plain = register(
        fake, dialect=dialect(authorization_parameter_names={"client_id": "app"}, authorization_fragment="wx")
    )
    server = replace(plain.server, authorization_endpoint=f"{fake.url}/authorize?tenant=1&app_id=x%20y")
    parts = urlsplit(start(replace(plain, server=server)))
    assert parts.query.startswith("tenant=1&app_id=x+y&")
    assert parse_qs(parts.query)["app"] == ["fake-client"]
    assert parts.fragment == "wx"


def test_a_one_page_application_finds_its_query_behind_its_route(register: Any, fake: FakeProvider) -> None:
    url = start(register(fake, dialect=dialect(authorization_route="/oauth/authorize")))
    assert url.startswith(f"{fake.url}/authorize#/oauth/authorize?response_type=code&client_id=fake-client&")


@pytest.mark.security("B16", "B17", "B18")
@pytest.mark.parametrize(
    ("params", "code"),
    [
        ([("auth_code", "a"), ("auth_code", "b")], "duplicate_parameter"),
        ([("code", "a")], "invalid_code"),
        ([("auth_code", "a b")], "invalid_code"),
        ([("auth_code", "a"), ("access_token", "b")], "unexpected_response"),
    ],
)
def test_a_code_under_another_name_is_checked_as_a_code(
    register: Any, fake: FakeProvider, params: list[tuple[str, str]], code: str
) -> None:
    registration = register(
        fake, dialect=dialect(callback_code_parameter="auth_code", kept_callback_parameters=["auth_code"])
    )
    pending = PendingAuthorization(registration, "https://site.example/cb")
    with pytest.raises(AuthorizationError) as caught:
        validate_authorization_response(pending, params)
    assert caught.value.code == code
    good = validate_authorization_response(pending, [("auth_code", "abc")])
    assert (good.code.reveal(), good.extra) == ("abc", {})


@pytest.mark.security("H08", "O13")
def test_a_token_in_the_query_goes_to_listed_hosts_only_and_is_taken_off_what_is_shown(
    register: Any, fake: FakeProvider
) -> None:
    registration = register(fake, dialect=dialect(api_token_parameter="key", api_parameters={"app": "{client_id}"}))
    access, _ = fake.oauth2.issue()
    fake.play({"dialect": {"api_token_parameter": "key", "api_parameters": {"app": "{client_id}"}}})
    with OAuthSession(Source(registration, access)) as http:
        response = http.get("echo?a=1&key=mine")
        assert response.ok
        assert access not in response.url
        (arrived,) = fake.requests
        assert dict(arrived.query) == {"a": "1", "app": "fake-client", "key": access}
        assert "authorization" not in arrived.headers
        with pytest.raises(RequestBlocked):
            http.get("https://evil.example/echo")
        fake.script("api", Answer(302, headers={"Location": f"/api/other?key={access}&b=2"}))
        assert http.get("echo").ok
        assert dict(fake.requests[-1].query) == {"b": "2", "app": "fake-client", "key": access}
        fake.script("api", Answer(302, headers={"Location": f"https://evil.example/?key={access}"}))
        assert http.get("echo").status_code == 302
    assert len(fake.requests) == 4


def test_what_the_caller_says_wins_over_the_constants(register: Any, fake: FakeProvider) -> None:
    constants = dialect(api_headers={"Version": "1", "User-Agent": "site/1"}, api_parameters={"v": "1"})
    access, _ = fake.oauth2.issue()
    with OAuthSession(Source(register(fake, dialect=constants), access)) as http:
        http.get("echo", headers={"Version": "2"}, params={"v": "2"})
        http.get("echo", headers={"User-Agent": "mine"})
    first, second = fake.requests
    assert (first.headers["version"], first.headers["user-agent"], first.query) == ("2", "site/1", [("v", "2")])
    assert (second.headers["version"], second.headers["user-agent"], second.query) == ("1", "mine", [("v", "1")])


def test_own_clients_get_the_constants_and_no_secret_that_they_would_carry_elsewhere(
    register: Any, fake: FakeProvider
) -> None:
    access, _ = fake.oauth2.issue()
    constants = register(fake, dialect=dialect(api_headers={"Version": "1"}, api_parameters={"v": "{client_id}"}))
    url = f"{fake.url}/api/echo"
    assert requests.get(url, auth=RequestsAuth(Source(constants, access)), timeout=5).ok
    with httpx.Client(auth=HttpxAuth(Source(constants, access)), trust_env=False) as client:
        assert client.get(url).is_success
    assert [(r.headers["version"], r.query) for r in fake.requests] == [("1", [("v", "fake-client")])] * 2
    for keys in (
        {"api_token_header": "X-Token"},
        {"api_token_parameter": "token"},
        {"api_headers": {"X-Key": "{client_secret}"}},
    ):
        source = Source(register(fake, dialect=dialect(**keys)), access)
        with pytest.raises(ConfigurationError, match="carry"):
            requests.get(url, auth=RequestsAuth(source), timeout=5)
        with httpx.Client(auth=HttpxAuth(source), trust_env=False) as client, pytest.raises(ConfigurationError):
            client.get(url)
    bare = register(fake, dialect=dialect(api_token_header="Authorization"))
    assert requests.get(url, auth=RequestsAuth(Source(bare, access)), timeout=5).status_code == 401
    assert fake.requests[-1].headers["authorization"] == access


@pytest.mark.security("H01", "H05", "H08", "H10")
@pytest.mark.parametrize(
    ("template", "value", "expected"),
    [
        ("{kept.url}/data", "https://acme.my.salesforce.com", "https://acme.my.salesforce.com/data"),
        ("{kept.url}/data", "https://acme.my.salesforce.com/", "https://acme.my.salesforce.com/data"),
        ("{kept.url}/data", "acme.my.salesforce.com", "https://acme.my.salesforce.com/data"),
        ("{kept.url}", "https://acme.my.salesforce.com/api/v1", "https://acme.my.salesforce.com/api/v1"),
        ("https://{kept.url}.salesforce.com/x", "us1", "https://us1.salesforce.com/x"),
        ("https://{kept.url}/x", "a.salesforce.com", "https://a.salesforce.com/x"),
        ("https://api.other.example/{kept.url}/x", "a/../b?c#d", "https://api.other.example/a%2F..%2Fb%3Fc%23d/x"),
        ("{kept.url}", "https://evil.example", None),
        ("{kept.url}", "https://salesforce.com", None),
        ("{kept.url}", "https://evilsalesforce.com", None),
        ("{kept.url}", "http://acme.salesforce.com", None),
        ("{kept.url}", "https://acme.salesforce.com:8443", None),
        ("{kept.url}", "https://acme.salesforce.com@evil.example", None),
        ("{kept.url}", "https://evil.example/.salesforce.com", None),
        ("{kept.url}", "https://evil.example#.salesforce.com", None),
        ("{kept.url}", "https://evil.example?.salesforce.com", None),
        ("{kept.url}", "https://evil.example\\.salesforce.com", None),
        ("{kept.url}", "https://acme.salesforce.com/../..", None),
        ("{kept.url}", "javascript:alert(1)", None),
        ("{kept.url}", "", None),
        ("{kept.url}", {"x": 1}, None),
        ("https://{kept.url}.salesforce.com", "evil.example/", None),
        ("https://{kept.url}.salesforce.com", "evil.example#", None),
        ("https://{kept.url}.salesforce.com", "a@b", None),
        ("https://{kept.url}/x", "evil.example", None),
        ("https://{access_token}.salesforce.com", "x", None),
    ],
)
def test_what_the_service_names_leads_only_where_a_pattern_allows(
    template: str, value: Any, expected: str | None
) -> None:
    values = {**as_variables({"url": value}), "access_token": "secret"}
    if expected is not None:
        assert resolve(template, values, patterns=("*.salesforce.com",), internal=False) == expected
        return
    with pytest.raises(ValueError, match=r"."):
        resolve(template, values, patterns=("*.salesforce.com",), internal=False)


@pytest.mark.security("H10")
def test_what_no_header_could_hold_is_no_variable() -> None:
    kept = {
        "a": "x\r\nHost: evil",
        "b": "é",
        "c": True,
        "d": 1.5,
        "e": None,
        "f": ["x"],
        "g": 12345678901234567890,
        "h": 10**5000,
        "i": "x",
    }
    assert as_variables(kept) == {"kept.g": "12345678901234567890", "kept.i": "x"}


@pytest.mark.security("H08")
def test_a_hostile_host_in_the_answer_gets_no_token_for_the_identity(register: Any, fake: FakeProvider) -> None:
    registration = register(fake, dialect=dialect(kept_token_fields=["url"], api_host_patterns=["*.salesforce.com"]))
    server = replace(registration.server, userinfo_endpoint="{kept.url}/me")
    flow = OAuth2Flow(replace(registration, server=server, kept={"kept.url": fake.url}))
    with pytest.raises(ConfigurationError) as caught:
        flow.identify(Credentials(Secret("a")), {})
    assert caught.value.code == "endpoint_not_allowed"
    assert not fake.requests


@pytest.mark.security("H06")
def test_the_second_exchange_is_vetted_when_it_is_used(register: Any, fake: FakeProvider) -> None:
    swap = {"endpoint": "http://127.0.0.1:8000/x", "grant_type": "swap"}
    registration = register(fake, dialect=dialect(second_exchange=swap))
    pending = PendingAuthorization(registration, "https://site.example/cb")
    fake.script("token", Answer(200, {"access_token": "a"}))
    inside = replace(registration, transport=replace(registration.transport, internal=True))
    response = validate_authorization_response(pending, [("code", "abc")])
    odd = replace(
        inside,
        dialect=replace(inside.dialect, second_exchange=replace(inside.dialect.second_exchange, endpoint="ftp://x")),
    )
    with pytest.raises(ConfigurationError) as caught:
        OAuth2Flow(odd).exchange(response)
    assert caught.value.code == "endpoint_not_allowed"


def test_a_parameter_whose_variable_has_no_value_is_not_sent(register: Any, fake: FakeProvider) -> None:
    keys = dialect(
        token_parameters={"a": "{code}", "b": "{kept.x}", "c": "1"},
        kept_token_fields=["x"],
        token_request_format="json",
    )
    fake.script("token", Answer(200, {"access_token": "a"}))
    OAuth2Flow(register(fake, dialect=keys)).client_credentials(scopes=("s",))
    assert json.loads(fake.received("token")[0].body) == {"grant_type": "client_credentials", "scope": "s", "c": "1"}


def test_a_quirk_changes_requests_before_they_are_sent(register: Any, fake: FakeProvider) -> None:
    def sign(registration: ClientRegistration, parameters: dict[str, str], headers: dict[str, str]) -> None:
        parameters["sign"] = f"{registration.client_id}|{parameters['grant_type']}"
        headers["X-Signed"] = "yes"

    def stamp(_: ClientRegistration, prepared: requests.PreparedRequest, credentials: Credentials) -> None:
        prepared.headers["X-Stamp"] = str(len(credentials.access_token.reveal()))

    quirk = register_quirk(Quirk(token_request=sign, api_request=stamp))
    registration = replace(register(fake), quirk=quirk)
    fake.script("token", Answer(200, {"access_token": "a"}))
    OAuth2Flow(registration).client_credentials()
    (arrived,) = fake.received("token")
    assert (arrived.form["sign"], arrived.headers["x-signed"]) == ("fake-client|client_credentials", "yes")
    access, _ = fake.oauth2.issue()
    with OAuthSession(Source(registration, access)) as http:
        http.get("echo")
    assert fake.received("api")[0].headers["x-stamp"] == str(len(access))


def register_quirk(quirk: Quirk) -> Quirk:
    make_known("tested", quirk)
    with pytest.raises(ValueError, match="'nosuch' is not known"):
        quirk_named("nosuch")
    return quirk_named("tested")


@pytest.mark.security("D03")
@pytest.mark.parametrize(("status", "fails"), [(200, False), (401, False), (400, True)])
def test_a_revocation_by_the_token_itself(register: Any, fake: FakeProvider, status: int, fails: bool) -> None:
    keys = dialect(revocation_authentication="token", revocation_token_parameter="", revocation_request_method="DELETE")
    flow = OAuth2Flow(register(fake, dialect=keys))
    assert flow.revoke(Secret("r"), hint="refresh_token").outcome == "unsupported"
    fake.script("revoke", Answer(status, {"error": "nope"} if fails else {}))
    if fails:
        with pytest.raises(TokenEndpointError):
            flow.revoke(Secret("a"), hint="access_token")
    else:
        assert flow.revoke(Secret("a"), hint="access_token").outcome == "revoked"
    (arrived,) = fake.received("revoke")
    assert (arrived.method, arrived.query, arrived.body) == ("DELETE", [], b"")
    assert arrived.headers["authorization"] == "Bearer a"
