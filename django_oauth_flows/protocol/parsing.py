"""Read what protocol endpoints answer. Tolerant where servers differ, deaf to anything that is not OAuth."""

from __future__ import annotations

import json
import logging
import math
import re
import unicodedata
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from django_oauth_flows.exceptions import ProviderUnreachable, TokenEndpointError
from django_oauth_flows.protocol.messages import TokenResponse
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.protocol.token_members import error_at, lifetime, read_members
from django_oauth_flows.protocol.tokens import is_token

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.protocol.dialect import Dialect
    from django_oauth_flows.protocol.quirks import Quirk
    from django_oauth_flows.protocol.transport import ProtocolResponse

logger = logging.getLogger("oauth_flows")

MAX_LIFETIME = 10 * 365 * 24 * 3600
MAX_RETRY_AFTER = 3600
TRANSIENT_ERRORS = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
KNOWN_ERRORS = frozenset(
    {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
     "invalid_token", "unsupported_token_type", "access_denied", "invalid_dpop_proof", "use_dpop_nonce"}
)  # fmt: skip

ALSO_CALLED = {
    "incorrect_client_credentials": "invalid_client", "bad_client_secret": "invalid_client",
    "invalid_client_secret": "invalid_client", "invalid_client_id": "invalid_client",
    "bad_redirect_uri": "redirect_uri_mismatch", "invalid_redirect_uri": "redirect_uri_mismatch",
}  # fmt: skip
"""Names that large services have of their own for what the RFC names; theirs, the RFC's or the usual one."""

_SPOKEN_OF = (
    ("redirect_uri", re.compile(r"redirect|callback")),
    ("client", re.compile(r"client[ _]secret|client[ _]credentials|(?:invalid|unauthorized)_client|consumer")),
    ("scope", re.compile(r"scope")),
)
_NOWHERE = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE)

_ERROR = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")


def parse_token_response(
    response: ProtocolResponse,
    *,
    dialect: Dialect,
    quirk: Quirk | None = None,
    now: datetime | None = None,
    dpop_key: Secret | None = None,
) -> TokenResponse:
    """Return the tokens of a successful answer; ``now`` counts where it names a moment of expiry. RFC 6749 §5.1.

    ``dpop_key``: what they were asked to be bound to. Raises :class:`ProviderUnreachable` for an answer that says "not
    now", else :class:`TokenEndpointError`: the provider's error code, ``bad_response`` for what is no token response,
    ``bad_token`` for a value that cannot be one, ``token_type_downgrade`` for tokens that are not bound.
    """
    form = dialect.token_response_format == "form"
    raise_for_error(response, form=form, dialect=dialect)
    answer = read_object(response, form=form)
    if quirk and quirk.token_response:
        answer = quirk.token_response(answer)
    members, others = read_members(answer, dialect)
    access_token = members["access_token"]
    if not isinstance(access_token, str) or not is_token(access_token):
        raise TokenEndpointError(
            "The service's answer contains no usable access token.", code="bad_token", status=response.status
        )
    refresh_token, id_token = members["refresh_token"], members["id_token"]
    if dialect.refreshes_with_access_token:
        refresh_token = access_token
    return TokenResponse(
        access_token=Secret(access_token),
        token_type=_token_type(members["token_type"], dialect, bound=dpop_key is not None),
        expires_in=seconds(lifetime(members["expires_in"], dialect, now=now)),
        refresh_token=Secret(refresh_token) if isinstance(refresh_token, str) and is_token(refresh_token) else None,
        # One that has issued a refresh token, and gives it no time, means that it says nothing of its time.
        refresh_token_expires_in=seconds(lifetime(members["refresh_token_expires_in"], dialect, now=now)) or None,
        scopes=_granted(members, dialect),
        id_token=Secret(id_token) if isinstance(id_token, str) and id_token else None,
        dpop_key=dpop_key,
        extra=others,
    )


