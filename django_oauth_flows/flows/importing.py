"""Import a token you already have: from a script, another library's table, or a provider's developer page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.utils.timezone import is_naive

from django_oauth_flows.exceptions import AuthorizationError
from django_oauth_flows.fields import split_scopes
from django_oauth_flows.flows.holding import Holding, neighbours
from django_oauth_flows.flows.storing import database_now, store
from django_oauth_flows.flows.values import Grant
from django_oauth_flows.managers import model_label, owner_key
from django_oauth_flows.models import Connection, ConnectionEvent, Provider
from django_oauth_flows.protocol.identity import MAX_SUBJECT_LENGTH
from django_oauth_flows.protocol.messages import Identity
from django_oauth_flows.protocol.parsing import excerpt
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
    scopes: Iterable[str] | str | None = None,
    subject: str | int | None = None,
    label: str | None = "",
    parameters: Mapping[str, str] | None = None,
    user: AbstractBaseUser | None = None,
    actor: AbstractBaseUser | None = None,
) -> Connection:
    """Store existing tokens as a connection of ``owner``; nothing is sent to the provider.

    OAuth 1.0a needs ``token_secret``; OAuth 2 takes ``refresh_token`` if there is one. ``expires_at`` unknown means the
    provider row's access token lifetime, from now. ``scopes`` may be one string, separated by blanks. An import with the
    ``subject`` of an existing connection of the same owner replaces its tokens.

    Raises :class:`AuthorizationError` (``provider_disabled``, ``token_invalid``, ``token_secret_required``,
    ``token_secret_unexpected``, ``subject_invalid``, ``account_in_use``), :class:`ConfigurationError`
    (``provider_misconfigured``: ``parameters`` lack the value of a placeholder), and ``ValueError`` for an owner who may
    not own and for a naive time.
    """
    if not provider.enabled or provider.paused:
        raise AuthorizationError(f"{provider} accepts no new connections.", code="provider_disabled")
    if not refresh_token and isinstance(provider.dialect, dict) and provider.dialect.get("refreshes_with_access_token"):
        refresh_token = access_token
    tokens = _checked_tokens(provider, access_token, token_secret, refresh_token)
    owner_model, owner_id = owner_key(owner)
    is_user = owner_model == model_label(get_user_model())
    now = database_now(provider)
    values = {name: str(value) for name, value in (parameters or {}).items()}
    holding = Holding(
        provider=provider,
        user=user if user is not None else (owner if is_user else None),  # type: ignore[arg-type]
        owner_model=owner_model,
        owner_id=owner_id,
        grant_type=Connection.GrantType.IMPORTED,
        identity=Identity(subject=_checked_subject(subject), label=excerpt(label or "")),
        requested_scopes=provider.scopes if scopes is None else _split(scopes),
        parameters=values,
        client_id=provider.client_id,
        configuration_fingerprint=provider.fingerprint(values),
        requested_at=now,
        actor=actor,
    )
    grant = Grant(
        access_token=tokens[0],
        token_secret=tokens[1],
        refresh_token=tokens[2],
        token_type="OAuth" if tokens[1] else "Bearer",
        expires_in=_seconds(expires_at, now),
        refresh_token_expires_in=_seconds(refresh_token_expires_at, now),
    )
    return store(holding, grant, mine=neighbours(holding).mine, kind=ConnectionEvent.Kind.IMPORTED)


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


def _checked_subject(subject: str | int | None) -> str | None:
    """Return the account's id as text; None if there is none."""
    text = "" if subject is None else str(subject)
    if not text:
        return None
    if len(text) > MAX_SUBJECT_LENGTH or not text.isprintable() or not text.strip():
        raise AuthorizationError(
            f"An account's id must be printable text of at most {MAX_SUBJECT_LENGTH} characters.",
            code="subject_invalid",
            hint="Pass the id as the provider's API tells it, or none.",
        )
    return text


def _split(scopes: Iterable[str] | str) -> tuple[str, ...]:
    found = split_scopes(scopes if isinstance(scopes, str) else " ".join(scopes))
    if not all(scope.isprintable() for scope in found):
        raise ValueError("a scope holds characters that cannot be printed")
    return found


def _seconds(moment: datetime | None, now: datetime) -> int | None:
    if moment is None:
        return None
    if is_naive(moment) and not is_naive(now):
        raise ValueError("a naive time says nothing without its zone: pass an aware one, as timezone.now() is")
    return max(0, int((moment - now).total_seconds()))
