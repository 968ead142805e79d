"""Token exchange: an access token is swapped for one with another audience, another resource, or fewer scopes. RFC 8693."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django_oauth_flows.exceptions import TokenEndpointError

if TYPE_CHECKING:
    from django_oauth_flows.protocol.messages import ClientRegistration, TokenResponse
    from django_oauth_flows.protocol.secret import Secret

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"


@dataclass(frozen=True, slots=True)
class ExchangeRequest:
    """What the new token is to be for. RFC 8693 §2.1."""

    audience: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()  # absolute URIs
    scopes: tuple[str, ...] = ()

    def parameters(self, registration: ClientRegistration, subject_token: Secret) -> list[tuple[str, str]]:
        """Return the parameters of the request, beside the client's authentication."""
        scope = registration.scope_separator.join(self.scopes)
        return [
            ("grant_type", GRANT_TYPE),
            ("subject_token", subject_token.reveal()),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", ACCESS_TOKEN),
            *(("audience", name) for name in self.audience),
            *(("resource", uri) for uri in self.resource),
            *([("scope", scope)] if scope else []),
        ]


@dataclass(frozen=True, slots=True)
class ExchangedToken:
    """The new token: it is kept nowhere. ``expires_in``: seconds, None if the server did not say. RFC 8693 §2.2.1."""

    access_token: Secret
    expires_in: int | None = None
    scopes: tuple[str, ...] = field(default=())


def exchanged(tokens: TokenResponse, asked: ExchangeRequest) -> ExchangedToken:
    """Return the token of an answer; raise :class:`TokenEndpointError` (``bad_response``) for one of another kind than asked for."""
    # An access token may be said to be what it is made of: it is a Bearer token all the same.
    if tokens.extra.get("issued_token_type") not in (ACCESS_TOKEN, JWT):
        raise TokenEndpointError("The service's answer does not say that it holds an access token.")
    return ExchangedToken(
        tokens.access_token, tokens.expires_in, asked.scopes if tokens.scopes is None else tokens.scopes
    )
