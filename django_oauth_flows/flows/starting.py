"""Start: remember a pending authorization, and say where to send the browser."""

from __future__ import annotations

import secrets
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.db import router
from django.db.models import F
from django.urls import reverse
from django.utils import translation

from django_oauth_flows.conf import settings
from django_oauth_flows.exceptions import AuthorizationError, ConfigurationError
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.flows.binding import browser_cookie, hash_session
from django_oauth_flows.flows.returning import safe_next_url
from django_oauth_flows.flows.scopes import scopes_to_ask
from django_oauth_flows.flows.speaking import asking
from django_oauth_flows.flows.values import AUTHORIZATION_LIFETIME, StartedAuthorization
from django_oauth_flows.managers import allows, hash_secret, owner_key
from django_oauth_flows.models import AuthorizationRequest, Connection, Provider
from django_oauth_flows.protocol.dialect import Dialect
from django_oauth_flows.protocol.flow import flow_for
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.statements import Insert, Select, Slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django.contrib.auth.base_user import AbstractBaseUser
    from django.db.models import Model, QuerySet

    from django_oauth_flows.protocol.messages import ClientRegistration, PendingAuthorization

STARTS_PER_MINUTE = 60
"""How often one user may start at one provider within a minute."""

LIVE_REQUESTS = 20
"""How many authorizations one user may have pending at one provider; starting another ends the oldest."""


def start_authorization(
    provider: Provider,
    *,
    user: AbstractBaseUser,
    session_auth_hash: str,
    site_url: str = "",
    owner: Model | None = None,
    scopes: Iterable[str] | None = None,
    reconnect: Connection | None = None,
    parameters: Mapping[str, str] | None = None,
    authorization_details: Iterable[Mapping[str, Any]] | None = None,
    next_url: str = "",
) -> StartedAuthorization:
    """Start connecting an account of ``user`` at ``provider``, on behalf of ``owner`` (default: the user).

    ``scopes`` default to the provider's; with ``reconnect``, to those plus what that connection had asked for. Named
    scopes are asked for beside what ``reconnect`` has been granted, so that nothing is lost; until its owner consents, and
    if they decline, it goes on as it is. What the provider requires is always asked for.
    ``authorization_details`` (RFC 9396) default to what ``reconnect`` has been granted, else to those in the dialect.
    ``session_auth_hash`` is ``user.get_session_auth_hash()``; ``site_url`` the origin to use if none is configured.

    Raises :class:`AuthorizationError` (``not_allowed``, ``provider_disabled``, ``parameter_required``, ``parameter_refused``),
    :class:`ScopeNotAllowed`, :class:`ConfigurationError` (``base_url_required``, ``provider_misconfigured``), and for
    OAuth 1.0a, which asks for temporary credentials here, and for pushed requests :class:`TokenEndpointError`.
    RFC 6749 §4.1.1, RFC 5849 §2.1, RFC 9126.
    """
    request, state, browser = described(
        provider,
        user=user,
        session_auth_hash=session_auth_hash,
        owner=owner,
        scopes=scopes,
        reconnect=reconnect,
        parameters=parameters,
        next_url=next_url,
    )
    request.redirect_uri = redirect_uri(provider, site_url=site_url)
    registration = provider.registration(request.parameters)
    extends = reconnect is not None or (scopes is not None and _extends(registration, request))
    asked = asking(registration, details=authorization_details, reconnect=reconnect, extends=extends)
    return begin(request, asked, state, browser)


def begin(
    request: AuthorizationRequest, asked: ClientRegistration, state: Secret, browser: Secret
) -> StartedAuthorization:
    """Remember ``request``, which says who wants what, and say where to send the browser; raise what the start may raise."""
    provider = request.provider
    if _is_asked_first(provider):
        make_room(request.user_id, provider)  # before the provider is asked for anything
    pending, authorization_url = flow_for(asked).start(
        redirect_uri=request.redirect_uri, scopes=request.requested_scopes, state=state
    )
    _seal_pending(request, pending)
    _remember(request)
    path = urlsplit(request.redirect_uri).path
    return StartedAuthorization(authorization_url, browser_cookie(request.pk, browser, path=path))


def described(
    provider: Provider,
    *,
    user: AbstractBaseUser,
    session_auth_hash: str,
    owner: Model | None,
    scopes: Iterable[str] | None,
    reconnect: Connection | None,
    parameters: Mapping[str, str] | None,
    next_url: str,
) -> tuple[AuthorizationRequest, Secret, Secret]:
    """Return what is asked for, not saved, with its state and what binds the browser, after every check of who may ask for what.

    Raises what :func:`start_authorization` does before anything is sent.
    """
    if not provider.enabled or provider.paused:
        raise AuthorizationError(f"{provider} accepts no new connections.", code="provider_disabled")
    owner_model, owner_id = _checked_owner(provider, user=user, owner=owner, reconnect=reconnect)
    wanted = scopes_to_ask(provider, scopes, reconnect)
    values = dict(reconnect.parameters if reconnect else checked_parameters(provider, parameters or {}))
    state, browser = Secret(secrets.token_urlsafe(32)), Secret(secrets.token_urlsafe(32))
    request = AuthorizationRequest(
        id=uuid.uuid4(),
        state_hash=hash_secret(state),
        provider=provider,
        user_id=user.pk,
        session_auth_hash=hash_session(session_auth_hash),
        browser_hash=hash_secret(browser),
        owner_model=owner_model,
        owner_id=owner_id,
        reconnects=reconnect,
        requested_scopes=wanted,
        parameters=values,
        next_url=safe_next_url(next_url),
        language=(translation.get_language() or "")[:35],
        configuration_fingerprint=provider.fingerprint(values),
    )
    return request, state, browser


