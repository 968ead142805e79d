"""The schema of ``Provider.dialect``: what it takes, and what it refuses."""

from __future__ import annotations

import re
from typing import Any

import pytest

from django_oauth_flows.protocol.dialect import Dialect

KEPT = {"kept_token_fields": ["team.id", "instance_url"], "kept_callback_parameters": ["device_id"]}


@pytest.mark.parametrize(
    "value",
    [
        {},
        {
            "authorization_parameters": {
                "access_type": "offline",
                "grant_options[]": "per-user",
                "context": "stores/{shop}",
            }
        },
        {"authorization_parameters": {"request": "authorize"}},
        {"authorization_parameter_names": {"client_id": "client_key", "scope": "advanced_scopes"}},
        {"response_type": "", "callback_code_parameter": "auth_code"},
        {"token_parameters": {"state": "{state}", "response_type": "code", "device_id": "{kept.device_id}"}, **KEPT},
        {"token_parameter_names": {"client_secret": "client_assertion", "code": "assertion", "redirect_uri": ""}},
        {"token_request_headers": {"User-Agent": "me/1 (by {client_id})", "WM_PARTNER.ID": "{seller}"}},
        {
            "token_response_paths": {
                "access_token": ["access_token", "authed_user.access_token"],
                "error": "errors.0.errorType",
            }
        },
        {"token_success_codes": ["0"], "token_response_paths": {"error": "code"}},
        {"second_exchange": {"endpoint": "https://graph.example/access_token", "grant_type": "ig_exchange_token"}},
        {"second_exchange": None},
        {"refresh_endpoint": "https://{shop}.example.com/refresh"},
        {"api_token_header": "Authorization"},
        {"api_token_header": "X-Shopify-Access-Token"},
        {"api_headers": {"x-api-key": "{client_id}:{client_secret}"}},
        {"api_host_patterns": ["*.salesforce.com", "api.example.com:8443", "127.0.0.1:8000"]},
        {"userinfo_method": "POST", "userinfo_body": {"query": "{ me { id } }"}},
        {"subject_template": "{hub_id}:{user_id}"},
        {"subject_template": "{kept.team.id}/{users.0.id}", **KEPT},
        {"quirk": "some_server"},
    ],
)
def test_what_the_schema_takes(value: dict[str, Any]) -> None:
    assert isinstance(Dialect.from_json(value), Dialect)


