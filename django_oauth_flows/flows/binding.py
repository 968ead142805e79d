"""Only the user and the browser that started an authorization can finish it, and only what is still allowed then.

Nothing turns this off.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import router

from django_oauth_flows.exceptions import AuthorizationError, ConfigurationError
from django_oauth_flows.managers import allows, hash_secret, model_label
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.db.models import Model

    from django_oauth_flows.flows.values import BrowserCookie
    from django_oauth_flows.models import AuthorizationRequest


def browser_cookie(request_id: UUID, value: Secret, *, path: str) -> BrowserCookie:
    """Name the cookie of one authorization request; several tabs have several cookies."""
    from django_oauth_flows.flows.values import AUTHORIZATION_LIFETIME, BrowserCookie

    return BrowserCookie(cookie_name(request_id), value, path, AUTHORIZATION_LIFETIME)


def cookie_name(request_id: UUID) -> str:
    """Return the cookie's name: part of the row's id, which the browser may know."""
    return f"oauth_flows_{request_id.hex[:16]}"


def hash_session(session_auth_hash: str) -> str:
    """Return what ties a request to the user's present password, without storing the session's own hash."""
    return hashlib.sha256(session_auth_hash.encode()).hexdigest()


def check_binding(
    request: AuthorizationRequest,
    *,
    user: AbstractBaseUser | AnonymousUser,
    session_auth_hash: str,
    cookies: Mapping[str, str],
) -> Secret:
    """Return the browser's secret if this user in this browser started ``request``.

    Raise :class:`AuthorizationError`: ``session_mismatch`` (another browser, no login, or a changed password) or
    ``user_mismatch`` (this browser, but somebody else is logged in now).
    """
    browser = Secret(cookies.get(cookie_name(request.pk), ""))
    if not hmac.compare_digest(hash_secret(browser), request.browser_hash) or not user.is_authenticated:
        raise AuthorizationError("This authorization was not started in this browser.", code="session_mismatch")
    if user.pk != request.user_id:
        raise AuthorizationError(
            "Somebody else was logged in when this authorization was started.",
            code="user_mismatch",
            hint="Start again as the user who is logged in now.",
        )
    if not hmac.compare_digest(hash_session(session_auth_hash), request.session_auth_hash):
        raise AuthorizationError(
            "Your login has changed since this authorization was started.", code="session_mismatch"
        )
    return browser


def check_standing(request: AuthorizationRequest, *, user: AbstractBaseUser) -> None:
    """Check the provider, its configuration and the user's right, as they are now; staff's own permission covers a test.

    Raise :class:`AuthorizationError`: ``provider_changed`` or ``not_allowed``.
    """
    if not _is_as_it_was(request):
        raise AuthorizationError("The service's configuration was changed meanwhile.", code="provider_changed")
    if request.report is not None:
        return
    if not allows(user, "use", request.provider) or not allows(user, "manage", _owner(request, user)):
        raise AuthorizationError("You may no longer connect this account.", code="not_allowed", hint="Ask its owner.")


def _is_as_it_was(request: AuthorizationRequest) -> bool:
    provider = request.provider
    if provider.paused or not (provider.enabled or request.report is not None):
        return False
    try:
        return provider.fingerprint(request.parameters) == request.configuration_fingerprint
    except ConfigurationError:  # an endpoint has a placeholder that it did not have then
        return False


def _owner(request: AuthorizationRequest, user: AbstractBaseUser) -> Model:
    if (request.owner_model, request.owner_id) == (model_label(get_user_model()), str(user.pk)):
        return user
    model = apps.get_model(request.owner_model)
    rows = model._default_manager.using(router.db_for_write(model))
    owner: Model | None = rows.filter(pk=request.owner_id).first()
    if owner is None:
        raise AuthorizationError("The owner of this connection no longer exists.", code="not_allowed")
    return owner
