"""Every knob of the dialect, walked through: start, callback, identity, refresh, an API call and disconnect over real HTTP."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows import flows
from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.models import Connection, Revocation
from django_oauth_flows.testing.factories import make_provider, shift_expiry, walk

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

BASE: dict[str, Any] = {
    "authorization_endpoint": "https://www.example.com/oauth/authorize",
    "token_endpoint": "https://api.example.com/oauth/token",
    "revocation_endpoint": "https://api.example.com/oauth/revoke",
    "userinfo_endpoint": "https://api.example.com/me",
    "identity_source": "userinfo",
    "subject_path": "id",
    "label_path": "profile.name",
    "api_base_url": "https://api.example.com/v1",
    "scopes": ("read", "write"),
    "issuer": "",
}
OAUTH1: dict[str, Any] = {
    **BASE,
    "protocol": "oauth1",
    "temporary_credential_endpoint": "https://api.example.com/oauth/temporary",
}
POST: dict[str, Any] = {"token_endpoint_auth_method": "client_secret_post"}
PUSHED: dict[str, Any] = {"pushed_authorization_request_endpoint": "https://api.example.com/oauth/par"}
NO_PKCE: dict[str, Any] = {"code_challenge_method": ""}

DIALECTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "scope separator": ({"scope_separator": ","}, {}),
    "scope name": ({}, {"authorization_parameter_names": {"scope": "advanced_scopes"}}),
    "second scope": (
        {"scopes": ("read", "user_scope:identity.basic"), "scope_separator": ","},
        {
            "second_scope_parameter": "user_scope",
            "token_response_paths": {"second_scope": "authed_user.scope", "access_token": ["access_token", "authed_user.access_token"]},
        },
    ),
    "authorization parameters": (
        {"parameters": {"shop": "acme"}},
        {"authorization_parameters": {"access_type": "offline", "context": "stores/{shop}", "request": "authorize", "app": "{client_id}"}},
    ),
    "token parameters": (
        POST,
        {
            "token_parameters": {"state": "{state}", "audience": "https://api.example.com", "device": "{kept.device_id}", "again": "{code}"},
            "refresh_parameters": {"type": "refresh", "device": "{kept.device_id}"},
            "kept_callback_parameters": ["device_id"],
        },
    ),
    "basic credentials": ({}, {"basic_credentials": "{client_secret}:"}),
    "raw basic": ({}, {"raw_basic_auth": True}),
    "public": ({"token_endpoint_auth_method": "none"}, {}),
    "json body": (POST, {"token_request_format": "json"}),
    "json body and basic": ({}, {"token_request_format": "json"}),
    "query": (POST, {"token_request_format": "query"}),
    "get": (POST, {"token_request_method": "GET"}),
    "names": (
        POST,
        {
            "authorization_parameter_names": {"client_id": "app_id", "redirect_uri": "redirect_url"},
            "token_parameter_names": {
                "client_id": "app_id", "client_secret": "secret", "code": "auth_code", "redirect_uri": "redirect_url",
                "refresh_token": "refreshToken", "code_verifier": "verifier",
            },
            "callback_code_parameter": "auth_code",
        },
    ),
    "assertion": (
        {**POST, **NO_PKCE},
        {
            "response_type": "Assertion",
            "grant_type_values": {"authorization_code": "urn:ietf:params:oauth:grant-type:jwt-bearer"},
            "token_parameter_names": {"client_secret": "client_assertion", "code": "assertion"},
            "token_parameters": {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
        },
    ),
    "pushed": (PUSHED, {"refresh_scopes": ["offline_access"], "response_type": "Code"}),
    "pushed by other names": (
        {**PUSHED, **POST},
        {
            "authorization_parameter_names": {"client_id": "app_id", "redirect_uri": "redirect_url"},
            "token_parameter_names": {"client_id": "app_key", "client_secret": "secret", "redirect_uri": ""},
            "authorization_parameters": {"audience": "api"},
            "token_request_method": "GET",
        },
    ),
    "no response type": ({}, {"response_type": ""}),
    "no grant type, no redirect uri": (
        POST,
        {
            "token_parameter_names": {"redirect_uri": "", "grant_type": ""},
            "token_parameters": {"response_type": "code"},
        },
    ),
    "token headers": (
        {"parameters": {"seller": "s1"}},
        {"token_request_headers": {"User-Agent": "site/1 by {client_id}", "WM_PARTNER.ID": "{seller}", "X-Secret": "{client_secret}"}},
    ),
    "refresh endpoint": ({}, {"refresh_endpoint": "https://api.example.com/oauth/refresh", "refresh_scopes": ["offline_access"]}),
    "refresh with access token": (
        {**POST, **NO_PKCE},
        {
            "token_request_method": "GET",
            "refreshes_with_access_token": "fb_exchange_token",
            "grant_type_values": {"refresh_token": "fb_exchange_token"},
            "token_response_paths": {"expires_in": ["expires_in", "expires"]},
        },
    ),
    "second exchange": (
        {**POST, **NO_PKCE},
        {
            "second_exchange": {"endpoint": "https://graph.example.com/access_token", "grant_type": "ig_exchange_token"},
            "refresh_endpoint": "https://graph.example.com/refresh_access_token",
            "refresh_request_method": "GET",
            "refresh_client_authentication": False,
            "refreshes_with_access_token": "access_token",
            "grant_type_values": {"refresh_token": "ig_refresh_token"},
        },
    ),
    "pkce off": (NO_PKCE, {}),
    "pkce plain": ({"code_challenge_method": "plain"}, {}),
    "envelope": (
        POST,
        {
            "token_response_envelope": "data",
            "token_response_paths": {"access_token": "accessToken", "refresh_token": "refreshToken", "expires_in": "expireIn", "error": "code"},
            "token_success_codes": ["0"],
            "kept_token_fields": ["open_id"],
        },
    ),
    "nested token": ({}, {"token_response_paths": {"access_token": "access_token.token", "expires_in": "access_token.expires"}}),
    "milliseconds": ({}, {"expiry_format": "milliseconds"}),
    "epoch": ({}, {"expiry_format": "epoch", "token_response_paths": {"expires_in": "access_token_expiration"}}),
    "epoch milliseconds": ({}, {"expiry_format": "epoch_milliseconds"}),
    "date": ({}, {"expiry_format": "date", "token_response_paths": {"expires_in": "expiresAt"}}),
    "form answer": ({}, {"token_response_format": "form"}),
    "token type": ({}, {"token_type_aliases": ["User Access Token"]}),
    "state in the redirect uri": (NO_PKCE, {"state_in_redirect_uri": True}),
    "fragment": ({}, {"authorization_fragment": "wechat_redirect"}),
    "route": ({}, {"authorization_route": "/oauth/authorize"}),
    "unquoted": ({}, {"unquoted_parameters": ["scope", "redirect_uri"]}),
    "scheme": ({}, {"api_auth_scheme": "Zoho-oauthtoken"}),
    "header": ({}, {"api_token_header": "X-Shopify-Access-Token"}),
    "bare authorization": ({}, {"api_token_header": "Authorization"}),
    "query token": ({}, {"api_token_parameter": "access_token"}),
    "api constants": (
        {},
        {"api_headers": {"Notion-Version": "2022-06-28", "User-Agent": "site/1", "x-api-key": "{client_id}:{client_secret}"}, "api_parameters": {"api_key": "{client_id}"}},
    ),
    "api base from the answer": (
        {"api_base_url": "{kept.instance_url}/services/data"},
        {"kept_token_fields": ["instance_url"], "api_host_patterns": ["*.salesforce.com"]},
    ),
    "api label from the callback": (
        {"api_base_url": "https://{kept.domain_prefix}.retail.example.com/api"},
        {"kept_callback_parameters": ["domain_prefix"], "api_host_patterns": ["*.retail.example.com"]},
    ),
    "nested identity": ({"subject_path": "data.users.0.id", "label_path": "data.users.0.name"}, {}),
    "listed identity": ({"subject_path": "0.tenantId", "label_path": ""}, {}),
    "pointed identity": ({"subject_path": "/https:~1~1slack.com~1user_id", "label_path": ""}, {}),
    "composite identity": (
        {"label_path": ""},
        {"subject_template": "{hub_id}:{user.id}/{kept.team.id}", "kept_token_fields": ["team.id"]},
    ),
    "prefixed identity": ({"subject_path": "uri"}, {"subject_prefix": "/users/"}),
    "identity by GraphQL": (
        {"subject_path": "data.me.id", "label_path": "data.me.title"},
        {"userinfo_method": "POST", "userinfo_body": {"query": "{ me { id } }"}},
    ),
    "identity by POST": ({}, {"userinfo_method": "POST"}),
    "identity parameters": (
        {},
        {
            "userinfo_parameters": {"fields": "id,name", "openid": "{kept.openid}", "key": "{client_id}"},
            "userinfo_headers": {"Client-Id": "{client_id}"},
            "kept_token_fields": ["openid"],
        },
    ),
    "identity with the token in the query": (
        {}, {"userinfo_parameters": {"access_token": "{access_token}"}, "userinfo_auth_scheme": "none"},
    ),
    "identity with the token in the path": (
        {"userinfo_endpoint": "https://api.example.com/oauth/v1/access-tokens/{access_token}"}, {"userinfo_auth_scheme": "none"},
    ),
    "identity with another scheme": ({}, {"userinfo_auth_scheme": "OAuth"}),
    "identity in xml": (
        {"subject_path": "Response.Profile.@ref", "label_path": "Response.Profile.public_display_name"}, {"userinfo_format": "xml"},
    ),
    "identity from the token response": (
        {"identity_source": "token_response", "subject_path": "body.userid", "label_path": ""}, {"token_response_envelope": "answer"},
    ),
    "identity on the account's own host": (
        {"userinfo_endpoint": "{kept.instance_url}/me"},
        {"kept_token_fields": ["instance_url"], "api_host_patterns": ["*.salesforce.com"]},
    ),
    "revocation by the token": ({}, {"revocation_authentication": "token", "revocation_request_method": "GET", "revocation_token_parameter": ""}),
    "revocation under another name": ({}, {"revocation_token_parameter": "access_token"}),
    "revocation by DELETE": ({}, {"revocation_request_method": "DELETE"}),
    "oauth1": (OAUTH1, {}),
    "oauth1 GET": (OAUTH1, {"temporary_request_method": "GET", "token_request_method": "GET"}),
    "oauth1 parameters": (
        OAUTH1,
        {
            "temporary_parameters": {"x_auth_access_type": "write"},
            "authorization_parameters": {"name": "My site", "expiration": "never"},
            "token_parameters": {"extra": "1"},
            "oauth1_scopes_in": "authorization",
        },
    ),
    "oauth1 scope on the request": (
        {**OAUTH1, "scope_separator": ","},
        {"oauth1_scopes_in": "temporary", "authorization_parameter_names": {"scope": "perms"}, "temporary_request_method": "GET"},
    ),
    "oauth1 identity from the answer": (
        {**OAUTH1, "identity_source": "token_response", "subject_path": "user_nsid", "label_path": ""}, {"kept_token_fields": ["edam_shard"]},
    ),
    "oauth1 signature in the query": ({**OAUTH1, "signature_placement": "query"}, {"api_parameters": {"v": "2"}}),
    "oauth1 signature in the body": ({**OAUTH1, "signature_placement": "body"}, {"temporary_parameters": {"a": "b c"}}),
}  # fmt: skip


SEEN_ELSEWHERE = {
    "raw_basic_auth",  # the fake's client has nothing to encode
    "authorization_fragment", "authorization_route", "unquoted_parameters",  # what no server is sent, or cannot tell apart
    "api_host_patterns",  # the fake has one host
}  # fmt: skip
"""Keys that a server of the dialect does not miss; other tests do."""


@pytest.mark.parametrize("name", DIALECTS)
def test_a_server_of_this_dialect_is_walked_through(name: str, fake: FakeProvider, client: Client, user: User) -> None:
    columns, dialect = DIALECTS[name]
    provider = make_provider(fake, **fake.play({**BASE, **columns, "dialect": dialect}))
    provider.full_clean()
    client.force_login(user)
    _walk_through(fake, client, provider)


@pytest.mark.parametrize(
    ("name", "key"),
    [(name, key) for name, (_, dialect) in DIALECTS.items() for key in dialect if key not in SEEN_ELSEWHERE],
)
def test_a_server_of_this_dialect_is_not_walked_through_by_who_leaves_out_a_key(
    name: str, key: str, fake: FakeProvider, client: Client, user: User
) -> None:
    columns, dialect = DIALECTS[name]
    played = fake.play({**BASE, **columns, "dialect": dialect})
    poorer = {said: value for said, value in played["dialect"].items() if said != key}
    provider = make_provider(fake, **{**played, "dialect": poorer})
    client.force_login(user)
    with pytest.raises((AssertionError, OAuthFlowsError, ValueError)):
        _walk_through(fake, client, provider)


def _walk_through(fake: FakeProvider, client: Client, provider: Provider) -> None:
    """Connect, call, refresh, call and disconnect; fail wherever something is not as it should be."""
    answer = walk(client, provider)
    assert answer.status_code == 303, _refusals(fake)
    connection, played = Connection.objects.get(), fake.played
    assert played is not None
    assert connection.subject == played.subject
    assert connection.granted_scopes
    assert not provider.label_path or connection.label == "Ada Lovelace"
    assert connection.token.extra == played.said
    with flows.session(connection) as http:
        assert http.get("/echo", params={"a": "1"}).json()["path"].endswith("/echo"), _refusals(fake)
    if provider.protocol == "oauth2":
        assert connection.token.expires_at is not None
        lifetime = connection.token.expires_at - connection.token.issued_at
        assert timedelta(minutes=59) < lifetime < timedelta(minutes=61)
        shift_expiry(connection, timedelta(minutes=2))
        assert flows.refresh(connection).refreshed, _refusals(fake)
        assert http.get("/echo").ok, _refusals(fake)
    flows.revoke(connection)
    assert Revocation.objects.get().outcome == Revocation.Outcome.REVOKED, _refusals(fake)


def _refusals(fake: FakeProvider) -> list[tuple[str, str]]:
    """Return what arrived, to say what went wrong."""
    return [(request.method, request.url) for request in fake.requests]