def raise_for_error(response: ProtocolResponse, *, form: bool = False, dialect: Dialect | None = None) -> None:
    """Raise if the answer is an error, however it says so. RFC 6749 §5.2; some servers use status 200."""
    status = response.status
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        code = "rate_limited" if status == HTTPStatus.TOO_MANY_REQUESTS else "provider_unreachable"
        raise _not_now(response, code=code)
    error, text = _error_of(response, form=form, dialect=dialect)
    if error in TRANSIENT_ERRORS:
        raise _not_now(response, error=error)
    if error or status >= HTTPStatus.BAD_REQUEST:
        if not error and status == HTTPStatus.UNAUTHORIZED:
            error = "invalid_client"
        error = ALSO_CALLED.get(error, error)
        code = error if error in KNOWN_ERRORS else "provider_error" if error else "bad_response"
        refusal = TokenEndpointError(
            "The service refused the request.", code=code, error=error, status=status, provider_text=text
        )
        refusal.suspect = suspected(response.body[:1000].decode("utf-8", "replace"), status)
        raise refusal


def suspected(text: str, status: int = HTTPStatus.BAD_REQUEST) -> str:
    """Return what a refusal in a service's own words is about, for ``OAuthFlowsError.suspect``; "" if nothing tells."""
    if status in _NOWHERE:
        return "address"
    said = text.lower()
    return "" if said.lstrip().startswith("<") else next((what for what, word in _SPOKEN_OF if word.search(said)), "")


def read_object(response: ProtocolResponse, *, form: bool = False) -> dict[str, Any]:
    """Return the JSON object in the body (whatever its content type), or, if ``form``, also form-encoded members.

    Raises :class:`TokenEndpointError` (``bad_response``) for anything else, and for a member that occurs twice.
    """
    members = _json_object(response.body)
    if members is None and form:
        members = _form_object(response.body)
    if members is None:
        raise TokenEndpointError("The service's answer is not what OAuth prescribes.", status=response.status)
    return members


def read_json(response: ProtocolResponse) -> Any:
    """Return the JSON object or list in the body; raise :class:`TokenEndpointError` (``bad_response``) for anything else."""
    value = _json(response.body)
    if not isinstance(value, (dict, list)):
        raise TokenEndpointError("The service's answer is not what OAuth prescribes.", status=response.status)
    return value


