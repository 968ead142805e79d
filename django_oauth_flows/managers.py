"""Queries that read like sentences, and the policy of who may do what with a connection."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models, router
from django.utils.module_loading import import_string

from django_oauth_flows.conf import settings
from django_oauth_flows.fields import DatabaseNow
from django_oauth_flows.statements import Select, Slot, Update

if TYPE_CHECKING:
    from datetime import timedelta

    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

    from django_oauth_flows.models import AuthorizationRequest, Connection, Provider
    from django_oauth_flows.protocol.secret import Secret

DANCE_SECRETS = ("code_verifier", "nonce", "temporary_token", "temporary_token_secret", "dpop_key", "kept_answer",
                 "device_authorization")  # fmt: skip
"""The sealed columns of an authorization request that are blanked when it is taken."""

OWN_GRANTS = ("client_credentials", "jwt_bearer")
"""Grant types of the site itself: no user has consented, nobody owns them, and another token needs nothing stored."""

Action = Literal["view", "use", "manage"]


def model_label(model: models.Model | type[models.Model]) -> str:
    """Return how owners of this model are written down: a proxy's rows are those of the model it stands for."""
    concrete: Any = model._meta.concrete_model
    label: str = concrete._meta.label_lower
    return label


def owner_model_labels() -> set[str]:
    """Return the labels of the models that may own; the system checks report what is wrong with ``OWNER_MODELS``."""
    labels = {model_label(get_user_model())}
    try:
        names = [str(name) for name in settings.owner_models]
    except (AttributeError, TypeError):
        return labels
    for name in names:
        try:
            labels.add(model_label(apps.get_model(name)))
        except (LookupError, ValueError):
            labels.add(name.lower())
    return labels


def owner_key(owner: models.Model) -> tuple[str, str]:
    """Return (``owner_model``, ``owner_id``) of an owner; raise ``ValueError`` if it may not own or is not saved."""
    label = model_label(owner)
    if label not in owner_model_labels():
        raise ValueError(f"{owner._meta.label} may not own connections: list it in OAUTH_FLOWS['OWNER_MODELS']")
    if owner.pk is None:
        raise ValueError("the owner has not been saved")
    return label, str(owner.pk)


def find_owner(name: str) -> models.Model | None:
    """Return the owner called ``app.model:pk``, one of ``OWNER_MODELS``; None if there is none. Ask the policy about it."""
    label, _, pk = name.partition(":")
    if label.lower() not in {model.lower() for model in settings.owner_models}:
        return None
    try:
        owner: models.Model | None = apps.get_model(label)._default_manager.filter(pk=pk).first()
    except (ValueError, OverflowError, ValidationError):
        return None
    return owner


def hash_secret(secret: Secret) -> str:
    """Return the SHA-256 by which a random secret is found again without storing it."""
    return hashlib.sha256(secret.reveal().encode("utf-8", "surrogatepass")).hexdigest()


def default_owner_policy(
    user: AbstractBaseUser | AnonymousUser, action: Action, target: Connection | Provider | models.Model
) -> bool:
    """Answer whether ``user`` may view, use or manage ``target``: a connection, a provider, or a would-be owner.

    Everybody who is logged in may use an enabled provider; connections and ownership belong to the user alone.
    Sites with organisations name their own callable in ``OAUTH_FLOWS["OWNER_POLICY"]``.
    """
    if not user.is_active:
        return False
    label = model_label(target)
    if label == "oauth_flows.provider":
        return True
    user_key = (model_label(get_user_model()), str(user.pk))
    if label == "oauth_flows.connection":
        return (target.owner_model, target.owner_id) == user_key  # type: ignore[union-attr]
    return (label, str(target.pk)) == user_key


def allows(
    user: AbstractBaseUser | AnonymousUser, action: Action, target: Connection | Provider | models.Model
) -> bool:
    """Ask the site's owner policy."""
    policy = _imported(settings.owner_policy)
    return bool(user.is_authenticated and user.is_active and policy(user, action, target))


_imported = lru_cache(import_string)


class ProviderManager(models.Manager["Provider"]):
    """``Provider.objects``."""

    def get_by_natural_key(self, slug: str) -> Provider:
        """Find by slug, for fixtures."""
        return self.get(slug=slug)

    def enabled(self) -> models.QuerySet[Provider]:
        """Return the providers that accept new connections; one for client credentials alone has no place to send a user."""
        return self.filter(enabled=True).exclude(authorization_endpoint="", device_authorization_endpoint="")

    def offered(self, slug: str) -> Provider | None:
        """Return the provider of that slug if users may connect accounts there now."""
        return _OFFERED.first(using=router.db_for_read(self.model), slug=slug)