@pytest.mark.security("A08", "H10")
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "must be an object"),
        ([], "must be an object"),
        ({"authorisation": {}}, "unknown key"),
        ({"authorization_parameters": {"state": "x"}}, "set by the protocol"),
        ({"authorization_parameters": {"Redirect_URI": "https://evil.example"}}, "set by the protocol"),
        ({"authorization_parameters": {"response_type": "token"}}, "set by the protocol"),
        ({"authorization_parameters": {"request": "eyJhbGciOiJub25lIn0.e30."}}, "set by the protocol"),
        ({"authorization_parameters": {"request_uri": "x"}}, "set by the protocol"),
        ({"authorization_parameters": {"oauth_callback": "x"}}, "set by the protocol"),
        ({"authorization_parameters": {"key": "{client_secret}"}}, "no value there"),
        ({"authorization_parameters": {"key": 5}}, "object of strings"),
        ({"authorization_parameters": {"a b": "x"}}, "object of strings"),
        ({"authorization_parameters": {"key": "a\r\nb"}}, "object of strings"),
        ({"authorization_parameters": {"key": "x" * 2001}}, "object of strings"),
        ({"authorization_parameters": {str(number): "x" for number in range(51)}}, "must be an object"),
        ({"authorization_parameter_names": {"state": "s"}}, "unknown name"),
        ({"authorization_parameter_names": {"client_id": "state"}}, "set by the protocol"),
        ({"authorization_parameter_names": {"client_id": ""}}, "must have a name"),
        ({"authorization_parameter_names": {"client_id": "a", "scope": "a"}}, "the same name"),
        ({"token_parameter_names": {"client_id": "code"}}, "set by the protocol"),
        ({"token_parameter_names": {"code": ""}}, "must have a name"),
        ({"response_type": "token"}, "through the browser"),
        ({"response_type": "code token"}, "one word"),
        ({"second_scope_parameter": "state"}, "set by the protocol"),
        ({"callback_code_parameter": "a b"}, "one word"),
        ({"token_parameters": {"grant_type": "password"}}, "set by the protocol"),
        ({"token_parameters": {"code_verifier": "x"}}, "set by the protocol"),
        ({"token_parameters": {"state": "{access_token}"}}, "no value there"),
        ({"token_parameters": {"device": "{kept.device}"}}, "is not listed"),
        ({"token_request_headers": {"Authorization": "Basic x"}}, "cannot be configured"),
        ({"token_request_headers": {"host": "evil.example"}}, "cannot be configured"),
        ({"api_headers": {"COOKIE": "a=b"}}, "cannot be configured"),
        ({"api_headers": {"Content-Length": "1"}}, "cannot be configured"),
        ({"api_headers": {"Transfer-Encoding": "chunked"}}, "cannot be configured"),
        ({"api_headers": {"X-Key": "a\r\nHost: evil"}}, "object of strings"),
        ({"api_headers": {"X-Key": "é"}}, "printable ASCII"),
        ({"api_headers": {"X Key": "a"}}, "header names"),
        ({"api_headers": {"X-Key": "{access_token}"}}, "no value there"),
        ({"api_parameters": {"key": "{client_secret}"}}, "no value there"),
        ({"api_token_header": "Host"}, "cannot be configured"),
        ({"api_token_header": "X-Token", "api_token_parameter": "token"}, "cannot both"),
        ({"api_token_parameter": "oauth_token_x"}, "set by the protocol"),
        ({"api_auth_scheme": "Bearer x"}, "one word"),
        ({"token_request_method": "PUT"}, "one of"),
        ({"token_response_paths": {"subject": "x"}}, "unknown name"),
        ({"token_response_paths": {"access_token": ""}}, "must be a path"),
        ({"token_success_codes": ["0"]}, "needs the path of 'error'"),
        ({"expiry_format": "days"}, "one of"),
        ({"refresh_endpoint": "ftp://example.com/"}, "only https"),
        ({"refresh_endpoint": "https://ok@evil.example/"}, "user name"),
        ({"refresh_endpoint": "https://example.com/#x"}, "fragment"),
        ({"refresh_endpoint": 5}, "must be a URL"),
        ({"second_exchange": {"grant_type": "x"}}, "needs an endpoint"),
        ({"second_exchange": {"url": "x"}}, "unknown key"),
        ({"second_exchange": "x"}, "must be an object"),
        ({"api_host_patterns": ["*"]}, "host names"),
        ({"api_host_patterns": ["*.com"]}, "two labels"),
        ({"api_host_patterns": ["*.*.example.com"]}, "host names"),
        ({"api_host_patterns": ["https://example.com"]}, "host names"),
        ({"userinfo_body": {"query": "x"}}, "needs 'userinfo_method'"),
        ({"userinfo_body": "x", "userinfo_method": "POST"}, "JSON object"),
        ({"subject_template": "fixed"}, "paths in braces"),
        ({"subject_template": "{a}{b}"}, "paths in braces"),
        ({"subject_template": "{kept.team}"}, "is not listed"),
        ({"authorization_fragment": "a", "authorization_route": "b"}, "cannot both"),
        ({"authorization_fragment": "a?b=c"}, "letters"),
        ({"quirk": "os.system"}, "known deviation"),
        ({"kept_token_fields": ["x" * 1900] * 20}, "characters long"),
    ],
)
def test_what_the_schema_refuses(value: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        Dialect.from_json(value)


def test_placeholders_are_filled_in_and_variables_are_left_for_later() -> None:
    dialect = Dialect.from_json(
        {
            "authorization_parameters": {"context": "stores/{shop}", "key": "{client_id}"},
            "refresh_endpoint": "https://{shop}.example.com/refresh",
            "second_exchange": {"endpoint": "https://{shop}.example.com/swap", "grant_type": "swap"},
        }
    )
    filled = dialect.filled({"shop": "acme"})
    assert filled.authorization_parameters == (("context", "stores/acme"), ("key", "{client_id}"))
    assert filled.endpoints == {
        "refresh_endpoint": "https://acme.example.com/refresh",
        "second_exchange": "https://acme.example.com/swap",
    }
    with pytest.raises(ValueError, match="placeholder 'shop'"):
        dialect.filled({"shop": "evil.example/"})
