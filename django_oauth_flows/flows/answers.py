"""Keep an answer that came without the browser's cookies, until the browser brings them: a cross-site POST, a strict session.

Nothing is decided when it arrives. Whose browser it was shows when that browser comes back, from a page of our own, with
the handle that only it was given; the binding is checked then, as for any other answer.
"""

from __future__ import annotations

import hmac
import json
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django_oauth_flows.exceptions import AuthorizationError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.managers import hash_secret
from django_oauth_flows.models import AuthorizationRequest, Provider
from django_oauth_flows.protocol.authorization import read_state
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from django_oauth_flows.protocol.messages import Params

HANDLE = "answer"
"""The parameter that stands for a kept answer; the state comes with it."""

LIFETIME = timedelta(seconds=60)
"""How long the browser has to come back: it does so by itself, at once."""


def keep_answer(provider_slug: str, params: Params, *, posted: bool) -> Secret:
    """Seal the callback parameters for a minute; return the handle under which the same browser may use them, once.

    Raises :class:`AuthorizationError`: ``state_missing``, ``duplicate_parameter``, ``state_unknown``,
    ``provider_mismatch``, and ``unexpected_response`` if the provider answers in another way than it is configured to.
    """
    request = AuthorizationRequest.objects.find(read_state(params))
    if request is None:
        raise AuthorizationError("This authorization is not known here, or no longer.", code="state_unknown")
    if request.provider.slug != provider_slug:
        raise AuthorizationError("This answer belongs to another service.", code="provider_mismatch")
    _check_way(request.provider, posted=posted)
    handle, now = Secret(secrets.token_urlsafe(32)), _now(request)
    kept = {"handle": hash_secret(handle), "until": (now + LIFETIME).isoformat(), "params": list(params)}
    waiting = AuthorizationRequest.objects.filter(pk=request.pk, taken_at=None, expires_at__gt=DatabaseNow())
    # One that was taken or is over needs no answer any more: the browser is told so when it comes.
    waiting.update(kept_answer=request.seal("kept_answer", Secret(json.dumps(kept))))
    return handle


def answer_of(request: AuthorizationRequest, params: Params) -> Params:
    """Return the parameters that answer ``request``: these, or those that were kept under the handle in them.

    Raises :class:`AuthorizationError`: ``unexpected_response`` for an answer in another way than configured, or under
    another handle; ``state_expired`` if it was kept for too long.
    """
    handles = [value for name, value in params if name == HANDLE]
    if not handles:
        _check_way(request.provider, posted=False)
        return params
    sealed = request.open("kept_answer")
    kept: dict[str, Any] = json.loads(sealed.reveal()) if sealed is not None else {}
    if len(handles) > 1 or not hmac.compare_digest(hash_secret(Secret(handles[0])), kept.get("handle", "")):
        # Somebody else's browser has brought the answer.
        raise AuthorizationError("This browser has not brought the service's answer.", code="unexpected_response")
    if datetime.fromisoformat(kept["until"]) <= _now(request):
        raise AuthorizationError("The service's answer has waited too long.", code="state_expired")
    return [(name, value) for name, value in kept["params"]]


def _check_way(provider: Provider, *, posted: bool) -> None:
    """Refuse a form where a redirect was agreed, and the other way round: a server that sends both can be played off."""
    modes = Provider.ResponseMode
    if posted != (provider.response_mode in (modes.FORM_POST, modes.FORM_POST_JWT)):
        raise AuthorizationError("The service answered in another way than agreed.", code="unexpected_response")


def _now(request: AuthorizationRequest) -> datetime:
    now: datetime = request.now  # type: ignore[attr-defined]
    return now