def seconds(value: Any) -> int | None:
    """Return a lifetime as whole seconds, at least 0 and at most ten years; None for what is no number."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = float(value) if len(value) <= 40 else None  # noqa: PLR2004 - far beyond any lifetime
        except ValueError:
            value = None
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or (isinstance(value, float) and math.isnan(value))
    ):
        logger.warning("oauth_flows.lifetime_not_understood")
        return None
    if isinstance(value, float) and math.isinf(value):
        logger.warning("oauth_flows.lifetime_not_understood")
        return None
    return int(max(0, min(value, MAX_LIFETIME)))


def scopes(value: Any) -> tuple[str, ...] | None:
    """Return the granted scopes: None if the answer names none, ``()`` if it grants none. Blanks and commas separate."""
    if isinstance(value, list):
        parts = [part for part in value if isinstance(part, str)]
    elif isinstance(value, str):
        parts = re.split(r"[\s,]+", value)
    else:
        return None
    printable = (part for part in parts if part and part.isprintable() and " " not in part)
    return tuple(dict.fromkeys(printable))


def parse_retry_after(value: str, *, now: datetime | None = None) -> int | None:
    """Return seconds to wait, at most an hour, from either form of ``Retry-After``; None if it says nothing useful."""
    value = value.strip()[:100]
    if value.isascii() and value.isdigit():
        return min(int(value), MAX_RETRY_AFTER)
    wait = seconds_until(value, now=now)
    return None if wait is None else int(min(max(0, wait), MAX_RETRY_AFTER))


def seconds_until(value: str, *, now: datetime | None = None) -> float | None:
    """Return how far ahead of us the date of a header is, RFC 9110 §5.6.7; None if it is none."""
    try:
        moment = parsedate_to_datetime(value.strip()[:100])
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - (now or datetime.now(UTC))).total_seconds()
    except (ValueError, IndexError, TypeError, OverflowError):  # what dates no calendar knows raise
        return None


def excerpt(text: str, *, length: int = 200) -> str:
    """Return at most ``length`` characters that are safe to show as plain text: nothing invisible, nothing that reorders."""
    visible = (c if unicodedata.category(c)[0] not in "CZ" else " " for c in text[: 10 * length])
    return " ".join("".join(visible).split())[:length].strip()


def _not_now(response: ProtocolResponse, *, code: str = "", error: str = "") -> ProviderUnreachable:
    wait = parse_retry_after(response.headers.get("retry-after", ""))
    message = "The service cannot answer just now."
    return ProviderUnreachable(message, code=code, error=error, status=response.status, retry_after=wait)


def _error_of(response: ProtocolResponse, *, form: bool, dialect: Dialect | None) -> tuple[str, str]:
    """Return the error code and an excerpt of its description, "" if there is none."""
    members: Mapping[str, Any] = _json_object(response.body, strict=False) or {}
    if not members and (form or response.status >= HTTPStatus.BAD_REQUEST or b"error=" in response.body[:2000]):
        members = _form_object(response.body) or {}
    named = error_at(members, dialect) if dialect is not None else None
    error, description = named if named is not None else _usual_error(members)
    if error is None or error == "":
        return "", ""
    code = error if isinstance(error, str) and _ERROR.fullmatch(error) else "unknown"
    return code, excerpt(description) if isinstance(description, str) else ""


def _usual_error(members: Mapping[str, Any]) -> tuple[Any, Any]:
    error = members.get("error")
    if isinstance(error, dict):
        error = error.get("code") or error.get("type") or error.get("message") or "unknown"
        error = str(error) if isinstance(error, int) and not isinstance(error, bool) else error
    if error is None and members.get("ok") is False:
        error = "unknown"
    return "unknown" if error == "" else error, members.get("error_description")


def _json_object(body: bytes, *, strict: bool = True) -> dict[str, Any] | None:
    value = _json(body, strict=strict)
    return value if isinstance(value, dict) else None


def _json(body: bytes, *, strict: bool = True) -> Any:
    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if strict and len(found) != len(items):
            raise ValueError("a member occurs twice")
        return found

    try:
        return json.loads(body.decode(json.detect_encoding(body)), object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return None


def _form_object(body: bytes) -> dict[str, Any] | None:
    try:
        items = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=100)
    except ValueError:
        return None
    members = dict(items)
    return members if len(members) == len(items) else None


def _granted(members: Mapping[str, Any], dialect: Dialect) -> tuple[str, ...] | None:
    """Return the granted scopes, those of a second scope parameter marked with its name."""
    granted, second = scopes(members["scope"]), scopes(members["second_scope"])
    if second is None or not dialect.second_scope_parameter:
        return granted
    return (*(granted or ()), *(f"{dialect.second_scope_parameter}:{scope}" for scope in second))


def _token_type(value: Any, dialect: Dialect, *, bound: bool) -> str:
    if bound:
        if isinstance(value, str) and value.lower() == "dpop":
            return "DPoP"
        raise TokenEndpointError(
            "The service issued a token that anybody could use, where one was asked for that is bound to a key.",
            code="token_type_downgrade",
            hint="If the service has no such tokens, switch DPoP off in the provider's configuration.",
        )
    if value is None or value == "":
        return "Bearer"  # required by the RFC, left out by many servers
    if isinstance(value, str) and (value.lower() == "bearer" or value in dialect.token_type_aliases):
        return "Bearer"
    raise TokenEndpointError(
        "The service issued a token of a type that is not supported.", code="token_type_unsupported"
    )
