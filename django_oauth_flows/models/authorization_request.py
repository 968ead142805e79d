"""A pending dance: one use, ten minutes, bound to one user and one browser."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings as django_settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from django_oauth_flows.fields import EncryptedField, ExactTextField, ScopeField, Sealed
from django_oauth_flows.managers import DANCE_SECRETS, AuthorizationRequestManager
from django_oauth_flows.models.connection import Connection
from django_oauth_flows.models.provider import Provider


class AuthorizationRequest(Sealed):
    """Holds hashes of what the browser brings back, and sealed what only we may know."""

    class Outcome(models.TextChoices):
        """How a taken request ended; "" while it is being completed."""

        CONNECTED = "connected"
        PARKED = "parked"
        DROPPED = "dropped"
        FAILED = "failed"
        TESTED = "tested"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # No more indexes than are used: each of them is written by every start.
    state_hash = models.CharField(max_length=64)
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="+", db_index=False)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    session_auth_hash = models.CharField(max_length=64)  # SHA-256 of get_session_auth_hash()
    browser_hash = models.CharField(max_length=64)  # SHA-256 of the request's cookie
    owner_model = models.CharField(max_length=100)
    owner_id = ExactTextField(max_length=150)
    reconnects = models.ForeignKey(Connection, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    requested_scopes = ScopeField()
    parameters = models.JSONField(default=dict, blank=True)
    redirect_uri = models.CharField(max_length=2000)
    next_url = models.CharField(max_length=2000, blank=True)
    language = models.CharField(max_length=35, blank=True)  # of the page on which the user began
    code_verifier = EncryptedField(context="authorization_request.code_verifier")
    nonce = EncryptedField(context="authorization_request.nonce")
    temporary_token = EncryptedField(context="authorization_request.temporary_token")
    temporary_token_secret = EncryptedField(context="authorization_request.temporary_token_secret")
    dpop_key = EncryptedField(context="authorization_request.dpop_key")
    kept_answer = EncryptedField(context="authorization_request.kept_answer")  # JSON; came without cookies
    # RFC 8628: the device code, and what its user is shown, as JSON. Whoever reads the user code could enter it for another.
    device_authorization = EncryptedField(context="authorization_request.device_authorization")
    poll_interval = models.PositiveIntegerField(null=True, blank=True)  # seconds between two polls; it only grows
    next_poll_at = models.DateTimeField(null=True, blank=True)  # one poll at a time, and none before
    configuration_fingerprint = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    taken_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=20, choices=Outcome.choices, blank=True)
    failure = models.CharField(max_length=60, blank=True)  # stable error code
    connection = models.ForeignKey(Connection, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    parked_grant = EncryptedField(context="authorization_request.parked_grant")  # JSON; a grant that waits for a yes
    parked_until = models.DateTimeField(null=True, blank=True)
    report = models.JSONField(null=True, blank=True)  # of a test by staff: its steps so far; null for a real dance

    objects: ClassVar[AuthorizationRequestManager] = AuthorizationRequestManager()

    class Meta:
        verbose_name = _("authorization request")
        verbose_name_plural = _("authorization requests")
        indexes = (
            models.Index(fields=("user", "provider", "expires_at"), name="oauth_flows_request_live"),
            models.Index(fields=("expires_at",), name="oauth_flows_request_expiry"),
        )
        constraints = (
            # Not unique=True, which PostgreSQL would be given a second index for: for LIKE, that nobody asks.
            models.UniqueConstraint(fields=("state_hash",), name="oauth_flows_request_state"),
            models.CheckConstraint(
                condition=models.Q(taken_at=None) | models.Q(**{f"{name}__isnull": True for name in DANCE_SECRETS}),
                name="oauth_flows_request_blanked",
            ),
            models.CheckConstraint(
                condition=models.Q(parked_grant__isnull=True) | models.Q(parked_until__isnull=False),
                name="oauth_flows_request_parked",
            ),
        )

    def __str__(self) -> str:
        return f"Authorization request {self.pk}"

    @property
    def is_for_device(self) -> bool:
        """Return whether its code is entered on another device, instead of coming back in a redirect. RFC 8628."""
        return self.poll_interval is not None

    def sealing_parts(self) -> tuple[str, str, str, str]:
        """Bind the dance's secrets to this row, its owner and provider."""
        return str(self.pk), self.owner_model, self.owner_id, str(self.provider_id)
