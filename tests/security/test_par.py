"""Pushed authorization requests: RFC 9126, and what a server may answer to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.models import AuthorizationRequest
from django_oauth_flows.testing import Answer
from django_oauth_flows.testing.factories import answer, consent, make_provider, walk

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from django_oauth_flows.models import Provider
    from django_oauth_flows.testing import FakeProvider

pytestmark = pytest.mark.django_db(transaction=True)

REFERENCE = "urn:ietf:params:oauth:request_uri:bwc4JK-ESC0w8acc191e-Y1LTC2"


@pytest.fixture
def pushing(db: None, fake: FakeProvider) -> Provider:
    """Return a provider that takes pushed requests only."""
    fake.oauth2.requires_par = True
    return make_provider(fake, pushed_authorization_request_endpoint=f"{fake.url}/par")


@pytest.mark.security("A15")
@pytest.mark.rfc("9126", "2.1")
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
def test_the_browser_carries_a_reference_and_nothing_else(
    method: str, pushing: Provider, fake: FakeProvider, browser: Client, user: User
) -> None:
    pushing.token_endpoint_auth_method = method
    pushing.authorization_endpoint += "?tenant=1" if method == "none" else ""
    pushing.save()
    fake.oauth2.public = method == "none"
    first = browser.post("/oauth/connect/fake/")["Location"]
    query = parse_qs(urlsplit(first).query)
    assert query.pop("tenant", ["1"]) == ["1"]
    assert set(query) == {"client_id", "request_uri"}
    form = fake.received("par")[0].form
    assert set(form) >= {"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge"}
    assert "tenant" not in form
    again = browser.post("/oauth/connect/fake/")["Location"]  # after the back button
    assert first != again
    if method != "none":
        assert answer(browser, consent(again)).status_code == 303
        assert user.oauth_connections.get().is_active


@pytest.mark.security("A15")
@pytest.mark.rfc("9126", "2.2")
@pytest.mark.parametrize(
    "wrong",
    [
        Answer(400, {"error": "invalid_request", "error_description": "no"}),
        Answer(401, {"error": "invalid_client"}),
        Answer(405),
        Answer(413),
        Answer(302, headers={"Location": "https://attacker.example"}),
        Answer(200, {"request_uri": REFERENCE, "expires_in": 60}),
        Answer(201, {"expires_in": 60}),
        Answer(201, {"request_uri": "https://169.254.169.254/", "expires_in": 60}),
        Answer(201, {"request_uri": f"{REFERENCE}\r\nX: 1", "expires_in": 60}),
        Answer(201, {"request_uri": 7, "expires_in": 60}),
        Answer(201, {"request_uri": REFERENCE, "expires_in": 0}),
        Answer(201, {"request_uri": REFERENCE, "expires_in": -1}),
        Answer(201, {"request_uri": REFERENCE}),
        Answer(201, "<html>"),
    ],
    ids=str,
)
def test_what_is_no_reference_ends_the_start(
    wrong: Answer, pushing: Provider, fake: FakeProvider, browser: Client
) -> None:
    fake.script("par", wrong)
    response = browser.post("/oauth/connect/fake/")
    assert response.status_code == 400
    assert b"<code>par_failed</code>" in response.content
    assert not AuthorizationRequest.objects.exists()
    assert walk(browser, pushing).status_code == 303


@pytest.mark.security("A15")
def test_a_long_life_of_a_reference_and_a_service_that_is_down_are_no_nonsense(
    pushing: Provider, fake: FakeProvider, browser: Client
) -> None:
    fake.script("par", Answer(201, {"request_uri": REFERENCE, "expires_in": 1e9}), Answer(503))
    assert REFERENCE.rpartition(":")[2] in browser.post("/oauth/connect/fake/")["Location"]
    down = browser.post("/oauth/connect/fake/")
    assert b"<code>provider_unreachable</code>" in down.content


@pytest.mark.security("A15", "H06")
def test_where_requests_are_pushed_to_is_vetted_at_use_as_well(pushing: Provider, fake: FakeProvider) -> None:
    from django_oauth_flows.protocol.flow import flow_for
    from django_oauth_flows.protocol.secret import Secret

    pushing.pushed_authorization_request_endpoint = "file:///etc/passwd"
    flow: Any = flow_for(pushing.registration())
    with pytest.raises(ConfigurationError) as caught:
        flow.start(redirect_uri="https://site.example/", scopes=(), state=Secret("x"))
    assert caught.value.code == "endpoint_not_allowed"


@pytest.mark.security("B24")
def test_another_place_to_push_to_is_another_configuration(pushing: Provider) -> None:
    before = pushing.fingerprint()
    pushing.pushed_authorization_request_endpoint += "2"
    assert pushing.fingerprint() != before
