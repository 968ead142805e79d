"""Where to start an authorization, for the first time or once more."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.urls import reverse

from django_oauth_flows.forms import PARAMETER
from django_oauth_flows.views.owning import connections_url, owner_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

    from django_oauth_flows.exceptions import Attempt


def confirmation_url(slug: str, values: Mapping[str, str]) -> str:
    """Return the confirm page for what a connect form says."""
    names = ["scopes", "next", "owner", *(name for name in values if name.startswith(PARAMETER))]
    query = [(name, values[name]) for name in names if values.get(name)]
    return reverse("oauth_flows:confirm_connect", args=[slug]) + (f"?{urlencode(query)}" if query else "")


def restart_url(request: HttpRequest, attempt: Attempt) -> str:
    """Return where to start the same once more: the page of its button for a reconnect, else the confirm page."""
    if attempt.is_reconnect:
        return connections_url(request, attempt)
    values = {
        "scopes": " ".join(attempt.scopes),
        "next": attempt.next_url,
        "owner": owner_of(request, attempt),
        **{PARAMETER + name: value for name, value in attempt.parameters.items()},
    }
    return confirmation_url(attempt.provider_slug, values)
