"""Row H06: what an issuer has named is looked at again whenever it is used, whichever endpoint it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from django_oauth_flows.exceptions import ConfigurationError, OAuthFlowsError, ProviderUnreachable
from django_oauth_flows.protocol.messages import Credentials
from django_oauth_flows.protocol.oauth2 import OAuth2Flow
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_oauth_flows.testing import FakeProvider

USES: dict[str, Callable[[OAuth2Flow], object]] = {
    "token_endpoint": lambda flow: flow.refresh(Secret("refresh")),
    "revocation_endpoint": lambda flow: flow.revoke(Secret("token"), hint="access_token"),
    "userinfo_endpoint": lambda flow: flow.identify(Credentials(Secret("token")), {}),
    "pushed_authorization_request_endpoint": lambda flow: flow.start(
        redirect_uri="https://site.example/callback", scopes=["read"], state=Secret("s" * 43)
    ),
}

each_use = pytest.mark.parametrize("name", USES)


@pytest.mark.security("H06")
@each_use
def test_a_private_address_is_not_connected_to(
    name: str, tls_fake: FakeProvider, register: Any, ca_bundle: str
) -> None:
    registration = register(tls_fake, transport={"internal": False, "ca_bundle": ca_bundle})
    server = replace(registration.server, **{name: f"{tls_fake.url}/inside"})
    with pytest.raises(ProviderUnreachable):
        USES[name](OAuth2Flow(replace(registration, server=server)))
    assert tls_fake.connections == 0


@pytest.mark.security("H06")
@each_use
@pytest.mark.parametrize(
    "url", ["http://{host}/inside", "https://user@{host}/inside", "file:///etc/passwd", "https://as.example:25/"]
)
def test_what_can_be_no_endpoint_is_refused_before_anything_is_sent(
    name: str, url: str, fake: FakeProvider, register: Any
) -> None:
    registration = register(fake, transport={"internal": False})
    server = replace(registration.server, **{name: url.format(host=fake.url.partition("//")[2])})
    with pytest.raises(OAuthFlowsError) as caught:
        USES[name](OAuth2Flow(replace(registration, server=server)))
    assert isinstance(caught.value, ConfigurationError)
    assert caught.value.code == "endpoint_not_allowed"
    assert fake.connections == 0
