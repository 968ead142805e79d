"""Import a token you already have: from a script, another library's table, or a provider's developer page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model

from django_oauth_flows.exceptions import AuthorizationError
from django_oauth_flows.flows.storing import Holding, database_now, neighbours, store
from django_oauth_flows.flows.values import Grant
from django_oauth_flows.managers import owner_key
from django_oauth_flows.models import Connection, ConnectionEvent, Provider
from django_oauth_flows.protocol.messages import Identity
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.protocol.tokens import is_token

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from django.contrib.auth.base_user import AbstractBaseUser
    from django.db.models import Model


def import_connection(
    provider: Provider,
    owner: Model,
    *,
    access_token: str,
    token_secret: str = "",
    refresh_token: str = "",
    expires_at: datetime | None = None,
    refresh_token_expires_at: datetime | None = None,
    scopes: Iterable[str] | None = None,
    subject: str | None = None,
    label: str = "",
    parameters: Mapping[str, str] | None = None,
    user: AbstractBaseUser | None = None,
    actor: AbstractBaseUser | None = None,
) -> Connection:
    """Store existing tokens as a connection of ``owner``; nothing is sent to the provider.

    OAuth 1.0a needs ``token_secret``; OAuth 2 takes ``refresh_token`` if there is one. ``expires_at`` unknown means the
    provider row's access token lifetime, from now. An import with the ``subject`` of an existing connection of the same
    owner replaces its tokens. Raises :class:`AuthorizationError` (``token_invalid``, ``token_secret_required``,
    ``token_secret_unexpected``, ``account_in_use``) and ``ValueError`` for an owner who may not own.
    """
    tokens = _checked_tokens(provider, access_token, token_secret, refresh_token)
    owner_model, owner_id = owner_key(owner)
    is_user = owner_model == get_user_model()._meta.label_lower
    now = database_now(provider)
    values = dict(parameters or {})
    holding = Holding(
        provider=provider,
        user=user if user is not None else (owner if is_user else None),  # type: ignore[arg-type]
        owner_model=owner_model,
        owner_id=owner_id,
        grant_type=Connection.GrantType.IMPORTED,
        identity=Identity(subject=subject or None, label=label),
        requested_scopes=tuple(provider.scopes if scopes is None else scopes),
        parameters=values,
        client_id=provider.client_id,
        configuration_fingerprint=provider.fingerprint(values),
        requested_at=now,
        actor=actor,
    )
    met = neighbours(holding)
    if met.shared and provider.unique_subject:
        raise AuthorizationError("Another owner has already connected this account.", code="account_in_use")
    grant = Grant(
        access_token=tokens[0],
        token_secret=tokens[1],
        refresh_token=tokens[2],
        token_type="OAuth" if tokens[1] else "Bearer",
        expires_in=_seconds(expires_at, now),
        refresh_token_expires_in=_seconds(refresh_token_expires_at, now),
    )
    return store(holding, grant, mine=met.mine, kind=ConnectionEvent.Kind.IMPORTED)


def _checked_tokens(
    provider: Provider, access_token: str, token_secret: str, refresh_token: str
) -> tuple[Secret, Secret | None, Secret | None]:
    oauth1 = provider.protocol == Provider.Protocol.OAUTH1
    if oauth1 and not token_secret:
        raise AuthorizationError(
            "OAuth 1.0a needs the token's secret as well.", code="token_secret_required", hint="Pass token_secret."
        )
    if (oauth1 and refresh_token) or (not oauth1 and token_secret):
        raise AuthorizationError(
            "A token secret belongs to OAuth 1.0a, a refresh token to OAuth 2.",
            code="token_secret_unexpected",
            hint="Leave out what the provider's protocol does not have.",
        )
    for value in (access_token, *filter(None, (token_secret, refresh_token))):
        if not is_token(value):
            raise AuthorizationError(
                "A token must be printable ASCII of at most 16 kB.",
                code="token_invalid",
                hint="Paste the bare token, without a scheme or quotes.",
            )
    return (
        Secret(access_token),
        Secret(token_secret) if token_secret else None,
        Secret(refresh_token) if refresh_token else None,
    )


def _seconds(moment: datetime | None, now: datetime) -> int | None:
    return None if moment is None else max(0, int((moment - now).total_seconds()))
