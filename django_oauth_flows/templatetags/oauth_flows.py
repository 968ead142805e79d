"""``{% load oauth_flows %}{% connect_button "github" scopes="repo" next=request.path %}``."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.timesince import TIME_STRINGS, timeuntil

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
    popup: bool = False,
) -> dict[str, Any]:
    """Render a form that connects an account at the provider, or the account that is connected already.

    ``scopes``: blank-separated; ``next``: the path to come back to; ``label``: the button's text; ``popup``: connect in a
    window of its own where the browser runs scripts, and come back to this page. Renders nothing for anonymous users and for
    a provider that they may not connect.
    """
    # Django loads every library of tags with the first template of a site, whether it uses them or not.
    from django_oauth_flows.forms import next_usable, scopes_to_ask_for
    from django_oauth_flows.models.provider_rules import open_parameters

    request = context.get("request")
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {"provider": None}
    provider = Provider.objects.enabled().filter(slug=provider_slug, paused=False).first()
    if provider is None or not allows(user, "use", provider):
        return {"provider": None}
    wanted = [*scopes.split(), *provider.required_scopes]
    mine = Connection.objects.for_owner(user).filter(provider=provider, status=Connection.Status.ACTIVE).with_ended()
    known = list(mine.order_by("-authorized_at"))
    present = [row for row in known if not row.paused]
    return {
        "provider": provider,
        "connection": next_usable(present, wanted),
        "paused": bool(known) and not present,
        "scopes": " ".join(scopes_to_ask_for(provider, wanted, present[0] if present else None)),
        "next": next,
        "label": label,
        "popup": popup,
        "csp_nonce": context.get("csp_nonce") if popup else None,  # to ask for it is to have it sent
        "needs_parameters": bool(open_parameters(provider)),
        "request": request,
        "csrf_token": context.get("csrf_token"),
    }


@register.inclusion_tag("oauth_flows/connected_accounts.html", takes_context=True)
def connected_accounts(context: Context, provider_slug: str = "") -> dict[str, Any]:
    """Render what the user has connected, at one provider if named, with all buttons: the cards of our own page.

    Renders nothing for anonymous users.
    """
    from django_oauth_flows.views.connections import cards

    request = context.get("request")
    if request is None or not getattr(request.user, "is_authenticated", False):
        return {"connections": []}
    return {
        "connections": cards(request, provider_slug=provider_slug),
        "request": request,
        "csrf_token": context.get("csrf_token"),
    }


@register.filter
def roughly(span: timedelta | None) -> str:
    """Say how long ``span`` is in one unit, in days up to three months."""
    if span is None:
        return ""
    if timedelta(days=1) <= span < timedelta(days=90):
        return str(TIME_STRINGS["day"] % {"num": span.days})
    now = timezone.now()
    return timeuntil(now + max(span, timedelta(minutes=1)), now, depth=1)


@register.filter
def isolated(name: object) -> SafeString:
    """Render a name that somebody else chose, so that its writing direction stays its own and turns nothing around it."""
    return format_html("<bdi>{}</bdi>", name)
