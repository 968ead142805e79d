"""How many refreshes a provider has seen, hour by hour: successes are counted, not written into the history."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_oauth_flows.models.provider import Provider


class RefreshCount(models.Model):
    """The attempts of one hour with one outcome, and how long they took together."""

    provider = models.ForeignKey(
        Provider, on_delete=models.CASCADE, related_name="refresh_counts", verbose_name=_("provider")
    )
    hour = models.DateTimeField(_("hour"), db_index=True)
    outcome = models.CharField(_("outcome"), max_length=40)  # "refreshed", "needs_reauthorization", or an error code
    count = models.PositiveBigIntegerField(_("number"), default=0)
    seconds = models.FloatField(_("seconds"), default=0.0)

    class Meta:
        verbose_name = _("refresh count")
        verbose_name_plural = _("refresh counts")
        ordering = ("-hour", "provider", "outcome")
        constraints = (
            models.UniqueConstraint(fields=("provider", "hour", "outcome"), name="oauth_flows_refresh_count_hour"),
        )

    def __str__(self) -> str:
        return f"{self.provider_id} {self.hour:%Y-%m-%d %H:00} {self.outcome}"
