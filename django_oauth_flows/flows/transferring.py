"""Transfer: the only way in which a connection changes hands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import router, transaction
from django.db.models import F, Model

from django_oauth_flows.exceptions import Disconnected
from django_oauth_flows.flows.history import record
from django_oauth_flows.managers import owner_key
from django_oauth_flows.models import Connection, ConnectionEvent, Token

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


def transfer(connection: Connection, *, to: Model, actor: AbstractBaseUser | None = None) -> Connection:
    """Give ``connection`` to another owner; its tokens are sealed anew, since a ciphertext opens for its owner only.

    Raises ``ValueError`` if ``to`` may not own, :class:`Disconnected` if there is nothing to give,
    :class:`DecryptionError` if the tokens do not open, and ``IntegrityError`` if the new owner has the account already.
    A refresh in flight loses: it was made for the old owner.
    """
    owner_model, owner_id = owner_key(to)
    with transaction.atomic(using=router.db_for_write(Connection)):
        token = Token.objects.select_for_update().filter(connection_id=connection.pk).first()
        if token is None:
            raise Disconnected("This account is no longer connected.")
        token.connection = Connection.objects.get(pk=connection.pk)
        opened = {name: token.open(name) for name in Token.sealed_fields()}
        token.connection.owner_model, token.connection.owner_id = owner_model, owner_id
        token.connection.save(update_fields=["owner_model", "owner_id", "updated_at"])
        sealed = {name: token.seal(name, secret) for name, secret in opened.items()}
        Token.objects.filter(pk=token.pk).update(
            **sealed,
            generation=F("generation") + 1,
            lease_owner=None,
            lease_expires_at=None,
            attempt_id=None,
            attempt_started_at=None,
        )
        record(ConnectionEvent.Kind.TRANSFERRED, token.connection, actor=actor, outcome=owner_model)
    return token.connection
