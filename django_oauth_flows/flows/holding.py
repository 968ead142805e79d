"""Whose a new grant is, and what it meets: the connection that it replaces, others who have the same account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import router

from django_oauth_flows.exceptions import AuthorizationError
from django_oauth_flows.managers import owner_key
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider
from django_oauth_flows.models.connection import digest_parameters
from django_oauth_flows.statements import Select, Slot

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from django.contrib.auth.base_user import AbstractBaseUser
    from django.db.models import QuerySet

    from django_oauth_flows.protocol.messages import Identity


@dataclass(frozen=True, slots=True)
class Holding:
    """Who holds the grant, and how it came about: everything of a connection but its tokens."""

    provider: Provider
    user: AbstractBaseUser | None
    owner_model: str
    owner_id: str
    grant_type: Connection.GrantType
    identity: Identity
    requested_scopes: tuple[str, ...]
    parameters: Mapping[str, str]
    client_id: str
    configuration_fingerprint: str
    requested_at: datetime  # database time at which the tokens were asked for
    actor: AbstractBaseUser | None = None
    request: AuthorizationRequest | None = None  # the dance that brought the grant; it is closed with the storing

    @property
    def correlation_id(self) -> str:
        """Return what ties the history's events to the dance."""
        return self.request.pk.hex if self.request is not None else ""

    @property
    def language(self) -> str:
        """Return the language in which the user has asked for the grant; "" if no user has."""
        return self.request.language if self.request is not None else ""

    @property
    def is_kept_by_reference(self) -> bool:
        """Tell whether the owner is the user who consented: nobody can delete a user whom a row is about to refer to."""
        return self.user is not None and (self.owner_model, self.owner_id) == owner_key(self.user)

    @property
    def account(self) -> dict[str, Any]:
        """Return the columns by which connections to the same account are found."""
        return {
            "provider_id": self.provider.pk,
            "subject": self.identity.subject,
            "parameters_digest": digest_parameters(self.parameters),
        }

    def connection(self) -> Connection:
        """Return an unsaved connection that says whose grant this is."""
        return Connection(
            provider=self.provider,
            owner_model=self.owner_model,
            owner_id=self.owner_id,
            subject=self.identity.subject,
            parameters=dict(self.parameters),
        )


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The connections a new grant meets: the one it replaces, and whether another owner has the same account."""

    mine: Connection | None
    shared: bool


def holding_of(request: AuthorizationRequest, identity: Identity, *, user: AbstractBaseUser) -> Holding:
    """Describe the grant that ``request`` (read with the database's ``now``) has brought for ``identity``."""
    provider = request.provider
    return Holding(
        provider=provider,
        user=user,
        owner_model=request.owner_model,
        owner_id=request.owner_id,
        grant_type=_grant_type(request),
        identity=identity,
        requested_scopes=request.requested_scopes,
        parameters=request.parameters,
        client_id=provider.client_id,
        configuration_fingerprint=request.configuration_fingerprint,
        requested_at=request.taken_at or request.now,  # type: ignore[attr-defined]
        actor=user,
        request=request,
    )


def _grant_type(request: AuthorizationRequest) -> Connection.GrantType:
    if request.is_for_device:
        return Connection.GrantType.DEVICE_CODE
    oauth1 = request.provider.protocol == Provider.Protocol.OAUTH1
    return Connection.GrantType.TEMPORARY_CREDENTIALS if oauth1 else Connection.GrantType.AUTHORIZATION_CODE


def neighbours(holding: Holding, *, reconnects: Connection | None = None) -> Neighbours:
    """Find them in at most one query.

    Raise :class:`AuthorizationError` (``account_in_use``) if another owner has the account and the provider allows one.
    """
    rows = [] if reconnects is None else [reconnects]
    if holding.identity.subject is not None:
        same = _SAME_ACCOUNT.rows(using=router.db_for_write(Connection), **holding.account)
        rows += [row for row in same if row not in rows]
    owner = (holding.owner_model, holding.owner_id)
    mine = [row for row in rows if (row.owner_model, row.owner_id) == owner]
    by_subject = [row for row in mine if row.subject is not None and row.subject == holding.identity.subject]
    shared = any((row.owner_model, row.owner_id) != owner and row.status != Connection.Status.REVOKED for row in rows)
    if shared and holding.provider.unique_subject:
        raise AuthorizationError(
            "Another user of this site has already connected this account.",
            code="account_in_use",
            hint="Disconnect it there first, or choose another account.",
        )
    return Neighbours(mine=next(iter([*by_subject, *mine]), None), shared=shared)


def _same_account() -> QuerySet[Connection]:
    return Connection.objects.filter(
        provider=Slot("provider_id"), subject=Slot("subject"), parameters_digest=Slot("parameters_digest")
    ).order_by()


_SAME_ACCOUNT = Select(_same_account)
IS_PRESENT = Select(_same_account, columns={"": lambda _: ("id",)}, limit=1)
"""Finds a row if anybody has the account; bound to ``Holding.account``."""