class ConnectionQuerySet(models.QuerySet["Connection"]):
    """``Connection.objects.for_owner(team).active("github").with_scopes("repo")``."""

    def for_owner(self, owner: models.Model) -> ConnectionQuerySet:
        """Keep what ``owner`` (a user, or a model of ``OWNER_MODELS``) has."""
        owner_model, owner_id = owner_key(owner)
        return self.filter(owner_model=owner_model, owner_id=owner_id)

    def active(self, provider_slug: str | None = None) -> ConnectionQuerySet:
        """Keep what is meant to serve tokens, of one provider if named."""
        active = self.filter(status="active", paused=False)
        return active if provider_slug is None else active.filter(provider__slug=provider_slug)

    def with_ended(self) -> ConnectionQuerySet:
        """Note on each row, as ``has_ended``, whether it can serve a token no more: expired, and nothing to renew it with."""
        expired = models.Q(token__expires_at__lte=DatabaseNow(), token__refresh_token__isnull=True)
        ended = expired | models.Q(token__isnull=True)
        return self.annotate(has_ended=models.Case(models.When(ended, then=True), default=False))

    def dying(self, within: timedelta) -> ConnectionQuerySet:
        """Keep what works now, and within that time will need its user: by then its access or its refresh token is over.

        A refresh in good time puts off the end of a refresh token that only dies unused; this says what is known today.
        """
        until = DatabaseNow() + within
        lasting = models.Q(grant_type__in=OWN_GRANTS)
        renewable = models.Q(token__refresh_token__isnull=False)
        over = (renewable & models.Q(token__refresh_token_expires_at__lte=until)) | (
            ~renewable & models.Q(token__next_refresh_at=None, token__expires_at__lte=until)
        )
        return self.filter(over, ~lasting, status="active", token__isnull=False)

    def lacking_required_scopes(self) -> ConnectionQuerySet:
        """Keep live grants of users that lack a scope which their provider requires; who requires any is asked at once."""
        providers = apps.get_model("oauth_flows", "Provider").objects.using(self.db).exclude(required_scopes=())
        lacking = models.Q(pk__in=())
        for pk, required in providers.order_by().values_list("pk", "required_scopes"):
            whole = models.Q()
            for scope in required:
                whole &= models.Q(granted_scopes__has=scope)
            lacking |= models.Q(provider=pk) & ~whole
        return self.filter(lacking).exclude(status="revoked").exclude(grant_type__in=OWN_GRANTS)

    def with_scopes(self, *scopes: str) -> ConnectionQuerySet:
        """Keep grants that include every one of ``scopes``."""
        found = self
        for scope in scopes:
            found = found.filter(granted_scopes__has=scope)
        return found


ConnectionManager = models.Manager.from_queryset(ConnectionQuerySet)


class AuthorizationRequestManager(models.Manager["AuthorizationRequest"]):
    """``AuthorizationRequest.objects``."""

    def find(self, state: Secret) -> AuthorizationRequest | None:
        """Find by the hash of the state, with provider, and the database's present time as ``now``."""
        return _BY_STATE.first(using=router.db_for_write(self.model), state_hash=hash_secret(state))

    def take(self, request: AuthorizationRequest) -> bool:
        """Take ``request`` for completion: one conditional UPDATE that one caller wins. Its secrets are blanked at once.

        The instance in the winner's hands keeps the sealed values it was read with.
        """
        return bool(_TAKE.run(using=router.db_for_write(self.model), id=request.pk))


def _offered() -> models.QuerySet[Any]:
    return (
        apps.get_model("oauth_flows", "Provider").objects.enabled().filter(paused=False, slug=Slot("slug")).order_by()
    )


_OFFERED = Select(_offered)


def _requests() -> models.QuerySet[Any]:
    return apps.get_model("oauth_flows", "AuthorizationRequest").objects.order_by()


_BY_STATE = Select(
    lambda: _requests().filter(state_hash=Slot("state_hash")).annotate(now=DatabaseNow()), related=("provider",)
)
_TAKE = Update(
    lambda: (
        _requests().filter(pk=Slot("id"), taken_at=None, expires_at__gt=DatabaseNow()),
        {"taken_at": DatabaseNow(), **dict.fromkeys(DANCE_SECRETS)},
    )
)
