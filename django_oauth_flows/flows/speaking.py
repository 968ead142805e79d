"""What one authorization asks for beside its scopes, told in the dialect of its registration."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django_oauth_flows.exceptions import ScopeNotAllowed
from django_oauth_flows.protocol.details import details_text, of_types, types_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django_oauth_flows.models import Connection
    from django_oauth_flows.protocol.dialect import Dialect
    from django_oauth_flows.protocol.messages import ClientRegistration


def asking(
    registration: ClientRegistration,
    *,
    details: Iterable[Mapping[str, Any]] | None,
    reconnect: Connection | None,
    extends: bool,
) -> ClientRegistration:
    """Return the registration with which to ask: for ``details`` (RFC 9396), and more than is granted if it ``extends`` that.

    Without ``details``, a reconnect asks for those that it has been granted, else the dialect says which. Raises
    :class:`ScopeNotAllowed` (``details_not_allowed``) for a type that the provider's dialect does not list, and for what
    are no authorization details.
    """
    dialect = registration.dialect
    if details is None and not extends and reconnect is None:
        return registration
    text = _granted(dialect, reconnect) if details is None else _checked(dialect, list(details))
    return replace(registration, dialect=dialect.asking(text, extends=extends))


def _granted(dialect: Dialect, reconnect: Connection | None) -> str:
    if reconnect is None or not dialect.detail_types:
        return ""
    granted = of_types(reconnect.authorization_details, dialect.detail_types)
    try:
        return details_text("authorization_details", granted)
    except ValueError:
        return ""  # the server has made more of them than we ever send


def _checked(dialect: Dialect, details: list[Mapping[str, Any]]) -> str:
    try:
        text = details_text("authorization_details", json.loads(json.dumps([dict(detail) for detail in details])))
    except (ValueError, TypeError) as problem:
        raise _refused(str(problem)) from None
    if any(name not in dialect.detail_types for name in types_of(details)):
        raise _refused("a type that the provider does not list was asked for")
    return text


def _refused(problem: str) -> ScopeNotAllowed:
    return ScopeNotAllowed(
        f"These authorization details cannot be asked for: {problem}.",
        code="details_not_allowed",
        hint="List the type in the provider's dialect: authorization_details_types.",
    )
