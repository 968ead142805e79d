"""A provider's row from a catalogue entry: copied once, compared later, never changed behind anybody's back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django_oauth_flows import catalogue
from django_oauth_flows.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.catalogue import Preset
    from django_oauth_flows.models.provider import Provider

CHOSEN_BY_THE_SITE = frozenset({"name", "scopes"})
"""Columns that an entry proposes and the site decides: no difference to tell of."""


@dataclass(frozen=True, slots=True)
class Change:
    """One column in which a row and its catalogue entry differ; values as the row stores them."""

    column: str
    present: Any
    proposed: Any


def known_preset(slug: str) -> Preset:
    """Return the catalogue's entry of that slug or alias; raise :class:`ConfigurationError` (``preset_unknown``)."""
    try:
        return catalogue.find(slug)
    except LookupError:
        near = ", ".join(preset.slug for preset in catalogue.search(slug, limit=5))
        raise ConfigurationError(
            f"The catalogue has no entry {slug!r}.",
            code="preset_unknown",
            hint=f"Did you mean: {near}?" if near else "Look it up: manage.py add_provider --search WORD",
        ) from None


def check_parameters(preset: Preset, parameters: Mapping[str, str]) -> None:
    """Raise :class:`ConfigurationError` (``preset_parameters``) for a value that the service cannot have, or an unknown name."""
    known = preset.placeholders()
    for name, value in parameters.items():
        if name not in known:
            usable = ", ".join(known) or "none"
            raise _parameters_refused(f"{preset.slug} has no parameter {name!r}.", hint=f"Its parameters: {usable}.")
        if not preset.parameter(name).accepts(value):
            raise _parameters_refused(
                f"{preset.slug} has no {name} {value!r}.", hint=f"It takes {describe(preset, name)}."
            )


def describe(preset: Preset, name: str) -> str:
    """Say in a line what a parameter is: its values, or what it means and looks like."""
    return preset.parameter(name).meaning or "a value for its addresses"


def row_from_preset(
    model: type[Provider], preset: Preset, *, client_id: str, slug: str, parameters: Mapping[str, str]
) -> Provider:
    """Return a row with what the entry says, not saved and not yet validated."""
    check_parameters(preset, parameters)
    row = model(
        slug=slug or preset.slug,
        preset=preset.slug,
        preset_version=preset.version,
        client_id=client_id,
        parameters=dict(parameters),
    )
    for column, value in preset.columns().items():
        setattr(row, column, value)
    return row


def changes(provider: Provider) -> list[Change]:
    """Return where ``provider`` and its entry as it is today differ; [] for a row that was not made from one.

    Raise :class:`ConfigurationError` (``preset_unknown``) if the entry has left the catalogue.
    """
    if not provider.preset:
        return []
    proposed = known_preset(provider.preset).columns()
    return [
        Change(column, getattr(provider, column), value)
        for column, value in sorted(proposed.items())
        if column not in CHOSEN_BY_THE_SITE and getattr(provider, column) != value
    ]


def _parameters_refused(message: str, *, hint: str) -> ConfigurationError:
    return ConfigurationError(message, code="preset_parameters", hint=hint)
