"""Append-only history of a connection's state changes: what, when, who, outcome; ids, never secrets."""

from __future__ import annotations

from typing import Any

from django.conf import settings as django_settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from django_oauth_flows.models.connection import Connection
from django_oauth_flows.models.provider import Provider


class ConnectionEvent(models.Model):
    """One state change. Successful refreshes are counted elsewhere, not written here."""

    class Kind(models.TextChoices):
        AUTHORIZED = "authorized", _("connected")
        REAUTHORIZED = "reauthorized", _("reconnected")
        IMPORTED = "imported", _("imported")
        SHARED = "shared", _("connected although another owner has the same account")
        NEEDS_REAUTHORIZATION = "needs_reauthorization", _("needs to be reconnected")
        RECOVERED = "recovered", _("recovered")
        REVOKED = "revoked", _("disconnected")
        REVOCATION_FINISHED = "revocation_finished", _("revocation at the service finished")
        TRANSFERRED = "transferred", _("given to another owner")
        PAUSED = "paused", _("paused")
        RESUMED = "resumed", _("resumed")

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="+", verbose_name=_("provider"))
    connection = models.ForeignKey(
        Connection, on_delete=models.SET_NULL, null=True, blank=True, related_name="events", verbose_name=_("connection"),
    )  # fmt: skip
    actor = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("actor"),
    )  # fmt: skip
    kind = models.CharField(_("what"), max_length=30, choices=Kind.choices)
    outcome = models.CharField(
        _("outcome"), max_length=60, blank=True
    )  # a stable code: reason, error or revocation outcome
    correlation_id = models.CharField(_("correlation id"), max_length=32, blank=True)
    created_at = models.DateTimeField(_("when"), auto_now_add=True, db_index=True)

    class Meta:
        verbose_name = _("connection event")
        verbose_name_plural = _("connection events")
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return str(self.get_kind_display())

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add a row; raise ``TypeError`` for one that is there: what has happened stays as it was written down."""
        if not self._state.adding:
            raise TypeError("the history is only added to")
        super().save(*args, **kwargs)
