"""What the admin shows of a connection and of its token: state, never secrets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import display_for_value
from django.utils.translation import gettext_lazy as _

from django_oauth_flows.admin import wording
from django_oauth_flows.managers import owner_key
from django_oauth_flows.models import Connection

if TYPE_CHECKING:
    from datetime import datetime


class ConnectionColumns:
    """Columns that are not the model's own."""

    @admin.display(description=_("account"))
    def account(self, obj: Connection) -> str:
        """Show whom the account belongs to at the provider."""
        return obj.label or obj.subject or str(obj.pk)

    @admin.display(description=_("owner"))
    def owner(self, obj: Connection) -> str:
        """Show who has the connection here."""
        if obj.user is not None and (obj.owner_model, obj.owner_id) == owner_key(obj.user):
            return str(obj.user)
        return f"{obj.owner_model} {obj.owner_id}".strip() or str(_("the site itself"))

    @admin.display(description=_("state"))
    def state(self, obj: Connection) -> str:
        """Show status and switch in one word."""
        is_paused = obj.paused and obj.status != Connection.Status.REVOKED
        return str(wording.STATES["paused" if is_paused else obj.status])

    @admin.display(description=_("requested scopes"))
    def requested_scopes_text(self, obj: Connection) -> str:
        """Show scopes as text."""
        return ", ".join(obj.requested_scopes) or "-"

    @admin.display(description=_("granted scopes"))
    def granted_scopes_text(self, obj: Connection) -> str:
        """Show scopes as text."""
        return ", ".join(obj.granted_scopes) or "-"

    @admin.display(description=_("missing scopes"))
    def missing_scopes_text(self, obj: Connection) -> str:
        """Show scopes as text."""
        return ", ".join(obj.missing_scopes) or "-"

    @admin.display(description=_("lacks of what is required"))
    def missing_required_scopes_text(self, obj: Connection) -> str:
        """Show scopes as text."""
        return ", ".join(obj.missing_required_scopes) or "-"

    @admin.display(description=_("authorization details"))
    def authorization_details(self, obj: Connection) -> str:
        """Show them as they were granted."""
        return json.dumps(obj.authorization_details, ensure_ascii=False) if obj.authorization_details else "-"

    @admin.display(description=_("access token expires"))
    def expires_at(self, obj: Connection) -> str:
        """Show the token's column."""
        return _moment(_of_token(obj, "expires_at"))

    @admin.display(description=_("issued"))
    def issued_at(self, obj: Connection) -> str:
        """Show the token's column."""
        return _moment(_of_token(obj, "issued_at"))

    @admin.display(description=_("refresh token expires"))
    def refresh_token_expires_at(self, obj: Connection) -> str:
        """Show the token's column."""
        return _moment(_of_token(obj, "refresh_token_expires_at"))

    @admin.display(description=_("last refreshed"))
    def last_refreshed_at(self, obj: Connection) -> str:
        """Show the token's column."""
        return _moment(_of_token(obj, "last_refreshed_at"))

    @admin.display(description=_("next refresh"))
    def next_refresh_at(self, obj: Connection) -> str:
        """Show the token's column."""
        return _moment(_of_token(obj, "next_refresh_at"))

    @admin.display(description=_("renewable without the user"), boolean=True)
    def renewable(self, obj: Connection) -> bool:
        """Show whether there is a refresh token."""
        return _of_token(obj, "refresh_token") is not None

    @admin.display(description=_("failures in a row"))
    def failures(self, obj: Connection) -> str:
        """Show count and last code."""
        count = _of_token(obj, "failure_count") or 0
        return f"{count} ({_of_token(obj, 'last_failure')})" if count else "0"

    @admin.display(description=_("being refreshed until"))
    def lease(self, obj: Connection) -> str:
        """Show the lease."""
        return _moment(_of_token(obj, "lease_expires_at"))


def is_renewable(connection: Connection) -> bool:
    """Tell whether a refresh could give the connection a new token."""
    return connection.status != Connection.Status.REVOKED and (
        connection.is_own or _of_token(connection, "refresh_token") is not None
    )


def _moment(value: datetime | None) -> str:
    """Show a moment as Django's admin shows columns."""
    return str(display_for_value(value, "-"))


def _of_token(connection: Connection, name: str) -> Any:
    token = getattr(connection, "token", None)
    return None if token is None else getattr(token, name)
