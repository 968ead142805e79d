"""Speak as the client that the provider knows: while a secret is being changed, that may be the one from before.

Never for an authorization code, which is presented once, nor for what leads to one: users are to consent only to what can
be completed.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from django_oauth_flows.exceptions import ProviderUnreachable, TokenEndpointError
from django_oauth_flows.flows.history import logger
from django_oauth_flows.flows.policy import Verdict, judge
from django_oauth_flows.protocol.token_request import bears_secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_oauth_flows.models import Provider
    from django_oauth_flows.protocol.messages import ClientRegistration

Answer = TypeVar("Answer")


def with_either_secret(
    provider: Provider,
    registration: ClientRegistration,
    send: Callable[[ClientRegistration], Answer],
    *,
    authenticates: bool = True,
) -> Answer:
    """Send with the client's secret; if the client is refused, with the one from before its change, while that lives.

    ``authenticates``: whether a request of this kind proves who the client is. Both tries have the transport's deadline
    together, if each is one request. Raises what ``send`` raises, last; :class:`ProviderUnreachable` if what the
    refusal has left of the time would not have been enough for it.
    """
    began = time.monotonic()
    try:
        return send(registration)
    except TokenEndpointError as error:
        is_refused = judge(error, registration.dialect) is Verdict.CLIENT
        has_another = registration.second_client_secret is not None
        if not is_refused or not has_another or not bears_secret(registration, authenticates=authenticates):
            raise
    took = time.monotonic() - began
    left = registration.transport.deadline - took
    if left < took:
        raise ProviderUnreachable("The service answers too slowly to be asked with the other secret.")
    logger.warning("oauth_flows.second_secret_used", extra={"provider": str(provider.pk)})
    return send(replace(registration, client_secret=registration.second_client_secret).within(left))
