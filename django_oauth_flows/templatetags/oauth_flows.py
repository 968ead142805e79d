"""``{% load oauth_flows %}{% connect_button "github" scopes="repo" next=request.path %}``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template
from django.utils.html import format_html

from django_oauth_flows.managers import allows
from django_oauth_flows.models import Connection, Provider

if TYPE_CHECKING:
    from django.template import Context
    from django.utils.safestring import SafeString

register = template.Library()


@register.inclusion_tag("oauth_flows/connect_button.html", takes_context=True)
def connect_button(
    context: Context,
    provider_slug: str,
    *,
    scopes: str = "",
    next: str = "",  # noqa: A002 - the word that Django's own pages use
    label: str = "",
) -> dict[str, Any]:
    """Render a form that connects an account at the provider, or the account that is connected already.

    ``scopes``: blank-separated; ``next``: the path to come back to; ``label``: the button's text. Renders nothing for
    anonymous users and for a provider that they may not connect.
    """
    # Django loads every library of tags with the first template of a site, whether it uses them or not.
    from django_oauth_flows.forms import next_usable, open_parameters, scopes_to_ask_for

    request = context.get("request")
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {"provider": None}
    provider = Provider.objects.enabled().filter(slug=provider_slug, paused=False).first()
    if provider is None or not allows(user, "use", provider):
        return {"provider": None}
    wanted = [*scopes.split(), *provider.required_scopes]
    present = list(Connection.objects.for_owner(user).active(provider_slug).with_ended().order_by("-authorized_at"))
    return {
        "provider": provider,
        "connection": next_usable(present, wanted),
        "scopes": " ".join(scopes_to_ask_for(provider, wanted, present[0] if present else None)),
        "next": next,
        "label": label,
        "needs_parameters": bool(open_parameters(provider)),
        "request": request,
        "csrf_token": context.get("csrf_token"),
    }


@register.filter
def isolated(name: object) -> SafeString:
    """Render a name that somebody else chose, so that its writing direction stays its own and turns nothing around it."""
    return format_html("<bdi>{}</bdi>", name)
