"""Ask who the account is: by GET or POST, with parameters, headers or a GraphQL query; read JSON or XML."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests

from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.protocol.bearing import put_constants, set_header, with_parameters
from django_oauth_flows.protocol.identity import identity_unavailable
from django_oauth_flows.protocol.kept import resolve
from django_oauth_flows.protocol.parsing import raise_for_error, read_json
from django_oauth_flows.protocol.token_request import client_variables, free
from django_oauth_flows.protocol.xml_document import read_xml

if TYPE_CHECKING:
    from django_oauth_flows.protocol.messages import ClientRegistration, Credentials
    from django_oauth_flows.protocol.transport import ProtocolResponse

ACCEPTED = {"json": "application/json", "xml": "application/xml"}


def userinfo_request(registration: ClientRegistration, credentials: Credentials) -> requests.PreparedRequest:
    """Return the request, all but its authentication.

    Raises :class:`ConfigurationError` (``endpoint_not_allowed``) for an address that may not be asked, also one that what
    the service has said of the account leads to.
    """
    dialect, transport = registration.dialect, registration.transport
    values = {**client_variables(registration), "access_token": credentials.access_token.reveal()}
    try:
        url = resolve(
            registration.server.userinfo_endpoint,
            values,
            patterns=dialect.api_host_patterns,
            internal=transport.internal,
        )
    except ValueError as problem:
        message = f"{registration.name}: userinfo_endpoint: {problem}"
        raise ConfigurationError(message, code="endpoint_not_allowed") from None
    request = requests.Request(
        dialect.userinfo_method,
        with_parameters(url, free(dialect.userinfo_parameters, values)),
        headers={"Accept": ACCEPTED[dialect.userinfo_format]},
        data=dialect.userinfo_body or None,
    ).prepare()
    if dialect.userinfo_body:
        request.headers["Content-Type"] = "application/json"
    for name, text in free(dialect.userinfo_headers, values):
        request.headers[name] = text
    put_constants(request, registration)
    set_header(request, "User-Agent", "django-oauth-flows")  # some services answer nobody without one
    return request


def read_document(response: ProtocolResponse, registration: ClientRegistration) -> Any:
    """Return the answer as an object or list; raise :class:`TokenEndpointError` (``identity_unavailable``) if it is none."""
    if response.status != HTTPStatus.OK:
        raise identity_unavailable("The service does not tell which account this is.", status=response.status)
    if registration.dialect.userinfo_format == "xml":
        return read_xml(response.body, status=response.status)
    document = read_json(response)
    if isinstance(document, dict) and document.get("ok") is False:
        raise_for_error(response)  # an error with status 200
    return document
