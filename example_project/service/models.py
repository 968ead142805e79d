"""What the service keeps: members, their notes and photos, and the credentials of its OAuth 1.0a server.

The OAuth 2 server's tables are django-oauth-toolkit's.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone
from oauthlib.common import generate_token

MAX_NOTE_LENGTH = 2000
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Member(AbstractUser):
    """A user of the service; ``account_id`` is what other applications may know them by."""

    account_id = models.CharField(max_length=40, unique=True, editable=False)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Give a new member an account id that never changes, whatever they rename themselves to."""
        self.account_id = self.account_id or f"acct-{uuid.uuid4().hex[:12]}"
        super().save(*args, **kwargs)


class Note(models.Model):
    """A few words of a member."""

    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="notes")
    text = models.TextField(max_length=MAX_NOTE_LENGTH)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.text[:60]


class Photo(models.Model):
    """An image of a member; the bytes are a file."""

    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="photos")
    name = models.CharField(max_length=100)
    content_type = models.CharField(max_length=100)
    file = models.FileField(upload_to="%Y")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.name


class Consumer(models.Model):
    """An application registered for OAuth 1.0a (RFC 5849 calls it the client).

    The secret is kept readable because HMAC signatures are verified with it (RFC 5849 §4.5).
    """

    name = models.CharField(max_length=100)
    key = models.CharField(max_length=30, unique=True, default=generate_token)
    secret = models.CharField(max_length=60, default=generate_token)
    rsa_public_key = models.TextField(blank=True, help_text="PEM; needed for the RSA signature methods.")
    callbacks = models.TextField(help_text="Allowed callback URLs, one a line; a query may be added to them.")

    def __str__(self) -> str:
        return self.name

    def allows_callback(self, url: str) -> bool:
        """Tell whether ``url`` is a registered callback, whatever its query; on loopback, whatever its port."""
        return _without_query(url) in {_without_query(line) for line in self.callbacks.split()}


class TemporaryCredential(models.Model):
    """RFC 5849 §2.1: a request token, waiting for a member's consent and then for its one exchange."""

    consumer = models.ForeignKey(Consumer, on_delete=models.CASCADE)
    member = models.ForeignKey(Member, on_delete=models.CASCADE, null=True)
    token = models.CharField(max_length=30, unique=True)
    secret = models.CharField(max_length=60)
    callback = models.CharField(max_length=2000)
    verifier = models.CharField(max_length=30, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"Temporary credentials of {self.consumer}"

    @property
    def is_live(self) -> bool:
        """Return whether the credentials are young enough to be used."""
        return timezone.now() - self.created_at < timedelta(seconds=settings.OAUTH1_TEMPORARY_LIFETIME)


class TokenCredential(models.Model):
    """RFC 5849 §2.3: permanent access of one consumer to one member's things, until it is revoked by deletion."""

    consumer = models.ForeignKey(Consumer, on_delete=models.CASCADE, related_name="tokens")
    member = models.ForeignKey(Member, on_delete=models.CASCADE, related_name="oauth1_tokens")
    token = models.CharField(max_length=30, unique=True, default=generate_token)
    secret = models.CharField(max_length=60, default=generate_token)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.consumer} for {self.member}"


class UsedNonce(models.Model):
    """RFC 5849 §3.3: a nonce is good for one request; the unique constraint decides between two at once."""

    client_key = models.CharField(max_length=100)
    token = models.CharField(max_length=100, blank=True)
    timestamp = models.BigIntegerField(db_index=True)
    nonce = models.CharField(max_length=255)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["client_key", "token", "timestamp", "nonce"], name="service_nonce_once"),
        ]

    def __str__(self) -> str:
        return f"{self.timestamp} {self.nonce}"


def _without_query(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    # RFC 8252 §7.3: an application on this machine does not know beforehand which port it will get.
    return parts.scheme, host if host in LOOPBACK else parts.netloc, parts.path
