"""What the site's webhook is still to be told, and how that ended."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _


class WebhookDelivery(models.Model):
    """One message: written with the state change it tells of, sent later, the same bytes at every try. Ids and codes only."""

    class Outcome(models.TextChoices):
        PENDING = "pending", _("still to be sent")
        DELIVERED = "delivered", _("delivered")
        FAILED = "failed", _("given up")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)  # the receiver knows a repetition by it
    type = models.CharField(_("what"), max_length=60)
    body = models.TextField(_("message"))
    outcome = models.CharField(_("outcome"), max_length=20, choices=Outcome.choices, default=Outcome.PENDING)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, blank=True)
    lease_owner = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    last_failure = models.CharField(_("last failure"), max_length=40, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True, db_index=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        ordering = ("-created_at",)
        indexes = (models.Index(fields=("outcome", "next_attempt_at"), name="oauth_flows_delivery_due"),)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(outcome="pending", finished_at=None)
                | (~models.Q(outcome="pending") & models.Q(finished_at__isnull=False)),
                name="oauth_flows_delivery_done",
            ),
        )

    def __str__(self) -> str:
        return f"{self.type}: {self.get_outcome_display()}"
