"""Who the account is: a stable id and a name, read from one JSON object by dotted paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_oauth_flows.exceptions import TokenEndpointError
from django_oauth_flows.protocol.messages import Identity
from django_oauth_flows.protocol.parsing import excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django_oauth_flows.protocol.messages import IdentityClaims

MAX_SUBJECT_LENGTH = 255


def find_identity(
    claims: IdentityClaims,
    extra: Mapping[str, Any],
    ask_userinfo: Callable[[], Mapping[str, Any]],
    id_token: Mapping[str, Any],
) -> Identity:
    """Return the account of a grant from where this provider tells it; ``extra`` is the token response's rest.

    ``id_token``: the claims of the verified ID token, if there is one.

    Raises :class:`TokenEndpointError` (``identity_unavailable``) if it does not tell.
    """
    if claims.source == "none":
        return Identity()
    if claims.source == "token_response":
        return read_identity(claims, extra)
    return read_identity(claims, id_token if claims.source == "id_token" else ask_userinfo())


def read_identity(claims: IdentityClaims, members: Mapping[str, Any]) -> Identity:
    """Return the account that ``members`` describes; raise :class:`TokenEndpointError` (``identity_unavailable``) if none.

    An id is a non-empty string of at most 255 characters or a positive whole number, and nothing else: a missing one
    must never become the text "None" that two accounts share.
    """
    value = _follow(members, claims.subject_path)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        value = str(value)
    if not isinstance(value, str) or not value or len(value) > MAX_SUBJECT_LENGTH or not value.isprintable():
        raise identity_unavailable("The service does not say which account this is.")
    label = _follow(members, claims.label_path) if claims.label_path else ""
    return Identity(subject=value, label=excerpt(label) if isinstance(label, str) else "")


def identity_unavailable(message: str, *, status: int | None = None) -> TokenEndpointError:
    """Return the error for an account that cannot be told."""
    return TokenEndpointError(message, code="identity_unavailable", status=status)


def _follow(members: Any, path: str) -> Any:
    for step in path.split("."):
        if isinstance(members, dict):
            members = members.get(step)
        elif isinstance(members, list) and step.isdecimal() and int(step) < len(members):
            members = members[int(step)]
        else:
            return None
    return members
