"""Speak as the client that the provider knows: while a secret is being changed, that may be the one from before.

Never for an authorization code: it is presented once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from django_oauth_flows.exceptions import TokenEndpointError
from django_oauth_flows.flows.history import logger
from django_oauth_flows.flows.policy import Verdict, judge

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
    may_repeat: Callable[[], bool] = lambda: True,
) -> Answer:
    """Send with the client's secret; if the client is refused, with the one from before its change, while that lives.

    Raises what ``send`` raises, last.
    """
    try:
        return send(registration)
    except TokenEndpointError as error:
        is_refused = judge(error, registration.dialect) is Verdict.CLIENT
        if not is_refused or registration.second_client_secret is None or not may_repeat():
            raise
    logger.warning("oauth_flows.second_secret_used", extra={"provider": str(provider.pk)})
    return send(replace(registration, client_secret=registration.second_client_secret))
