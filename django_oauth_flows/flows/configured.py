"""A provider as it was read once: what its connections' parameters make of it is reckoned once for all who share them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_oauth_flows.protocol.kept import as_variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_oauth_flows.models import Provider
    from django_oauth_flows.protocol.messages import ClientRegistration


class Configured:
    """The provider's row of one reading, for at most a batch of connections: the next reading sees what staff changed."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._registrations: dict[tuple[frozenset[Any], frozenset[Any]], ClientRegistration] = {}
        self._fingerprints: dict[frozenset[Any], str] = {}

    def registration(self, parameters: Mapping[str, str], kept: Mapping[str, Any]) -> ClientRegistration:
        """Return what :meth:`Provider.registration` returns; raise what it raises."""
        key = (frozenset(parameters.items()), frozenset(as_variables(kept).items()))
        if key not in self._registrations:
            self._registrations[key] = self._provider.registration(parameters, kept=kept)
        return self._registrations[key]

    def fingerprint(self, parameters: Mapping[str, str]) -> str:
        """Return what :meth:`Provider.fingerprint` returns; raise what it raises."""
        key = frozenset(parameters.items())
        if key not in self._fingerprints:
            self._fingerprints[key] = self._provider.fingerprint(parameters)
        return self._fingerprints[key]
