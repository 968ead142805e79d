"""Resource indicators: RFC 8707."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from django_oauth_flows.protocol.dialect import Dialect
from django_oauth_flows.protocol.messages import AuthorizationResponse
from django_oauth_flows.protocol.oauth2 import OAuth2Flow
from django_oauth_flows.protocol.quirks import Quirk
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import consent

if TYPE_CHECKING:
    from django_oauth_flows.testing import FakeProvider

RESOURCES = ["https://cal.example.com/", "https://contacts.example.com/?a=1&b=2"]


@pytest.mark.rfc("8707", "2")
def test_every_request_for_a_token_says_what_it_is_for(fake: FakeProvider, register: Any) -> None:
    flow = OAuth2Flow(register(fake, dialect=Dialect.from_json({"resources": RESOURCES})))
    pending, url = flow.start(redirect_uri="https://site.example/callback", scopes=["read"], state=Secret("s" * 43))
    assert parse_qs(urlsplit(url).query)["resource"] == RESOURCES
    code = parse_qs(urlsplit(consent(url)).query)["code"][0]
    tokens = flow.exchange(AuthorizationResponse(pending, Secret(code)))
    assert tokens.refresh_token is not None
    flow.refresh(tokens.refresh_token)
    flow.client_credentials()
    sent = [parse_qs(request.body.decode())["resource"] for request in fake.received("token")]
    assert sent == [RESOURCES] * 3
    flow.revoke(tokens.access_token, hint="access_token")
    assert "resource" not in fake.received("revoke")[0].form


def test_a_quirk_and_a_form_in_json_leave_none_out(fake: FakeProvider, register: Any) -> None:
    quirk = Quirk(token_request=lambda _, parameters, __: parameters.update(sign="x"))
    dialect = Dialect.from_json({"resources": RESOURCES, "token_request_format": "json"})
    fake.script("token", Answer(200, {"access_token": "a"}))
    OAuth2Flow(register(fake, dialect=dialect, quirk=quirk)).client_credentials()
    sent = json.loads(fake.received("token")[0].body)
    assert (sent["sign"], sent["resource"]) == ("x", RESOURCES)


def test_nothing_is_said_where_nothing_is_configured(fake: FakeProvider, register: Any) -> None:
    flow = OAuth2Flow(register(fake))
    _, url = flow.start(redirect_uri="https://site.example/callback", scopes=["read"], state=Secret("s" * 43))
    flow.client_credentials()
    assert "resource" not in parse_qs(urlsplit(url).query)
    assert "resource" not in fake.received("token")[0].form


@pytest.mark.parametrize(
    "wrong", ["https://a.example", ["/relative"], ["https://a.example/#part"], [7], ["https://a b"]]
)
def test_what_is_no_absolute_uri_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="resources"):
        Dialect.from_json({"resources": wrong})
