"""Find the members of a token response where a server puts them. RFC 6749 §5.1 says where they should be."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django_oauth_flows.protocol.json_paths import first_of, follow, without_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.protocol.dialect import Dialect

HEAD = ("access_token", "token_type", "expires_in", "refresh_token", "refresh_token_expires_in", "scope", "id_token")
_SECRETS = ("access_token", "refresh_token", "id_token")


def read_members(answer: Mapping[str, Any], dialect: Dialect) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the members of :data:`HEAD` (and ``second_scope``), and all the others without any secret among them."""
    inner: Any = follow(answer, dialect.token_response_envelope) if dialect.token_response_envelope else answer
    if not isinstance(inner, dict):
        inner = {}
    paths = dict(dialect.token_response_paths)
    found = {name: first_of(inner, paths.get(name, (name,))) for name in HEAD}
    found["second_scope"] = first_of(inner, paths.get("second_scope", ()))
    used = [path for name in _SECRETS for path in paths.get(name, ())]
    outer = {} if inner is answer else without_secrets(answer, [dialect.token_response_envelope])
    rest = {**outer, **without_secrets(inner, used)}
    return found, {name: value for name, value in rest.items() if name not in HEAD}


def lifetime(value: Any, dialect: Dialect, *, now: datetime | None = None) -> Any:
    """Return what an expiry says, as a number of seconds from ``now``; as it is where it is none, None for "never"."""
    if dialect.zero_expiry_is_never and value in (0, "0", 0.0):
        return None
    if value is None or dialect.expiry_format == "seconds":
        return value
    moment = now or datetime.now(UTC)
    if dialect.expiry_format == "date":
        return _until(value, moment)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return value
    if dialect.expiry_format.endswith("milliseconds"):
        number /= 1000
    return number if dialect.expiry_format == "milliseconds" else number - moment.timestamp()


def error_at(answer: Mapping[str, Any], dialect: Dialect) -> tuple[str, str] | None:
    """Return the error code and description where the dialect says they stand; ("", "") for success, None if it does not."""
    paths = dict(dialect.token_response_paths)
    error = first_of(answer, paths.get("error", ()))
    if error is None or isinstance(error, (dict, list)):
        return None
    code = str(error).lower() if isinstance(error, bool) else str(error)
    if code in dialect.token_success_codes:
        return "", ""
    text = first_of(answer, paths.get("error_description", ("error_description",)))
    return code, text if isinstance(text, str) else ""


def _until(value: Any, now: datetime) -> Any:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return value
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
