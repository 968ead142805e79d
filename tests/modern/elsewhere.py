"""What the fake's own threads ask of our database: they leave no connection behind."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from django.db import connections

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

P = ParamSpec("P")
T = TypeVar("T")


def leaving_nothing(act: Callable[P, T]) -> Callable[P, T]:
    """Return ``act`` for another thread."""

    @wraps(act)
    def acting(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return act(*args, **kwargs)
        finally:
            connections.close_all()

    return acting


def keys_from(client: Client) -> Callable[[], list[dict[str, str]]]:
    """Return how the service reads our keys anew each time."""
    return leaving_nothing(lambda: client.get("/oauth/jwks/fake/").json()["keys"])
