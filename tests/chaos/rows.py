"""Our tables, emptied without a word to anybody: no signal, no revocation."""

from __future__ import annotations

from django.contrib.auth.models import User

from django_oauth_flows.models import (
    AuthorizationRequest,
    Connection,
    ConnectionEvent,
    Provider,
    RefreshCount,
    Revocation,
    Token,
    WebhookDelivery,
)

MODELS = (
    WebhookDelivery, RefreshCount, ConnectionEvent, Revocation, AuthorizationRequest, Token, Connection, Provider, User,
)  # fmt: skip


def empty(alias: str) -> None:
    """Delete every row of ours, and every user."""
    for model in MODELS:
        model._base_manager.using(alias).all()._raw_delete(alias)
