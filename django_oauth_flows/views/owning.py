"""Whose connections a page is about: the user's own, or those of another owner whom the site's policy lets them see."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast
from urllib.parse import urlencode

from django.apps import apps
from django.core.exceptions import ValidationError
from django.http import Http404
from django.urls import reverse

from django_oauth_flows.conf import settings
from django_oauth_flows.managers import allows, owner_key

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest

    from django_oauth_flows.models import Connection


def named_owner(request: HttpRequest, name: str) -> Model | None:
    """Return the owner called ``app.model:pk`` in a form or address, None for "": the user.

    One that is unknown, may not own, or that the user may not see is the same 404.
    """
    if not name:
        return None
    label, _, pk = name.partition(":")
    owner: Model | None = None
    if label.lower() in {model.lower() for model in settings.owner_models}:
        try:
            owner = apps.get_model(label)._default_manager.filter(pk=pk).first()
        except (ValueError, ValidationError):
            owner = None
    if owner is None or not allows(request.user, "view", owner):
        raise Http404("There is no such owner.")
    return owner


def owner_name(owner: Model | None) -> str:
    """Return what :func:`named_owner` reads."""
    return ":".join(owner_key(owner)) if owner is not None else ""


def connections_url(request: HttpRequest, connection: Connection | None = None) -> str:
    """Return the page on which ``connection`` stands."""
    address = reverse("oauth_flows:connections")
    if connection is None or (connection.owner_model, connection.owner_id) == owner_key(cast("Model", request.user)):
        return address
    if connection.owner_model not in {model.lower() for model in settings.owner_models}:
        return address
    return f"{address}?{urlencode({'owner': f'{connection.owner_model}:{connection.owner_id}'})}"
