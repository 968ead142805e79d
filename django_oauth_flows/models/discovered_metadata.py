"""What a provider's issuer publishes about itself, as it was when somebody last looked."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_oauth_flows.models.provider import Provider


class DiscoveredMetadata(models.Model):
    """The columns that the issuer's metadata would give its provider; the row itself only changes by staff's hand.

    Beside ``Provider`` and not in it: every call reads that one.
    """

    provider = models.OneToOneField(
        Provider, on_delete=models.CASCADE, primary_key=True, related_name="discovered", verbose_name=_("provider")
    )
    columns = models.JSONField(_("published values"), default=dict)
    fetched_at = models.DateTimeField(_("last read at"))
    failure = models.CharField(_("why the last look failed"), max_length=60, blank=True)  # stable error code

    class Meta:
        verbose_name = _("discovered metadata")
        verbose_name_plural = _("discovered metadata")

    def __str__(self) -> str:
        return str(self.provider)

    @property
    def differences(self) -> dict[str, tuple[str, str]]:
        """Return where the issuer says something else than the provider's row: column → (the row's value, the issuer's).

        A name with a dot in it is a member of the dialect.
        """
        pairs = {name: (self._ours(name), str(value)) for name, value in self.columns.items()}
        return {name: (ours, theirs) for name, (ours, theirs) in pairs.items() if ours != theirs}

    def _ours(self, name: str) -> str:
        key, _, member = name.partition(".")
        return str(object_in(self.provider.dialect, key).get(member, "") if member else getattr(self.provider, name))


def object_in(dialect: Any, key: str) -> dict[str, Any]:
    """Return the object under that key; {} if there is none, whatever a JSON column holds for a dialect."""
    found = dialect.get(key) if isinstance(dialect, dict) else None
    return found if isinstance(found, dict) else {}
