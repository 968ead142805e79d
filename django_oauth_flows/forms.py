"""What a connect form carries: which permissions to ask for, and which values the provider's addresses need."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from django_oauth_flows.models.provider_rules import open_parameters
from django_oauth_flows.protocol.placeholders import VALUE, is_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django_oauth_flows.models import Connection, Provider

PARAMETER = "parameter-"
"""Prefix of the form fields that fill a provider's placeholders."""


class ParameterField(NamedTuple):
    """A form field that fills a placeholder, with what was entered; ``refused`` if that is no part of an address."""

    placeholder: str
    value: str
    pattern: str = VALUE
    help: str = ""

    @property
    def name(self) -> str:
        """Return the field's name."""
        return PARAMETER + self.placeholder

    @property
    def refused(self) -> bool:
        """Return whether something was entered that the addresses cannot take."""
        return bool(self.value) and not self.accepted

    @property
    def accepted(self) -> bool:
        """Return whether the addresses can take what was entered."""
        return is_value(self.value) and re.fullmatch(self.pattern, self.value) is not None


def scopes_to_ask_for(provider: Provider, wanted: Iterable[str], present: Connection | None) -> tuple[str, ...]:
    """Return ``wanted`` beside the provider's own scopes and those of ``present``, which the new grant will replace.

    Empty if nothing is wanted beyond what the provider asks for anyway.
    """
    wanted = tuple(wanted)
    if not wanted:
        return ()
    kept = (
        [scope for scope in present.requested_scopes if scope in provider.known_scopes] if present is not None else []
    )
    return tuple(dict.fromkeys([*provider.scopes, *kept, *wanted]))


def next_usable(connections: Iterable[Connection], scopes: Iterable[str]) -> Connection | None:
    """Return the first connection, read ``with_ended()``, that can serve a token and whose grant includes ``scopes``."""
    wanted = tuple(scopes)
    return next((c for c in connections if not c.has_ended and not c.lacks(wanted)), None)  # type: ignore[attr-defined]


def parameter_fields(provider: Provider, entered: Mapping[str, str]) -> tuple[ParameterField, ...]:
    """Return the fields for ``open_parameters``, with what was ``entered`` into them."""
    patterns, helps = _said_of_placeholders(provider)
    return tuple(
        ParameterField(
            name,
            entered.get(PARAMETER + name, "").strip(),
            pattern=f"(?=(?:{VALUE})$)(?:{patterns[name]})" if name in patterns else VALUE,
            help=helps.get(name, ""),
        )
        for name in open_parameters(provider)
    )


def _said_of_placeholders(provider: Provider) -> tuple[dict[str, str], dict[str, str]]:
    """Return the patterns and explanations by placeholder; none for a dialect that is said to be wrong where it is used."""
    from django_oauth_flows.protocol.dialect import Dialect  # not needed to load the app

    with suppress(ValueError, TypeError):
        dialect = Dialect.from_json(provider.dialect)
        return dict(dialect.placeholder_patterns), dict(dialect.placeholder_help)
    return {}, {}


def read_parameters(provider: Provider, form: Mapping[str, str]) -> dict[str, str] | None:
    """Return the values of ``open_parameters`` in ``form``; None if one is missing or no part of an address."""
    fields = parameter_fields(provider, form)
    if not all(field.accepted for field in fields):
        return None
    return {field.placeholder: field.value for field in fields}
