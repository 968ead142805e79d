"""The device authorization grant: the user enters a code on another device, while this side asks whether it was done. RFC 8628."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from django_oauth_flows.exceptions import ProviderUnreachable, RequestBlocked, TokenEndpointError
from django_oauth_flows.protocol.endpoints import endpoint_of
from django_oauth_flows.protocol.messages import AuthorizationResponse, PendingAuthorization
from django_oauth_flows.protocol.parsing import raise_for_error, read_object, seconds
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.protocol.token_request import pushed_request
from django_oauth_flows.protocol.tokens import is_token
from django_oauth_flows.protocol.transport import send
from django_oauth_flows.protocol.urls import check_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django_oauth_flows.protocol.messages import ClientRegistration, Params
    from django_oauth_flows.protocol.transport import ProtocolResponse

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"

DEFAULT_INTERVAL = 5
"""Seconds between two polls where the server says nothing, and the least that is waited whatever it says. RFC 8628 §3.2."""

LONGEST_INTERVAL = 60
"""The longest wait between two polls that a server may demand from the start; it can still ask to be slower."""

SLOW_DOWN = 5
"""Seconds by which every ``slow_down`` makes the interval longer, for good. RFC 8628 §3.5."""

LONGEST_LIFETIME = 3600
"""Seconds for which a code is waited for at most."""

_URL_LENGTH = 1000
_USER_CODE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,98}[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class DeviceAuthorization:
    """What the server has answered, checked. Times are seconds. RFC 8628 §3.2."""

    device_code: Secret
    user_code: str = field(repr=False)
    verification_uri: str
    verification_uri_complete: str = field(repr=False)  # "" if there is none
    expires_in: int
    interval: int


def authorize_device(
    registration: ClientRegistration, *, scopes: Sequence[tuple[str, str]], resources: Params
) -> DeviceAuthorization:
    """Ask for a code that the user enters elsewhere; ``scopes`` and ``resources`` as parameters. RFC 8628 §3.1.

    Raises :class:`TokenEndpointError` (``device_authorization_failed``) if the server refuses or answers nonsense,
    :class:`ProviderUnreachable` if it does not answer, and what client authentication raises.
    """
    endpoint = endpoint_of(registration, "device_authorization_endpoint")
    request = pushed_request(registration, endpoint, [("client_id", registration.client_id), *scopes, *resources])
    try:
        return _read(send(request, policy=registration.own_transport), internal=registration.transport.internal)
    except (ProviderUnreachable, RequestBlocked):
        raise
    except TokenEndpointError as error:
        raise TokenEndpointError(
            "The service gave out no code to be entered on another device.",
            code="device_authorization_failed",
            hint="Ask the site's staff to check the provider's endpoints and client authentication.",
            error=error.error,
            status=error.status,
            provider_text=error.provider_text,
        ) from None


def approved(registration: ClientRegistration, device_code: Secret, scopes: Sequence[str]) -> AuthorizationResponse:
    """Return what an ID token that comes with a device code's tokens is compared with: no redirect, and so no nonce."""
    return AuthorizationResponse(PendingAuthorization(registration, "", tuple(scopes), by_device=True), device_code)


def _read(response: ProtocolResponse, *, internal: bool) -> DeviceAuthorization:
    raise_for_error(response)
    members = read_object(response)
    device_code, user_code, lifetime = members.get("device_code"), members.get("user_code"), members.get("expires_in")
    expires_in = seconds(lifetime)
    is_code = isinstance(device_code, str) and is_token(device_code)
    is_shown = isinstance(user_code, str) and _USER_CODE.fullmatch(user_code)
    if response.status != HTTPStatus.OK or not is_code or not is_shown or not expires_in:
        raise _nonsense(response)
    try:
        page = _page(members, "verification_uri", internal=internal)
        # Google's, from before the RFC had its last name for it.
        page = page or _page(members, "verification_url", internal=internal)
        complete = _page(members, "verification_uri_complete", internal=internal)
    except ValueError:
        raise _nonsense(response) from None
    if not page:
        raise _nonsense(response)
    interval = seconds(members.get("interval")) or DEFAULT_INTERVAL
    return DeviceAuthorization(
        device_code=Secret(str(device_code)),
        user_code=str(user_code),
        verification_uri=page,
        verification_uri_complete=complete,
        expires_in=min(expires_in, LONGEST_LIFETIME),
        interval=max(DEFAULT_INTERVAL, min(interval, LONGEST_INTERVAL)),
    )


def _page(members: Mapping[str, Any], name: str, *, internal: bool) -> str:
    """Return an address that users may be sent to, "" if there is none; raise ``ValueError`` for what is none."""
    url = members.get(name)
    if url is None or url == "":
        return ""
    if not isinstance(url, str) or len(url) > _URL_LENGTH or not url.isascii():
        raise ValueError(name)
    check_endpoint(url, internal=internal)
    return url


def _nonsense(response: ProtocolResponse) -> TokenEndpointError:
    return TokenEndpointError("The service's answer is not what RFC 8628 prescribes.", status=response.status)
