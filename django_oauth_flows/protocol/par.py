"""Pushed authorization requests: the parameters go from server to server, the browser carries a reference. RFC 9126."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from django_oauth_flows.exceptions import ProviderUnreachable, RequestBlocked, TokenEndpointError
from django_oauth_flows.protocol.authorization_request import beyond, referring
from django_oauth_flows.protocol.endpoints import endpoint_of
from django_oauth_flows.protocol.parsing import raise_for_error, read_object, seconds
from django_oauth_flows.protocol.token_request import pushed_request
from django_oauth_flows.protocol.transport import send

if TYPE_CHECKING:
    from django_oauth_flows.protocol.messages import ClientRegistration
    from django_oauth_flows.protocol.transport import ProtocolResponse

_REQUEST_URI = re.compile(r"urn:[a-zA-Z0-9][a-zA-Z0-9-]{0,31}:[\x21-\x7e]{1,500}")
"""What a server may refer to its own memory by, RFC 9126 §2.2. An address could make it fetch something."""


def pushed(url: str, registration: ClientRegistration) -> str:
    """Push the parameters of an authorization URL; return the URL that refers to them, for one browser and once.

    Raises :class:`TokenEndpointError` (``par_failed``) if the server refuses or answers nonsense,
    :class:`ProviderUnreachable` if it does not answer, and what client authentication raises.
    """
    endpoint = endpoint_of(registration, "pushed_authorization_request_endpoint")
    page = endpoint_of(registration, "authorization_endpoint")
    request = pushed_request(registration, endpoint, beyond(url, page))
    try:
        request_uri = _request_uri(send(request, policy=registration.own_transport))
    except (ProviderUnreachable, RequestBlocked):
        raise
    except TokenEndpointError as error:
        raise TokenEndpointError(
            "The service did not take the authorization request.",
            code="par_failed",
            hint="Ask the site's staff to check the provider's endpoints and client authentication.",
            error=error.error,
            status=error.status,
            provider_text=error.provider_text,
        ) from None
    return referring(page, [("client_id", registration.client_id), ("request_uri", request_uri)])


def _request_uri(response: ProtocolResponse) -> str:
    raise_for_error(response)
    members = read_object(response)
    request_uri, lifetime = members.get("request_uri"), seconds(members.get("expires_in"))
    is_reference = isinstance(request_uri, str) and _REQUEST_URI.fullmatch(request_uri)
    if response.status != HTTPStatus.CREATED or not is_reference or not lifetime:
        raise TokenEndpointError("The service's answer is not what RFC 9126 prescribes.", status=response.status)
    return str(request_uri)
