"""Transfer: the only way in which a connection changes hands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import router, transaction
from django.db.models import F, Model

from django_oauth_flows.exceptions import Disconnected, TokenUnavailable
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.history import record
from django_oauth_flows.flows.locking import hold, locked
from django_oauth_flows.managers import owner_key
from django_oauth_flows.models import Connection, ConnectionEvent, Token

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


def transfer(connection: Connection, *, to: Model, actor: AbstractBaseUser | None = None) -> Connection:
    """Give ``connection`` to another owner; its tokens are sealed anew, since a ciphertext opens for its owner only.

    Raises ``ValueError`` if ``to`` may not own, :class:`Disconnected` if there is nothing to give,
    :class:`TokenUnavailable` (``refresh_in_progress``) while a refresh is on its way, whose answer would be lost,
    :class:`DecryptionError` if the tokens do not open, and ``IntegrityError`` if the new owner has the account already.
    """
    owner_model, owner_id = owner_key(to)
    alias = router.db_for_write(Connection)
    with transaction.atomic(using=alias):
        present = next(iter(hold(Connection.objects.using(alias).filter(pk=connection.pk))), None)
        token = _free_token(connection, alias=alias)
        if present is None or token is None:
            raise Disconnected("This account is no longer connected.")
        token.connection = present
        opened = {name: token.open(name) for name in Token.sealed_fields()}
        present.owner_model, present.owner_id = owner_model, owner_id
        present.save(update_fields=["owner_model", "owner_id", "updated_at"])
        sealed = {name: token.seal(name, secret) for name, secret in opened.items()}
        Token.objects.filter(pk=token.pk).update(
            **sealed,
            generation=F("generation") + 1,
            lease_owner=None,
            lease_expires_at=None,
            attempt_id=None,
            attempt_started_at=None,
        )
        record(ConnectionEvent.Kind.TRANSFERRED, present, actor=actor, outcome=owner_model[:60])
    return present


def _free_token(connection: Connection, *, alias: str) -> Token | None:
    """Return the token, held until the commit; refuse while a refresh has its lease: it may rotate what we would move."""
    rows = Token.objects.using(alias).filter(connection_id=connection.pk)
    token: Any = locked(rows.annotate(now=DatabaseNow())).first()
    if token is not None and token.lease_expires_at is not None and token.lease_expires_at > token.now:
        raise TokenUnavailable(
            "This connection is being refreshed just now.",
            code="refresh_in_progress",
            hint="Transfer it again in a few seconds.",
        )
    return token  # type: ignore[no-any-return]
