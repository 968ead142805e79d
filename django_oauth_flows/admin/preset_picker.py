"""The catalogue on the *Add provider* page: a search, and an entry that fills the form in. Plain links; no script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

from django_oauth_flows import catalogue
from django_oauth_flows.exceptions import ConfigurationError
from django_oauth_flows.models.provider_preset import describe, known_preset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest

    from django_oauth_flows.catalogue import Preset
    from django_oauth_flows.models import Provider

QUERY, CHOICE = "preset_search", "preset"
"""Parameters of the page's address: what is looked for, and what was chosen."""

AT_MOST = 30

CONFIDENCE = {"high": _("several sources agree on its addresses"), "medium": _("one source names its addresses")}
STATUS = {
    "live": _("the service is known to live"),
    "unverified": _("whether the service still lives is not known"),
    "legacy": _("the service has a newer way"),
}


def chosen(request: HttpRequest) -> Preset | None:
    """Return the entry that the address names, if there is one of that name."""
    try:
        return known_preset(request.GET.get(CHOICE, "")) if request.GET.get(CHOICE) else None
    except ConfigurationError:
        return None


def context(request: HttpRequest) -> dict[str, Any]:
    """Return what the page shows beside its form."""
    preset, query = chosen(request), request.GET.get(QUERY, "").strip()
    return {
        "preset": preset,
        "preset_unknown": request.GET.get(CHOICE, "") if preset is None else "",
        "preset_facts": list(_facts(preset)) if preset else [],
        "preset_parameters": list(_parameters(preset)) if preset else [],
        "preset_query": query,
        "preset_matches": catalogue.search(query, limit=AT_MOST),
    }


def initial(request: HttpRequest) -> dict[str, Any]:
    """Return what the form is filled in with; staff may change all of it."""
    preset = chosen(request)
    if preset is None:
        return {}
    values = {"slug": preset.slug, **preset.columns()}
    if to_fill := preset.staff_parameters():
        values["parameters"] = dict.fromkeys(to_fill, "")
    return values


def remember(provider: Provider, request: HttpRequest) -> None:
    """Note on a new row which entry it was copied from."""
    if preset := chosen(request):
        provider.preset, provider.preset_version = preset.slug, preset.version


def _facts(preset: Preset) -> Iterator[Any]:
    yield STATUS[preset.status]
    yield CONFIDENCE[preset.confidence]
    yield _("confirmed by the service's own page") if preset.confirmed_by else _("unconfirmed")
    yield _("last compared with its sources: %(day)s") % {"day": preset.checked.isoformat()}
    yield from preset.notes


def _parameters(preset: Preset) -> Iterator[tuple[str, str, bool]]:
    """Yield each placeholder with what it means, and whether staff have to fill it in."""
    for_staff = preset.staff_parameters()
    for name in preset.placeholders():
        yield name, describe(preset, name), name in for_staff
