"""Leave nothing behind: when a user, another owner or a connection is deleted, grants are ended before the rows vanish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import router, transaction
from django.db.models import Q
from django.db.models.signals import pre_delete

from django_oauth_flows.managers import model_label, owner_model_labels
from django_oauth_flows.models import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import Model


def connect_receivers() -> None:
    """Listen to deletions of the models that may own, and of no others: the rest of the site keeps its fast deletes."""
    for model in _owners():
        uid = f"oauth_flows.leaving.{model._meta.label_lower}"
        pre_delete.connect(end_connections_of, sender=model, dispatch_uid=uid)
    pre_delete.connect(end_connection, sender=Connection, dispatch_uid="oauth_flows.leaving.connection")


def end_connections_of(instance: Model, **_: Any) -> None:
    """Queue the revocation of all that ``instance`` owns, inside the deletion's transaction, and delete the rows.

    Where the owner lives in another database than our tables, this part is committed whatever becomes of the deletion.
    """
    from django_oauth_flows.flows.locking import hold_row
    from django_oauth_flows.flows.parking import drop_parked_with
    from django_oauth_flows.flows.sharing import hold_grants

    alias = router.db_for_write(Connection)
    label = model_label(instance)
    key = {"owner_model": label, "owner_id": str(instance.pk)}
    consented = Q(user_id=instance.pk) if label == model_label(get_user_model()) else Q()
    rows = Connection.objects.using(alias).filter(**key)
    with transaction.atomic(using=alias):
        hold_grants(rows)
        hold_row(instance, alias=alias, deleting=True)  # from here on nobody can connect an account for it
        hold_grants(rows)  # and what somebody has connected until then
        drop_parked_with(Q(**key) | consented)
        for connection in rows.select_related("provider"):
            connection.delete()


def end_connection(instance: Connection, **_: Any) -> None:
    """Queue the revocation of a connection whose row is being deleted, and of the grant that waits to replace its own."""
    from django_oauth_flows.flows.parking import drop_parked_with
    from django_oauth_flows.flows.revoking import end_for_deletion

    with transaction.atomic(using=router.db_for_write(Connection)):
        end_for_deletion(instance)
        drop_parked_with(Q(reconnects_id=instance.pk))


def _owners() -> Iterator[type[Model]]:
    """Yield the models that may own, and their proxies: a row deleted through one is announced as the proxy's."""
    labels = owner_model_labels()
    for model in apps.get_models():
        if model_label(model) in labels:
            yield model
