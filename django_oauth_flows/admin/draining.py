"""Deleting a provider: disable, drain, delete. What is in the way is named, and what goes with it is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.exceptions import PermissionDenied
from django.db import router, transaction
from django.db.models import ProtectedError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_oauth_flows.flows.locking import hold
from django_oauth_flows.models import (
    AuthorizationRequest,
    Connection,
    ConnectionEvent,
    Provider,
    RefreshCount,
    Revocation,
)

if TYPE_CHECKING:
    from django.db.models import Model, QuerySet

PARKED = {"outcome": AuthorizationRequest.Outcome.PARKED}
PENDING = {"outcome": Revocation.Outcome.PENDING}


def live_connections(provider: Provider) -> QuerySet[Connection]:
    """Return the connections that would end with the provider."""
    return Connection.objects.filter(provider=provider).exclude(status=Connection.Status.REVOKED)


def obstacles(provider: Provider) -> list[str]:
    """Return what has to be done before the provider may be deleted."""
    found = [_("it is enabled: disable it first")] if provider.enabled else []
    if count := live_connections(provider).count():
        found.append(ngettext("%(count)d live connection", "%(count)d live connections", count) % {"count": count})
    if count := AuthorizationRequest.objects.filter(provider=provider, **PARKED).count():
        said = ngettext("%(count)d grant waits for its user", "%(count)d grants wait for their users", count)
        found.append(said % {"count": count})
    if count := Revocation.objects.filter(provider=provider, **PENDING).count():
        said = ngettext("%(count)d revocation still to be done", "%(count)d revocations still to be done", count)
        found.append(said % {"count": count})
    return found


def goes_along(providers: list[Provider]) -> dict[str, int]:
    """Count, by name, the rows that are deleted with the providers."""
    models: tuple[type[Model], ...] = (Connection, ConnectionEvent, Revocation, AuthorizationRequest, RefreshCount)
    counted = {m._meta.verbose_name_plural: m._default_manager.filter(provider__in=providers).count() for m in models}
    return {str(name): count for name, count in counted.items() if count}


def delete_drained(provider: Provider) -> None:
    """Delete the provider with its history; raise ``PermissionDenied`` if something is, or comes, in the way."""
    with transaction.atomic(using=router.db_for_write(Provider)):
        hold(Connection.objects.using(router.db_for_write(Connection)).filter(provider=provider))  # before the provider
        fresh = Provider.objects.select_for_update().filter(pk=provider.pk).first()
        if fresh is None or obstacles(fresh):
            raise PermissionDenied
        # Only what is over: a row that arrives meanwhile protects its provider.
        Revocation.objects.filter(provider=fresh).exclude(**PENDING).delete()
        Connection.objects.filter(provider=fresh, status=Connection.Status.REVOKED).delete()
        try:
            fresh.delete()
        except ProtectedError:
            raise PermissionDenied from None
