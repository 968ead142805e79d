"""One grant: whose it is, which account there, what was granted, and how it stands."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.db.models.functions import Left
from django.utils.translation import gettext_lazy as _

from django_oauth_flows.fields import ExactTextField, ScopeField
from django_oauth_flows.managers import OWN_GRANTS, ConnectionManager
from django_oauth_flows.models.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


INDEXED = 255
"""So many letters of the granted scopes stand in an index; all of them may be too long for one."""

SCOPES_START = Left("granted_scopes", INDEXED)


class Connection(models.Model):
    """A grant at a provider. Its secrets live in ``Token``; it stays when they go."""

    class GrantType(models.TextChoices):
        AUTHORIZATION_CODE = "authorization_code", _("authorization code")
        TEMPORARY_CREDENTIALS = "temporary_credentials", _("temporary credentials (OAuth 1.0a)")
        DEVICE_CODE = "device_code", _("code entered on another device")
        CLIENT_CREDENTIALS = "client_credentials", _("client credentials")
        JWT_BEARER = "jwt_bearer", _("signed assertion (service account)")
        IMPORTED = "imported", _("imported")

    class Status(models.TextChoices):
        ACTIVE = "active", _("active")
        REAUTHORIZATION_REQUIRED = "reauthorization_required", _("needs to be reconnected")
        REVOKED = "revoked", _("disconnected")

    class Reason(models.TextChoices):
        """Why a connection needs its user."""

        INVALID_GRANT = "invalid_grant", _("the service no longer accepts the grant")
        OUTCOME_UNKNOWN = "outcome_unknown", _("the service's answer was lost")
        UNDECRYPTABLE = "undecryptable", _("the stored tokens can no longer be read")
        IDENTITY_CHANGED = "identity_changed", _("the service answered for another account")
        EXPIRED = "expired", _("access has expired and cannot be renewed automatically")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    provider = models.ForeignKey(
        Provider, on_delete=models.PROTECT, related_name="connections", verbose_name=_("provider"), db_index=False
    )
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True,
        related_name="oauth_connections", verbose_name=_("user"), help_text=_("Who consented."),
    )  # fmt: skip
    owner_model = models.CharField(_("owner model"), max_length=100, blank=True)
    owner_id = ExactTextField(_("owner id"), max_length=150, blank=True)
    grant_type = models.CharField(_("grant type"), max_length=30, choices=GrantType.choices)
    subject = ExactTextField(_("account id"), max_length=255, null=True, blank=True)
    acts_for = models.CharField(
        _("acts for"), max_length=255, blank=True
    )  # the ``sub`` of a service account's assertions
    label = models.CharField(_("account"), max_length=255, blank=True)
    is_label_own = models.BooleanField(_("named by its owner"), default=False, editable=False)
    requested_scopes = ScopeField(_("requested scopes"))
    granted_scopes = ScopeField(_("granted scopes"))
    parameters = models.JSONField(_("parameters"), default=dict, blank=True)
    parameters_digest = models.CharField(max_length=64, blank=True, editable=False)
    status = models.CharField(_("status"), max_length=30, choices=Status.choices, default=Status.ACTIVE)
    reason = models.CharField(_("reason"), max_length=30, choices=Reason.choices, blank=True)
    paused = models.BooleanField(_("paused"), default=False)
    language = models.CharField(_("language"), max_length=35, blank=True)  # in which it was connected; mails are in it
    authorized_at = models.DateTimeField(_("connected since"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("disconnected at"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True)
    last_purpose = models.CharField(_("last used for"), max_length=100, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    objects = ConnectionManager()

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        ordering = ("provider", "created_at")
        permissions = (
            ("refresh_connection", "Can refresh a connection"),
            ("revoke_connection", "Can revoke a connection"),
            ("import_connection", "Can import a token as a connection"),
        )
        constraints = (
            # Its index finds who has an account, so the account comes first.
            models.UniqueConstraint(
                fields=("provider", "subject", "parameters_digest", "owner_model", "owner_id"), name="oauth_flows_connection_account",
            ),
            models.CheckConstraint(
                condition=models.Q(status="reauthorization_required", reason__gt="") | (~models.Q(status="reauthorization_required") & models.Q(reason="")),
                name="oauth_flows_connection_reason",
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=["active", "reauthorization_required", "revoked"]), name="oauth_flows_connection_status",
            ),
            models.CheckConstraint(
                condition=models.Q(grant_type__in=OWN_GRANTS, owner_model="", owner_id="", user=None)
                | (~models.Q(grant_type__in=OWN_GRANTS) & models.Q(owner_model__gt="", owner_id__gt="")),
                name="oauth_flows_connection_owner",
            ),
        )  # fmt: skip
        indexes = (
            models.Index(fields=("owner_model", "owner_id"), name="oauth_flows_conn_owner"),
            # Staff's list among a million: the newest first, by state, by scopes, by the beginning of the account's name.
            models.Index(fields=("created_at", "id"), name="oauth_flows_conn_newest"),
            models.Index(fields=("provider", "status", "paused"), name="oauth_flows_conn_state"),
            models.Index(models.F("provider"), SCOPES_START, name="oauth_flows_conn_scopes"),
            models.Index(fields=("label",), name="oauth_flows_conn_label", opclasses=("varchar_pattern_ops",)),
        )

    def __str__(self) -> str:
        return f"{self.provider} ({self.label or self.subject or self.pk})"

    @property
    def is_active(self) -> bool:
        """Return whether the connection is meant to serve tokens."""
        return self.status == self.Status.ACTIVE and not self.paused

    @property
    def is_own(self) -> bool:
        """Return whether this is the site's own grant, which is asked for anew without any user."""
        return self.grant_type in OWN_GRANTS

    @property
    def missing_scopes(self) -> tuple[str, ...]:
        """Return the scopes that were requested and not granted."""
        return self.lacks(self.requested_scopes)

    @property
    def missing_required_scopes(self) -> tuple[str, ...]:
        """Return the scopes that the provider requires today and the grant does not include."""
        return self.lacks(self.provider.required_scopes)

    @property
    def authorization_details(self) -> list[dict[str, Any]]:
        """Return what exactly was granted, as the service has said last (RFC 9396 §7); [] if it never has."""
        from django_oauth_flows.protocol.details import PARAMETER, is_details  # not needed to load the models

        try:
            granted = self.token.extra.get(PARAMETER)
        except ObjectDoesNotExist:
            return []
        return granted if is_details(granted) else []

    def lacks(self, scopes: Iterable[str]) -> tuple[str, ...]:
        """Return which of ``scopes`` the grant does not include."""
        return tuple(scope for scope in scopes if scope not in self.granted_scopes)


def digest_parameters(parameters: Mapping[str, str]) -> str:
    """Return the SHA-256 of canonical JSON, "" for no parameters: the form in which they take part in uniqueness."""
    if not parameters:
        return ""
    return hashlib.sha256(json.dumps(parameters, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
