"""The verbs for coroutines, by Django's convention with an ``a`` in front; the event loop goes on meanwhile."""

from __future__ import annotations

from datetime import timedelta
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from django_oauth_flows.flows.aside import aside
from django_oauth_flows.flows.calling import access_token, alone, at_once
from django_oauth_flows.flows.completing import complete_authorization
from django_oauth_flows.flows.importing import import_connection
from django_oauth_flows.flows.refreshing import refresh
from django_oauth_flows.flows.revoking import revoke
from django_oauth_flows.flows.starting import start_authorization
from django_oauth_flows.flows.transferring import transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from django_oauth_flows.models import Connection

P = ParamSpec("P")
T = TypeVar("T")


async def aaccess_token(connection: Connection, *, min_validity: timedelta = timedelta(0)) -> str:
    """Return a token valid for at least ``min_validity``: :func:`access_token` for coroutines, which raises the same.

    A token that is not due costs one query in Django's thread; only what may ask the provider is done in another. Whoever
    is cancelled meanwhile loses nothing: the refresh ends on its own, and its answer is stored.
    """
    found = await sync_to_async(at_once)(connection.pk, min_validity=min_validity)
    if found is not None:
        return alone(found[1])
    return await aside(partial(access_token, connection, min_validity=min_validity))


def _twin(verb: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return ``verb`` for coroutines: the same parameters, result and errors."""

    @wraps(verb)
    async def twin(*args: P.args, **kwargs: P.kwargs) -> T:
        return await aside(partial(verb, *args, **kwargs))

    twin.__name__ = twin.__qualname__ = f"a{verb.__name__}"
    twin.__doc__ = f":func:`{verb.__name__}` for coroutines; one that is cancelled loses nothing.\n\n    {verb.__doc__}"
    return twin


astart_authorization = _twin(start_authorization)
acomplete_authorization = _twin(complete_authorization)
arefresh = _twin(refresh)
arevoke = _twin(revoke)
aimport_connection = _twin(import_connection)
atransfer = _twin(transfer)
