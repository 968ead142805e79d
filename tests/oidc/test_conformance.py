"""The OpenID Foundation's modules for relying parties, each played by the fake provider against the whole site."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows import flows
from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider
from django_oauth_flows.testing.conformance import MODULES
from django_oauth_flows.testing.factories import walk
from tests.oidc.module_names import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpResponse
    from django.test import Client

    from django_oauth_flows.testing import FakeProvider
    from django_oauth_flows.testing.conformance import Module

pytestmark = pytest.mark.django_db(transaction=True)

AFTER_A_FAULT = ("userinfo", "api")
"""Endpoints that must hear nothing after something was wrong with the answer before."""


def test_every_module_of_the_plans_has_a_handler_and_no_handler_is_for_no_module() -> None:
    assert sorted(MODULES) == sorted(NAMES)
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.security(
    "I01", "I02", "I03", "I04", "I05", "I06", "I07", "I08", "I09", "I12", "I14", "I15", "I17", "I18", "I19", "I22"
)
def test_the_module_ends_as_it_must(
    name: str, browser: Client, make_openid_provider: Callable[..., Provider], fake: FakeProvider
) -> None:
    module = MODULES[name]
    module.set_up(fake)
    assert PLAYS[module.act](module, browser, make_openid_provider, fake) == module.expects


def _login(module: Module, browser: Client, make: Callable[..., Provider], fake: FakeProvider) -> str:
    ended = _ended(walk(browser, make(**_columns(module, fake))))
    if ended != "connected" and ended not in ("userinfo_mismatch", "identity_unavailable"):
        assert {endpoint: fake.count(endpoint) for endpoint in AFTER_A_FAULT} == dict.fromkeys(AFTER_A_FAULT, 0)
    if ended not in ("connected", "state_missing", "state_unknown"):
        assert AuthorizationRequest.objects.get().failure == ended
    if ended == "connected":
        mine = Connection.objects.get()
        assert (mine.subject, mine.status) == ("account-1", "active")
    else:
        assert not Connection.objects.exists()
    return ended


def _second_login(module: Module, browser: Client, make: Callable[..., Provider], fake: FakeProvider) -> str:
    provider = make(**_columns(module, fake))
    assert _ended(walk(browser, provider)) == "connected"
    module.then(fake)
    return _ended(walk(browser, provider))


def _refresh(module: Module, browser: Client, make: Callable[..., Provider], fake: FakeProvider) -> str:
    assert _ended(walk(browser, make(**_columns(module, fake)))) == "connected"
    mine = Connection.objects.get()
    before = mine.token.access_token
    try:
        assert flows.refresh(mine).refreshed
    except OAuthFlowsError as error:
        mine.token.refresh_from_db()
        assert mine.token.access_token == before
        return error.code
    return "refreshed"


def _call(module: Module, browser: Client, make: Callable[..., Provider], fake: FakeProvider) -> str:
    assert _ended(walk(browser, make(**_columns(module, fake)))) == "connected"
    with flows.session(Connection.objects.get()) as http:
        first, second = http.post("echo", data=b"x"), http.get("echo")
    assert {request.headers["authorization"].split(" ")[0] for request in fake.received("api")} == {"DPoP"}
    return "called" if first.ok and second.ok else f"answered with {first.status_code} and {second.status_code}"


def _discover(module: Module, browser: Client, make: Callable[..., Provider], fake: FakeProvider) -> str:
    try:
        provider = flows.add_discovered_provider(
            fake.url,
            slug="found",
            client_id=fake.oauth2.client_id,
            client_secret=fake.oauth2.client_secret,
            internal=True,
        )
    except OAuthFlowsError as error:
        assert not Provider.objects.exists()
        return error.code
    return _ended(walk(browser, provider))


def _visit(module: Module, browser: Client, make: Callable[..., Provider], fake: FakeProvider) -> str:
    make()
    method, _, path = module.visit.rpartition(" ")
    address = path.format(issuer=fake.url)
    response: Any = browser.post(address, {"error": "access_denied"}) if method else browser.get(address)
    assert not AuthorizationRequest.objects.exists()
    assert fake.requests == []
    return "refused" if response.status_code in (400, 403, 404, 405) else f"answered with {response.status_code}"


PLAYS = {
    "login": _login,
    "second login": _second_login,
    "refresh": _refresh,
    "call": _call,
    "discover": _discover,
    "visit": _visit,
}


def _columns(module: Module, fake: FakeProvider) -> dict[str, Any]:
    """Ask userinfo as well where the module is about it, or the login is to be an ordinary one."""
    source = "userinfo" if module.expects in ("connected", "userinfo_mismatch", "identity_unavailable") else "id_token"
    return {
        "identity_source": source,
        "dialect": dict(module.dialect),
        **module.columns,
        "dpop_bound_access_tokens": module.dpop,
        "authorization_response_iss_parameter_supported": fake.oauth2.sends_iss,
    }


def _ended(response: HttpResponse) -> str:
    if response.status_code == 303:
        return "connected"
    found = re.search(rb"<code>(\w+)</code>", response.content)
    return found[1].decode() if found else f"status {response.status_code}"
