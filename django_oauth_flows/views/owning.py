"""Whose connections a page is about: the user's own, or those of another owner whom the site's policy lets them see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import urlencode

from django.http import Http404
from django.urls import reverse

from django_oauth_flows.conf import settings
from django_oauth_flows.managers import allows, find_owner, owner_key

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest


class Owned(Protocol):
    """What says whose it is: a connection, or the attempt at one."""

    @property
    def owner_model(self) -> str:
        """Return the owner's label."""

    @property
    def owner_id(self) -> str:
        """Return the owner's primary key as text."""


def named_owner(request: HttpRequest, name: str) -> Model | None:
    """Return the owner called ``app.model:pk`` in a form or address, None for "": the user.

    One that is unknown, may not own, or that the user may not see is the same 404.
    """
    if not name:
        return None
    owner = find_owner(name)
    if owner is None or not allows(request.user, "view", owner):
        raise Http404("There is no such owner.")
    return owner


def owner_name(owner: Model | None) -> str:
    """Return what :func:`named_owner` reads."""
    return ":".join(owner_key(owner)) if owner is not None else ""


def owner_of(request: HttpRequest, thing: Owned) -> str:
    """Return what :func:`named_owner` reads for the owner of ``thing``: "" for the user, and where nobody else may own."""
    return owner_for(cast("Model", request.user), thing)


def owner_for(user: Model, thing: Owned) -> str:
    """Return what :func:`owner_of` returns when ``user`` asks."""
    if (thing.owner_model, thing.owner_id) == owner_key(user):
        return ""
    if thing.owner_model not in {model.lower() for model in settings.owner_models}:
        return ""
    return f"{thing.owner_model}:{thing.owner_id}"


def connections_url(request: HttpRequest, thing: Owned | None = None) -> str:
    """Return the page on which ``thing`` stands, or would stand."""
    return page_of(owner_of(request, thing) if thing is not None else "")


def page_of(owner: str) -> str:
    """Return the page of that owner's connections, of the user's own for ""."""
    address = reverse("oauth_flows:connections")
    return f"{address}?{urlencode({'owner': owner})}" if owner else address
