"""Every error this package raises.

::

    OAuthFlowsError
    ├── ConfigurationError            the site or a provider row is set up wrongly
    ├── AuthorizationError            this authorization cannot go on; start a new one
    │   └── ScopeNotAllowed           the caller asked for a scope the provider row does not list
    ├── TokenEndpointError            a protocol endpoint refused, or answered nonsense
    │   └── ProviderUnreachable       no usable answer: network, TLS, time, 5xx, 429
    │       └── OutcomeUnknown        the request left, its answer never came
    ├── RequestBlocked                refused before the socket: host, address, scheme, header
    ├── ConnectionUnusable            the connection cannot serve a token now
    │   ├── ReauthorizationRequiredError   the user must connect again
    │   ├── Disconnected              the connection is gone, paused, or its owner may not be served
    │   ├── MissingScopes             the grant is narrower than what the caller needs
    │   └── TokenUnavailable          expired, and it could not be refreshed just now; try again
    ├── CannotPersist                 a new token could not be stored durably, so none was asked for
    └── DecryptionError               a stored secret does not open with any configured key

Callers branch on the class or on ``code``, which is stable; the message and ``hint`` are for people.
No error carries a response body, a token, or a URL's query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Attempt(NamedTuple):
    """What an authorization had been started for: enough to start the same once more."""

    provider_slug: str
    scopes: tuple[str, ...]
    next_url: str
    owner_model: str
    owner_id: str
    parameters: Mapping[str, str]
    is_reconnect: bool


class OAuthFlowsError(Exception):
    """Base of all errors: ``code`` (stable), a plain message, and ``hint``, the next step.

    ``attempt`` is there when an authorization has failed in the hands of the user who started it; ``in_doubt`` says that
    an earlier try of the same request was sent and never answered; ``suspect`` is what staff should look at where the
    code leaves it open: "tls" (a certificate), "clock", "client", "redirect_uri", "scope", "address", or "".
    """

    default_code = "error"
    default_hint = ""
    attempt: Attempt | None = None
    in_doubt = False
    suspect = ""

    def __init__(self, message: str, *, code: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.hint = hint or self.default_hint

    @property
    def message(self) -> str:
        """Return the human-readable cause, without secrets."""
        return str(self.args[0])


class ConfigurationError(OAuthFlowsError):
    """Raise when settings or a provider row must be mended by the site's staff."""

    default_code = "configuration_error"
    default_hint = "Ask the site's administrator to check the provider's configuration."


class AuthorizationError(OAuthFlowsError):
    """Raise when a pending authorization cannot be started or completed.

    ``provider_text``: what the provider said to the user, an excerpt of at most 200 printable characters.
    """

    default_code = "authorization_failed"
    default_hint = "Start again from the connections page."

    def __init__(self, message: str, *, code: str = "", hint: str = "", provider_text: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.provider_text = provider_text


class ScopeNotAllowed(AuthorizationError):
    """Raise when a requested scope is not in the provider's allowed list."""

    default_code = "scope_not_allowed"
    default_hint = "Ask only for scopes that the provider row lists."


class TokenEndpointError(OAuthFlowsError):
    """Raise when a protocol endpoint refuses or answers with something that is not OAuth.

    ``error`` is the provider's own OAuth error code (RFC 6749 §5.2) if it named one, ``status`` the HTTP status or None,
    ``retry_after`` seconds to wait if the provider said so (clamped), ``provider_text`` an excerpt of at most 200
    printable characters of its ``error_description``.
    """

    default_code = "bad_response"
    default_hint = "Try again later; if it persists, ask the site's administrator."

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        hint: str = "",
        error: str = "",
        status: int | None = None,
        retry_after: int | None = None,
        provider_text: str = "",
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.error = error
        self.status = status
        self.retry_after = retry_after
        self.provider_text = provider_text


class ProviderUnreachable(TokenEndpointError):
    """Raise when the provider gave no usable answer and certainly or probably did not act; always transient."""

    default_code = "provider_unreachable"
    default_hint = "The service did not answer. Try again in a few minutes."


class OutcomeUnknown(ProviderUnreachable):
    """Raise when the request was sent in full and the answer was lost: the provider may have acted."""

    default_code = "outcome_unknown"
    default_hint = "Connect again: the service may have granted access, but its answer was lost."


class RequestBlocked(OAuthFlowsError):
    """Raise before any byte is sent: the URL, address, scheme or header is not allowed."""

    default_code = "host_not_allowed"
    default_hint = "Add the host to the provider's API hosts if it may receive this connection's token."


class ConnectionUnusable(OAuthFlowsError):
    """Base of the reasons why a connection cannot serve a token now."""

    default_code = "connection_unusable"
    default_hint = "Open the connections page."


class ReauthorizationRequiredError(ConnectionUnusable):
    """Raise when only the user can mend the connection, by connecting again; ``reason`` says why."""

    default_code = "reauthorization_required"
    default_hint = "Ask the user to reconnect the account."

    def __init__(self, message: str, *, reason: str = "", code: str = "", hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.reason = reason


class Disconnected(ConnectionUnusable):
    """Raise when the connection was disconnected, paused, or its owner may no longer be served."""

    default_code = "disconnected"
    default_hint = "Connect the account again."


class MissingScopes(ConnectionUnusable):
    """Raise when a caller needs scopes that the user did not grant; ``scopes`` names them."""

    default_code = "missing_scopes"
    default_hint = "Reconnect and grant the missing permissions."

    def __init__(self, message: str, *, scopes: tuple[str, ...], code: str = "", hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.scopes = scopes


class TokenUnavailable(ConnectionUnusable):
    """Raise when the access token has expired and a refresh is not possible just now; always transient."""

    default_code = "token_unavailable"
    default_hint = "Try again shortly; nothing is lost."

    def __init__(self, message: str, *, retry_after: int | None = None, code: str = "", hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)
        self.retry_after = retry_after


class CannotPersist(OAuthFlowsError):
    """Raise before the token endpoint is contacted when its answer could not be committed durably."""

    default_code = "cannot_persist"
    default_hint = (
        "Leave the transaction first. On PostgreSQL, MariaDB and MySQL it is enough not to lock the token's row in it; "
        "on SQLite in its default journal mode even a transaction that has only read stands in the way, and with WAL "
        "one that has written."
    )


class DecryptionError(OAuthFlowsError):
    """Raise when a stored secret opens with none of the configured keys, or was moved or altered."""

    default_code = "decrypt_failed"
    default_hint = "Restore the missing key in OAUTH_FLOWS['ENCRYPTION_KEYS'], or ask the user to reconnect."
