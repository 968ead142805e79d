"""Leave nothing behind: when a user or another owner is deleted, their connections are ended before the rows vanish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models.signals import pre_delete

from django_oauth_flows.conf import settings
from django_oauth_flows.models import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import Model


def connect_receivers() -> None:
    """Listen to deletions of the models that may own, and of no others: the rest of the site keeps its fast deletes."""
    for model in {get_user_model(), *_other_owners()}:
        pre_delete.connect(
            end_connections_of, sender=model, dispatch_uid=f"oauth_flows.leaving.{model._meta.label_lower}"
        )


def end_connections_of(instance: Model, using: str, **_: Any) -> None:
    """Queue the revocation of all that ``instance`` owns, inside the deletion's transaction, and delete the rows."""
    from django_oauth_flows.flows.revoking import end_for_deletion

    key = {"owner_model": instance._meta.label_lower, "owner_id": str(instance.pk)}
    for connection in Connection.objects.using(using).select_related("provider").filter(**key):
        end_for_deletion(connection)


def _other_owners() -> Iterator[type[Model]]:
    """Yield the models of ``OWNER_MODELS``; the system checks report what is wrong with that setting."""
    try:
        labels = settings.owner_models
    except (AttributeError, TypeError):
        return
    for label in labels:
        try:
            yield apps.get_model(label)
        except (LookupError, ValueError):
            continue
