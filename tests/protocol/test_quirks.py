"""What the named quirks do to requests, and that every one is needed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
import requests

from django_oauth_flows import catalogue
from django_oauth_flows.exceptions import RequestBlocked
from django_oauth_flows.protocol.authorization import validate_authorization_response
from django_oauth_flows.protocol.dialect import Dialect
from django_oauth_flows.protocol.kept import as_variables
from django_oauth_flows.protocol.messages import Credentials
from django_oauth_flows.protocol.oauth2 import OAuth2Flow
from django_oauth_flows.protocol.quirks import CORRELATION_HEADER, known, quirk_named
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from django_oauth_flows.testing import FakeProvider

CALLBACK = "https://site.example/callback"


def test_every_quirk_says_what_it_does_and_is_needed_by_the_entries_that_name_it() -> None:
    named = {
        name: tuple(p.slug for p in catalogue.presets() if p.dialect.get("quirk") == name)
        for name in {p.dialect["quirk"] for p in catalogue.presets() if p.dialect.get("quirk")}
    }
    described = {name: quirk.servers for name, quirk in known().items() if quirk.servers}
    assert described == named
    assert all(known()[name].says for name in named)


def walmart(register: Any, fake: FakeProvider, **dialect: Any) -> OAuth2Flow:
    registration = replace(register(fake), quirk=quirk_named("walmart"), dialect=Dialect.from_json(dialect))
    return OAuth2Flow(registration)


def started(flow: OAuth2Flow, scopes: tuple[str, ...] = ()) -> dict[str, list[str]]:
    _, url = flow.start(redirect_uri=CALLBACK, scopes=scopes, state=Secret("s"))
    return parse_qs(urlsplit(url).query)


def test_walmart_is_asked_with_a_nonce_that_is_new_each_time(register: Any, fake: FakeProvider) -> None:
    flow = walmart(register, fake)
    first, second = started(flow)["nonce"][0], started(flow)["nonce"][0]
    assert first != second
    assert min(len(first), len(second)) >= 32


def test_a_quirks_nonce_gives_way_to_that_of_an_id_token(register: Any, fake: FakeProvider) -> None:
    flow = walmart(register, fake)
    server = replace(flow.registration.server, issuer="https://issuer.example", jwks_uri="https://issuer.example/jwks")
    flow = OAuth2Flow(replace(flow.registration, server=server))
    pending, url = flow.start(redirect_uri=CALLBACK, scopes=("openid",), state=Secret("s"))
    assert pending.nonce is not None
    assert parse_qs(urlsplit(url).query)["nonce"] == [pending.nonce.reveal()]


def test_every_token_request_to_walmart_has_an_id_of_its_own(register: Any, fake: FakeProvider) -> None:
    flow = walmart(register, fake)
    for _ in range(2):
        flow.client_credentials()
    ids = [UUID(r.headers[CORRELATION_HEADER.lower()]) for r in fake.received("token")]
    assert len(set(ids)) == 2


def test_every_call_of_walmarts_api_has_an_id_unless_the_caller_gave_it_one(register: Any, fake: FakeProvider) -> None:
    flow, credentials = walmart(register, fake), Credentials(access_token=Secret("a"))

    def call(**headers: str) -> str:
        prepared = requests.Request("GET", f"{fake.url}/api/echo", headers=headers).prepare()
        return str(flow.authenticate(prepared, credentials).headers[CORRELATION_HEADER])

    assert UUID(call()) != UUID(call())
    assert call(**{CORRELATION_HEADER: "mine"}) == "mine"


def test_headers_of_the_token_request_take_what_the_callback_said(register: Any, fake: FakeProvider) -> None:
    dialect = {
        "kept_callback_parameters": ["sellerId"],
        "token_request_headers": {"WM_PARTNER.ID": "{kept.sellerId}"},
    }
    flow = OAuth2Flow(replace(register(fake), dialect=Dialect.from_json(dialect)))
    pending, url = flow.start(redirect_uri=CALLBACK, scopes=(), state=Secret("s"))
    back = requests.get(url, allow_redirects=False, timeout=5).headers["Location"]
    answer = [(name, value) for name, (value,) in parse_qs(urlsplit(back).query).items()]
    flow.exchange(validate_authorization_response(pending, [*answer, ("sellerId", "456782346")]))
    flow.client_credentials()  # nobody has said anything
    assert [r.headers.get("wm_partner.id") for r in fake.received("token")] == ["456782346", None]


@pytest.mark.parametrize("said", [" x", "x ", "x\r\nY: z", "\u017c", ""])
def test_what_no_header_can_hold_is_not_sent_in_one(said: str, register: Any, fake: FakeProvider) -> None:
    dialect = {"kept_token_fields": ["seller"], "token_request_headers": {"X-Seller": "{kept.seller}"}}
    kept = as_variables({"seller": said})
    OAuth2Flow(replace(register(fake), dialect=Dialect.from_json(dialect), kept=kept)).client_credentials()
    (received,) = fake.received("token")
    assert "x-seller" not in received.headers


def test_a_secret_that_no_header_can_hold_is_refused_and_not_quoted(register: Any, fake: FakeProvider) -> None:
    dialect = Dialect.from_json({"token_request_headers": {"X-Key": "{client_secret}"}})
    flow = OAuth2Flow(replace(register(fake), dialect=dialect, client_secret=Secret(" canary_secret")))
    with pytest.raises(RequestBlocked) as refused:
        flow.client_credentials()
    assert refused.value.code == "header_not_allowed"
    assert "canary" not in str(refused.value)
    assert fake.count("token") == 0
