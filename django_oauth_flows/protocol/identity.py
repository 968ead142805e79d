"""Who the account is: a stable id and a name, read from one document by paths."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django_oauth_flows.exceptions import TokenEndpointError
from django_oauth_flows.protocol.json_paths import follow
from django_oauth_flows.protocol.messages import Identity
from django_oauth_flows.protocol.parsing import excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django_oauth_flows.protocol.messages import IdentityClaims

MAX_SUBJECT_LENGTH = 255
_PATH = re.compile(r"\{([^{}]+)\}")


def find_identity(
    claims: IdentityClaims,
    extra: Mapping[str, Any],
    ask_userinfo: Callable[[], Any],
    id_token: Mapping[str, Any],
    *,
    kept: Mapping[str, str],
) -> Identity:
    """Return the account of a grant from where this provider tells it; ``extra`` is the token response's rest.

    ``id_token``: the claims of the verified ID token, if there is one. ``kept``: what the provider has said besides, as
    variables. Raises :class:`TokenEndpointError` (``identity_unavailable``) if it does not tell.
    """
    if claims.source == "none":
        return Identity()
    if claims.source == "token_response":
        return read_identity(claims, extra, kept=kept)
    return read_identity(claims, id_token if claims.source == "id_token" else ask_userinfo(), kept=kept)


def read_identity(claims: IdentityClaims, members: Any, *, kept: Mapping[str, str] | None = None) -> Identity:
    """Return the account that ``members`` describes; raise :class:`TokenEndpointError` (``identity_unavailable``) if none.

    An id is a non-empty string of at most 255 characters or a positive whole number, and nothing else: a missing one
    must never become the text "None" that two accounts share.
    """
    if claims.subject_template:
        subject = _composed(claims.subject_template, members, kept or {})
    else:
        subject = _part(follow(members, claims.subject_path))
    if not subject.startswith(claims.subject_prefix):
        raise identity_unavailable("The service does not say which account this is.")
    label = follow(members, claims.label_path) if claims.label_path else ""
    return Identity(
        subject=_part(subject.removeprefix(claims.subject_prefix)),
        label=excerpt(label) if isinstance(label, str) else "",
    )


def _part(value: Any) -> str:
    """Return an id as text: a number digit by digit, never by way of a float."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**MAX_SUBJECT_LENGTH:
        value = str(value)
    if not isinstance(value, str) or not value or len(value) > MAX_SUBJECT_LENGTH or not value.isprintable():
        raise identity_unavailable("The service does not say which account this is.")
    return value


def _composed(template: str, members: Any, kept: Mapping[str, str]) -> str:
    """Return the id made of several. No two accounts make the same: a part does not contain what stands behind it."""
    text, end = "", 0
    pieces = list(_PATH.finditer(template))
    for number, piece in enumerate(pieces):
        name = piece[1]
        part = _part(kept.get(name) if name.startswith("kept.") else follow(members, name))
        behind = template[piece.end() : pieces[number + 1].start() if number + 1 < len(pieces) else None]
        if behind and behind in part:
            raise identity_unavailable("The service does not say which account this is.")
        text += template[end : piece.start()] + part
        end = piece.end()
    return text + template[end:]


def identity_unavailable(message: str, *, status: int | None = None) -> TokenEndpointError:
    """Return the error for an account that cannot be told."""
    return TokenEndpointError(message, code="identity_unavailable", status=status)
