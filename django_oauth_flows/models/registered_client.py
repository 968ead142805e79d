"""What a service has said of a client that we registered there ourselves. RFC 7591 §3.2.1, RFC 7592 §3."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_oauth_flows.fields import EncryptedField, Sealed
from django_oauth_flows.models.provider import Provider


class RegisteredClient(Sealed):
    """What it takes to change or remove the registration there; client id and secret are the provider's own columns.

    Beside ``Provider`` and not in it: every call reads that one.
    """

    provider = models.OneToOneField(
        Provider,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="registered_client",
        verbose_name=_("provider"),
    )
    registration_client_uri = models.CharField(_("client configuration endpoint"), max_length=1000, blank=True)
    registration_access_token = EncryptedField(
        _("registration access token"), context="registered_client.registration_access_token"
    )
    registered_at = models.DateTimeField(_("registered at"))

    class Meta:
        verbose_name = _("registered client")
        verbose_name_plural = _("registered clients")

    def __str__(self) -> str:
        return f"Client registered at {self.provider_id}"

    def sealing_parts(self) -> tuple[str, str, str, str]:
        """Bind the token to its provider."""
        return str(self.provider_id), "", "", str(self.provider_id)
