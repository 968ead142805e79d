"""The secrets of a connection, and the columns of the machinery that keeps them fresh."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_oauth_flows.fields import EncryptedField, Sealed
from django_oauth_flows.models.connection import Connection
from django_oauth_flows.models.provider import Provider

AT_REST: dict[str, Any] = {
    "lease_owner": None,
    "lease_expires_at": None,
    "attempt_id": None,
    "attempt_started_at": None,
    "attempt_count": 0,
    "not_before": None,
    "failure_count": 0,
    "last_failure": "",
    "last_failure_at": None,
}
"""The refresh machinery's columns when nothing is going on and nothing went wrong."""


class Token(Sealed):
    """Written only by compare-and-swap on ``generation``, never by ``save()`` in a caller's transaction."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    connection = models.OneToOneField(Connection, on_delete=models.CASCADE, related_name="token")
    # The connection's, which never changes: what is due at one provider is found by an index, and by nothing else.
    provider = models.ForeignKey(
        Provider, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False, editable=False
    )
    access_token = EncryptedField(_("access token"), context="token.access_token")
    token_secret = EncryptedField(_("token secret"), context="token.token_secret")  # OAuth 1.0a
    refresh_token = EncryptedField(_("refresh token"), context="token.refresh_token")
    dpop_key = EncryptedField(_("DPoP key"), context="token.dpop_key")
    token_type = models.CharField(_("token type"), max_length=30, default="Bearer")
    extra = models.JSONField(_("kept fields"), default=dict, blank=True)  # allow-listed members of the token response
    client_id = models.CharField(_("client id"), max_length=500, blank=True)  # the client that minted the grant
    configuration_fingerprint = models.CharField(max_length=64, blank=True)
    issued_at = models.DateTimeField(_("issued at"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    refresh_token_expires_at = models.DateTimeField(_("refresh token expires at"), null=True, blank=True)
    last_refreshed_at = models.DateTimeField(_("last refreshed at"), null=True, blank=True)

    generation = models.PositiveBigIntegerField(default=1)
    lease_owner = models.UUIDField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    attempt_id = models.UUIDField(null=True, blank=True)  # journal: set before the POST, cleared with its outcome
    attempt_started_at = models.DateTimeField(null=True, blank=True)
    attempt_count = models.PositiveIntegerField(
        default=0
    )  # how often this refresh token was presented without an answer
    next_refresh_at = models.DateTimeField(null=True, blank=True)
    not_before = models.DateTimeField(null=True, blank=True)  # no further attempt until then
    failure_count = models.PositiveIntegerField(default=0)
    last_failure = models.CharField(max_length=40, blank=True)
    last_failure_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("token")
        verbose_name_plural = _("tokens")
        indexes = (
            # With the expiry: of what nothing renews (no next refresh), what is soon over is found by the same index.
            models.Index(fields=("provider", "next_refresh_at", "expires_at"), name="oauth_flows_token_due"),
            models.Index(fields=("refresh_token_expires_at",), name="oauth_flows_token_end"),
        )
        constraints = (
            models.CheckConstraint(
                condition=models.Q(token_secret__isnull=True) | models.Q(refresh_token__isnull=True), name="oauth_flows_token_protocol",
            ),
            models.CheckConstraint(
                condition=models.Q(lease_owner=None, lease_expires_at=None) | models.Q(lease_owner__isnull=False, lease_expires_at__isnull=False),
                name="oauth_flows_token_lease",
            ),
            models.CheckConstraint(
                condition=models.Q(attempt_id=None, attempt_started_at=None) | models.Q(attempt_id__isnull=False, attempt_started_at__isnull=False),
                name="oauth_flows_token_attempt",
            ),
        )  # fmt: skip

    def __str__(self) -> str:
        return f"Token of connection {self.connection_id}"

    def sealing_parts(self) -> tuple[str, str, str, str]:
        """Bind the tokens to this row, the connection's owner and the provider."""
        connection = self.connection
        return str(self.pk), connection.owner_model, connection.owner_id, str(connection.provider_id)
