"""One token still to be revoked at its provider, and how that ended."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_oauth_flows.fields import EncryptedField, ExactTextField, Sealed
from django_oauth_flows.models.connection import Connection
from django_oauth_flows.models.provider import Provider


class Revocation(Sealed):
    """Outlives its connection; the ciphertext is blanked as soon as the outcome is final."""

    class Outcome(models.TextChoices):
        PENDING = "pending", _("still to be done")
        REVOKED = "revoked", _("revoked at the service")
        UNSUPPORTED = "unsupported", _("the service offers no revocation")
        FAILED = "failed", _("the service did not revoke it")
        NOT_REVOKED_SHARED = "not_revoked_shared", _("kept, because another connection shares the grant")

    class Reason(models.TextChoices):
        DISCONNECTED = "disconnected", _("disconnected")
        SUPERSEDED = "superseded", _("replaced by a new grant")
        DISCARDED = "discarded", _("a grant that was not kept")
        DELETED = "deleted", _("its owner was deleted")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    provider = models.ForeignKey(
        Provider, on_delete=models.PROTECT, related_name="revocations", verbose_name=_("provider")
    )
    connection = models.ForeignKey(
        Connection,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="revocations",
        verbose_name=_("connection"),
    )
    owner_model = models.CharField(_("owner model"), max_length=100, blank=True)
    owner_id = ExactTextField(_("owner id"), max_length=150, blank=True)
    subject = ExactTextField(_("account id"), max_length=255, null=True, blank=True)
    parameters = models.JSONField(_("parameters"), default=dict, blank=True)
    client_id = models.CharField(_("client id"), max_length=500, blank=True)
    configuration_fingerprint = models.CharField(max_length=64, blank=True)
    access_token = EncryptedField(context="revocation.access_token")
    token_secret = EncryptedField(context="revocation.token_secret")
    refresh_token = EncryptedField(context="revocation.refresh_token")
    dpop_key = EncryptedField(context="revocation.dpop_key")
    reason = models.CharField(_("reason"), max_length=20, choices=Reason.choices)
    outcome = models.CharField(_("outcome"), max_length=20, choices=Outcome.choices, default=Outcome.PENDING)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True, blank=True)
    lease_owner = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    last_failure = models.CharField(_("last failure"), max_length=40, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)

    class Meta:
        verbose_name = _("revocation")
        verbose_name_plural = _("revocations")
        ordering = ("created_at",)
        indexes = (models.Index(fields=("outcome", "next_attempt_at"), name="oauth_flows_revocation_due"),)
        constraints = (
            models.CheckConstraint(
                condition=models.Q(outcome="pending", finished_at=None)
                | (
                    ~models.Q(outcome="pending")
                    & models.Q(
                        finished_at__isnull=False,
                        access_token__isnull=True,
                        token_secret__isnull=True,
                        refresh_token__isnull=True,
                        dpop_key__isnull=True,
                    )
                ),
                name="oauth_flows_revocation_done",
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_reason_display()}: {self.get_outcome_display()}"

    def sealing_parts(self) -> tuple[str, str, str, str]:
        """Bind the waiting tokens to this row, the former owner and the provider."""
        return str(self.pk), self.owner_model, self.owner_id, str(self.provider_id)
