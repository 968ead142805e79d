"""Health: one word for how a connection stands, the same on the pages and in the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import ObjectDoesNotExist

from django_oauth_flows.models import Connection

if TYPE_CHECKING:
    from datetime import datetime


def health_of(connection: Connection) -> str:
    """Return one word for how a connection stands; ``connection.now`` is the database's present time.

    ``paused`` by its owner or by staff; ``broken`` until the user reconnects; ``ended``: expired for good; ``failing``: the service has
    not renewed it lately, and is asked again; ``outgrown``: works, and lacks what the site has come to require;
    ``limited``: works with fewer permissions than were asked for; ``working``.
    """
    try:
        token = connection.token
    except ObjectDoesNotExist:
        token = None
    if connection.paused or connection.provider.paused:
        return "paused"
    if connection.status == Connection.Status.REAUTHORIZATION_REQUIRED or token is None:
        return "broken"
    now: datetime = connection.now  # type: ignore[attr-defined]
    if token.expires_at is not None and token.expires_at <= now and token.refresh_token is None:
        return "ended"
    if token.failure_count:
        return "failing"
    if connection.missing_required_scopes:
        return "outgrown"
    return "limited" if connection.missing_scopes else "working"