def _extends(registration: ClientRegistration, request: AuthorizationRequest) -> bool:
    """Tell whether the owner has been granted something there; not asked where it makes no difference."""
    if not registration.dialect.incremental_parameters:
        return False
    rows = Connection.objects.using(router.db_for_write(Connection)).active()
    whose = {"owner_model": request.owner_model, "owner_id": request.owner_id}
    return rows.filter(provider=request.provider, **whose).exists()


def checked_parameters(provider: Provider, parameters: Mapping[str, str]) -> Mapping[str, str]:
    """Return ``parameters`` if the service can have such values; what is no part of an address at all is refused later."""
    try:
        dialect = Dialect.from_json(provider.dialect)
    except (ValueError, TypeError):
        return parameters  # said by the registration
    for name, value in parameters.items():
        if not dialect.accepts(name, str(value)):
            raise AuthorizationError(
                f"{provider} has no such {name}.", code="parameter_refused", hint="Enter it as the service writes it."
            )
    return parameters


def redirect_uri(provider: Provider, *, site_url: str = "") -> str:
    """Return the provider's one redirect URI, the same in every language.

    The origin is the provider's ``redirect_base_url``, else ``OAUTH_FLOWS["BASE_URL"]``, else ``site_url``. Raise
    :class:`ConfigurationError` (``base_url_required``) if all are empty.
    """
    base = (provider.redirect_base_url or settings.base_url or site_url).rstrip("/")
    if not base:
        raise ConfigurationError(
            "The site's public address is not configured, and this request's Host header cannot be trusted for it.",
            code="base_url_required",
            hint='Set OAUTH_FLOWS = {"BASE_URL": "https://your.site"}, or list the real hosts in ALLOWED_HOSTS.',
        )
    with translation.override(language_of_addresses()):
        return base + reverse("oauth_flows:callback", args=[provider.slug])


def language_of_addresses() -> str:
    """Return the site's own language as ``i18n_patterns`` spells it: a site in ``en-us`` has addresses below ``/en/``."""
    try:
        return translation.get_supported_language_variant(django_settings.LANGUAGE_CODE)
    except LookupError:
        return django_settings.LANGUAGE_CODE


def _checked_owner(
    provider: Provider, *, user: AbstractBaseUser, owner: Model | None, reconnect: Connection | None
) -> tuple[str, str]:
    target: Model = reconnect if reconnect is not None else (owner if owner is not None else user)
    if not allows(user, "use", provider) or not allows(user, "manage", target):
        raise AuthorizationError("You may not connect this account.", code="not_allowed", hint="Ask its owner.")
    if reconnect is not None:
        return reconnect.owner_model, reconnect.owner_id
    return owner_key(target)


def _seal_pending(request: AuthorizationRequest, pending: PendingAuthorization) -> None:
    request.seal("code_verifier", pending.code_verifier)
    request.seal("nonce", pending.nonce)
    request.seal("dpop_key", pending.dpop_key)
    if pending.temporary_credentials is not None:
        request.seal("temporary_token", pending.temporary_credentials.token)
        request.seal("temporary_token_secret", pending.temporary_credentials.token_secret)


def _remember(request: AuthorizationRequest) -> None:
    """Save the request; where the user has started this often lately, make room for it first, unless that was done."""
    using = router.db_for_write(AuthorizationRequest)
    if _is_asked_first(request.provider):
        _REQUEST.run(request, using=using)
        return
    many = _MANY.bound(using=using, user_id=request.user_id, provider_id=request.provider_id)
    if not _REQUEST.run(request, using=using, unless=many):
        make_room(request.user_id, request.provider)
        _REQUEST.run(request, using=using)


def _is_asked_first(provider: Provider) -> bool:
    """Tell whether a start is a request to the provider: for temporary credentials, or to push its parameters."""
    return provider.protocol == Provider.Protocol.OAUTH1 or bool(provider.pushed_authorization_request_endpoint)


def make_room(user_id: Any, provider: Provider) -> None:
    """Keep a flood of starts bounded: expire the oldest pending requests, and refuse when they come too fast."""
    using = router.db_for_write(AuthorizationRequest)
    rows: list[Any] = _RECENT.rows(using=using, user_id=user_id, provider_id=provider.pk)
    if sum(row.age < timedelta(minutes=1) for row in rows) >= STARTS_PER_MINUTE:
        raise AuthorizationError(
            "You have started this too often.", code="too_many_starts", hint="Wait a minute, then start once more."
        )
    pending = [row.pk for row in rows if row.taken_at is None]
    if surplus := pending[LIVE_REQUESTS - 1 :]:
        AuthorizationRequest.objects.filter(pk__in=surplus, expires_at__gt=DatabaseNow()).update(
            expires_at=DatabaseNow()
        )


_LIFETIME = timedelta(seconds=AUTHORIZATION_LIFETIME)
# Lost in a crash, it costs its user another click.
_REQUEST = Insert[AuthorizationRequest](is_expendable=True, expires_at=DatabaseNow() + _LIFETIME)


def _recent() -> QuerySet[AuthorizationRequest]:
    return AuthorizationRequest.objects.filter(
        user=Slot("user_id"), provider=Slot("provider_id"), expires_at__gt=DatabaseNow() - _LIFETIME
    )


_RECENT = Select(
    lambda: _recent().annotate(age=DatabaseNow() - F("created_at")).order_by("-created_at"),
    columns={"": lambda _: ("id", "taken_at")},
    limit=STARTS_PER_MINUTE + 1,
)
_MANY = Select(lambda: _recent().order_by()[LIVE_REQUESTS - 1 :], columns={"": lambda _: ("id",)}, limit=1)
"""Finds a row if there are as many recent requests as may be pending."""
