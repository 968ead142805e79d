"""Signed, short-lived links that let one user, and nobody else, confirm a connection in the browser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core import signing

from django_oauth_flows.exceptions import AuthorizationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.base_user import AbstractBaseUser

    from django_oauth_flows.models import Provider

MAX_AGE = 600
"""Seconds a ticket is valid."""

_SALT = "django_oauth_flows.connect_ticket"


@dataclass(frozen=True, slots=True)
class ConnectTicket:
    """What a ticket asks for."""

    provider_slug: str
    scopes: tuple[str, ...] | None  # None: the provider's default
    next_url: str


def connect_ticket(
    user: AbstractBaseUser, provider: Provider, scopes: Iterable[str] | None = None, next_url: str = ""
) -> str:
    """Return a ticket for ``user`` to connect an account at ``provider``. It authenticates nobody."""
    wanted = None if scopes is None else list(scopes)
    return signing.dumps([str(user.pk), provider.slug, wanted, next_url], salt=_SALT, compress=True)


def read_connect_ticket(ticket: str, user: AbstractBaseUser) -> ConnectTicket:
    """Read a ticket that was made for ``user``; raise :class:`AuthorizationError` (``ticket_invalid``, ``user_mismatch``)."""
    try:
        user_pk, slug, scopes, next_url = signing.loads(ticket, salt=_SALT, max_age=MAX_AGE)
    except (signing.BadSignature, ValueError, TypeError):
        raise AuthorizationError(
            "This link is not valid, or no longer.", code="ticket_invalid", hint="Ask for a new link."
        ) from None
    if user_pk != str(user.pk):
        raise AuthorizationError(
            "This link was made for another user.",
            code="user_mismatch",
            hint="Log in as that user, or ask for a link of your own.",
        )
    return ConnectTicket(slug, None if scopes is None else tuple(scopes), next_url)
