"""Read the callback: every check that needs no storage. RFC 6749 §4.1.2, RFC 9207 §2.4, RFC 5849 §2.2."""

from __future__ import annotations

import hmac
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from django_oauth_flows.exceptions import AuthorizationError
from django_oauth_flows.protocol.jws import TokenRefused, unverified_claims
from django_oauth_flows.protocol.messages import AuthorizationResponse
from django_oauth_flows.protocol.parsing import excerpt, suspected
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.protocol.messages import Params, PendingAuthorization

ONCE_ONLY = frozenset(
    {
        "state",
        "code",
        "error",
        "error_description",
        "error_uri",
        "iss",
        "oauth_token",
        "oauth_verifier",
        "oauth_problem",
        "denied",
    }
)
CANCELLED = frozenset(
    {"access_denied", "user_denied", "consent_required", "user_cancelled_login", "user_cancelled_authorize",
     "permission_denied", "user_refused"}
)  # fmt: skip
"""What providers call a user's own no."""

FRONT_CHANNEL_TOKENS = ("access_token", "id_token", "refresh_token", "token_type", "response")

_NEVER_KEPT = ONCE_ONLY.union(FRONT_CHANNEL_TOKENS)
"""What the answer is made of is used up with it, whatever the configuration lists."""

_CODE = re.compile(r"[\x21-\x7e]{1,8192}")


def read_state(params: Params) -> Secret:
    """Return the state; raise :class:`AuthorizationError` (``state_missing``, ``duplicate_parameter``).

    A signed answer (JARM) has it inside. It only finds the authorization: that the answer belongs to it is checked later.
    """
    states = [value for name, value in params if name == "state"] or _states_inside(params)
    if len(states) > 1:
        raise _duplicate()
    if not states or not states[0]:
        raise AuthorizationError("The service's answer does not say what it answers.", code="state_missing")
    return Secret(states[0])


def _states_inside(params: Params) -> list[str]:
    found = []
    for name, token in params:
        if name == "response":
            with suppress(TokenRefused):
                found.append(unverified_claims(token).get("state"))
    return [state for state in found if isinstance(state, str)]


def validate_authorization_response(pending: PendingAuthorization, params: Params) -> AuthorizationResponse:
    """Check everything in the callback but the state, and return what may be exchanged.

    Raises :class:`AuthorizationError`: ``duplicate_parameter``, ``issuer_missing``, ``issuer_mismatch``,
    ``access_denied``, ``provider_error``, ``unexpected_response``, ``invalid_code``, ``token_mismatch``,
    ``verifier_missing``.
    """
    values = _unique(params, ONCE_ONLY.union({pending.registration.dialect.callback_code_parameter}))
    _check_issuer(pending, values)
    _check_error(pending, values)
    code = _verifier(pending, values) if pending.registration.protocol == "oauth1" else _code(pending, values)
    dialect = pending.registration.dialect
    used_up = _NEVER_KEPT.union({dialect.callback_code_parameter})
    kept = [name for name in dialect.kept_callback_parameters if name not in used_up]
    return AuthorizationResponse(pending, Secret(code), {name: values[name] for name in kept if name in values})


def _unique(params: Params, once_only: frozenset[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in params:
        if name in values and name in once_only:
            raise _duplicate()
        values[name] = value
    return values


def _duplicate() -> AuthorizationError:
    return AuthorizationError("The service's answer contains a parameter twice.", code="duplicate_parameter")


def _check_issuer(pending: PendingAuthorization, values: Mapping[str, str]) -> None:
    """Compare ``iss`` as an exact string, so that one server's answer is never taken for another's."""
    server = pending.registration.server
    if "iss" not in values:
        if server.authorization_response_iss_parameter_supported:
            raise AuthorizationError(
                "The answer does not name its issuer, which this service always does.", code="issuer_missing"
            )
        return
    if not hmac.compare_digest(values["iss"].encode("utf-8", "surrogatepass"), server.known_issuer.encode()):
        raise AuthorizationError(
            "The answer names another issuer than the one configured.",
            code="issuer_mismatch",
            hint="Start again. If it persists, let the site's staff check the provider's issuer.",
        )


def _check_error(pending: PendingAuthorization, values: Mapping[str, str]) -> None:
    error = values.get("error")
    if pending.registration.protocol == "oauth1":
        # No RFC says how a refusal looks; these are the two ways in use.
        error = "access_denied" if "denied" in values else values.get("oauth_problem", error)
    if error is None:
        return
    if error in CANCELLED:
        raise AuthorizationError(
            "You cancelled, or did not give consent.", code="access_denied", hint="Connect again if that was a mistake."
        )
    text = excerpt(f"{error} {values.get('error_description', '')}")
    refusal = AuthorizationError("The service refused the authorization.", code="provider_error", provider_text=text)
    refusal.suspect = suspected(text)
    raise refusal


def _code(pending: PendingAuthorization, values: Mapping[str, str]) -> str:
    if any(name in values for name in FRONT_CHANNEL_TOKENS):
        raise AuthorizationError("The service sent a token where only a code may be.", code="unexpected_response")
    code = values.get(pending.registration.dialect.callback_code_parameter, "")
    if not _CODE.fullmatch(code):
        raise AuthorizationError("The service's authorization code is missing or malformed.", code="invalid_code")
    return code


def _verifier(pending: PendingAuthorization, values: Mapping[str, str]) -> str:
    temporary = pending.temporary_credentials
    if "code" in values or any(name in values for name in FRONT_CHANNEL_TOKENS):
        raise AuthorizationError("The answer belongs to another protocol.", code="unexpected_response")
    if temporary is None or Secret(values.get("oauth_token", "")) != temporary.token:
        raise AuthorizationError("The answer belongs to another authorization.", code="token_mismatch")
    verifier = values.get("oauth_verifier", "")
    if not verifier:
        raise AuthorizationError("The service's answer contains no verifier.", code="verifier_missing")
    if not _CODE.fullmatch(verifier):
        raise AuthorizationError("The service's verifier is malformed.", code="invalid_code")
    return verifier
