"""Call: a ``requests.Session`` whose every request asks for a valid token, and the token itself for other clients."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db import router

from django_oauth_flows.exceptions import (
    AuthorizationError,
    ConfigurationError,
    DecryptionError,
    MissingScopes,
    ReauthorizationRequiredError,
    ScopeNotAllowed,
)
from django_oauth_flows.flows import usage
from django_oauth_flows.flows.aside import aside
from django_oauth_flows.flows.freshness import Freshness
from django_oauth_flows.flows.history import record
from django_oauth_flows.flows.learning import learn_lifetime
from django_oauth_flows.flows.marking import needs_reauthorization
from django_oauth_flows.flows.refreshing import reissued, replacement, usable
from django_oauth_flows.flows.snapshot import check_servable, read
from django_oauth_flows.models import Connection, ConnectionEvent, Provider, Token
from django_oauth_flows.protocol.identity import MAX_SUBJECT_LENGTH
from django_oauth_flows.protocol.messages import Credentials
from django_oauth_flows.protocol.session import OAuthSession

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    from django_oauth_flows.flows.snapshot import Snapshot
    from django_oauth_flows.protocol.messages import ClientRegistration


def session(connection: Connection, *, purpose: str = "", scopes: Iterable[str] = ()) -> OAuthSession:
    """Return a ``requests.Session`` that calls the provider's API with ``connection``'s token.

    Relative URLs are appended to the provider's API base URL. The token is asked for per request: it is refreshed when
    due, and a connection that was disconnected meanwhile raises :class:`Disconnected`. ``purpose`` says, in the history
    the user sees, what the access is for; ``scopes`` raises :class:`MissingScopes` at once if the grant lacks one.
    """
    check_scopes(connection, scopes)
    return OAuthSession(StoredTokenSource(connection.pk, purpose=purpose))


def access_token(connection: Connection, *, min_validity: timedelta = timedelta(0)) -> str:
    """Return a token valid for at least ``min_validity``, for an HTTP client or SDK of your own.

    Where the service's tokens do not live for so long, it is valid for at least half of their life: to refresh at each
    call would not change that.
    Raises :class:`ReauthorizationRequiredError`, :class:`TokenUnavailable`, :class:`Disconnected`,
    :class:`CannotPersist`, and :class:`ConfigurationError` (``token_bound``) for one that is worth nothing alone.
    """
    return alone(_credentials(usable(connection.pk, min_validity=min_validity)))


def alone(credentials: Credentials) -> str:
    """Return the token; raise :class:`ConfigurationError` if each of its requests needs a proof beside it (RFC 9449)."""
    if credentials.dpop_key is not None:
        raise ConfigurationError(
            "This token is bound to a key (DPoP): alone it opens nothing.",
            code="token_bound",
            hint="Call with flows.session(), or give your client flows.requests_auth() or flows.httpx_auth().",
        )
    return credentials.access_token.reveal()


def client_session(provider: Provider, *, scopes: Iterable[str] | None = None) -> OAuthSession:
    """Return a session of the site itself: client credentials, one token per provider and set of scopes.

    ``scopes`` default to the provider's. Raises :class:`ScopeNotAllowed`, and :class:`AuthorizationError`
    (``provider_disabled``) if it would be the first one of a disabled or paused provider; the session raises as
    :func:`session`'s does. RFC 6749 §4.4.
    """
    wanted = _checked_own(provider, scopes)
    return OAuthSession(StoredTokenSource(_own_connection(provider, wanted).pk, purpose=""))


def service_session(provider: Provider, *, subject: str = "", scopes: Iterable[str] | None = None) -> OAuthSession:
    """Return a session of a service account: by an assertion signed with the provider's key, one token per subject and scopes.

    ``subject``: the account to act for, where the service lets the site do so (domain-wide delegation); by default, the
    service account itself. Raises as :func:`client_session` does, and :class:`AuthorizationError` (``subject_invalid``).
    RFC 7523 §2.1.
    """
    wanted = _checked_own(provider, scopes)
    if len(subject) > MAX_SUBJECT_LENGTH or not subject.isprintable():
        raise AuthorizationError(
            f"An account's name must be printable text of at most {MAX_SUBJECT_LENGTH} characters.",
            code="subject_invalid",
            hint="Pass the account as the service names it, such as its e-mail address.",
        )
    return OAuthSession(
        StoredTokenSource(_own_connection(provider, wanted, acts_for=subject, by_key=True).pk, purpose="")
    )


def _checked_own(provider: Provider, scopes: Iterable[str] | None) -> tuple[str, ...]:
    """Return the scopes that the site asks for itself."""
    wanted = provider.scopes if scopes is None else tuple(dict.fromkeys(scopes))
    if not provider.known_scopes.issuperset(wanted):
        raise ScopeNotAllowed(f"A scope that {provider} does not list was asked for.")
    if provider.protocol != Provider.Protocol.OAUTH2:
        raise ConfigurationError("Client credentials need an OAuth 2 provider.", code="provider_misconfigured")
    return wanted


def at_once(connection_id: UUID, *, min_validity: timedelta = timedelta(0)) -> tuple[Snapshot, Credentials] | None:
    """Return a token to be served as it is, after one query; None if the provider may have to be asked for one.

    Raises :class:`Disconnected`.
    """
    snapshot = read(connection_id)
    check_servable(snapshot)
    state = snapshot.freshness(min_validity=min_validity)
    if state is Freshness.EXPIRED or (state is Freshness.STALE and not snapshot.rests):
        return None
    try:
        return snapshot, _opened(snapshot)
    except DecryptionError:
        return None  # where there is time, what that means is found out


def check_scopes(connection: Connection, scopes: Iterable[str]) -> None:
    """Raise :class:`MissingScopes` if the grant lacks one of ``scopes``."""
    if missing := connection.lacks(scopes):
        raise MissingScopes(f"The grant lacks {', '.join(missing)}.", scopes=missing)


class StoredTokenSource:
    """The token source of one connection: what is stored, refreshed when due, read anew for every request."""

    def __init__(self, connection_id: UUID, *, purpose: str) -> None:
        self._connection_id = connection_id
        self._purpose = purpose
        self._configured: tuple[datetime, dict[str, Any], ClientRegistration] | None = None

    def current(self, *, rejected: Credentials | None = None) -> tuple[ClientRegistration, Credentials]:
        """Return the provider as configured now and a valid token; after a 401, something newer if there is any."""
        if rejected is None:
            snapshot = usable(self._connection_id)
            usage.note(self._connection_id, self._purpose)
        else:
            snapshot = replacement(self._connection_id, rejected)
        credentials = _credentials(snapshot)  # first: a lost key is the token's trouble before it is the provider's
        return self._registered(snapshot), credentials

    def replaced(self, rejected: Credentials) -> None:
        """Learn from a token that the API refused, and whose successor it has taken, how long such tokens live."""
        if rejected.endless_since is not None:
            learn_lifetime(self._connection_id, issued_at=rejected.endless_since)

    async def acurrent(self, *, rejected: Credentials | None = None) -> tuple[ClientRegistration, Credentials]:
        """Return the same as :meth:`current`, without blocking the event loop."""
        if rejected is None and (found := await sync_to_async(self._at_once)()) is not None:
            return found
        return await aside(partial(self.current, rejected=rejected))

    def _at_once(self) -> tuple[ClientRegistration, Credentials] | None:
        found = at_once(self._connection_id)
        if found is None:
            return None
        usage.note(self._connection_id, self._purpose)
        return self._registered(found[0]), found[1]

    def _registered(self, snapshot: Snapshot) -> ClientRegistration:
        provider, known, kept = snapshot.provider, self._configured, snapshot.token.extra
        if known is None or known[:2] != (provider.updated_at, kept):
            # In one assignment: threads that share a session must not pair one's time with another's registration.
            found = provider.registration(snapshot.connection.parameters, kept=kept)
            known = self._configured = provider.updated_at, kept, found
        return known[2]


def _credentials(snapshot: Snapshot) -> Credentials:
    """Decrypt; a token whose key is lost is a state of the connection, not a crash. The site's own is minted anew."""
    try:
        return _opened(snapshot)
    except DecryptionError:
        if snapshot.connection.is_own:
            return _opened(reissued(snapshot))
        needs_reauthorization(snapshot, Connection.Reason.UNDECRYPTABLE)
        raise ReauthorizationRequiredError(
            "The stored token can no longer be read.", reason=Connection.Reason.UNDECRYPTABLE
        ) from None


def _opened(snapshot: Snapshot) -> Credentials:
    token = snapshot.token
    access_token, token_secret = token.open("access_token"), token.open("token_secret")
    if access_token is None:
        raise ReauthorizationRequiredError("This connection has no token.", reason=Connection.Reason.EXPIRED)
    return Credentials(
        access_token,
        token_secret,
        token.token_type,
        token.open("dpop_key"),
        token.generation,
        endless_since=token.issued_at if token.expires_at is None else None,
    )


def _own_connection(
    provider: Provider, scopes: tuple[str, ...], *, acts_for: str = "", by_key: bool = False
) -> Connection:
    """Find or create the connection that holds the site's own token; N callers meet in one row."""
    kind = Connection.GrantType.JWT_BEARER if by_key else Connection.GrantType.CLIENT_CREDENTIALS
    what: list[Any] = [kind, acts_for, sorted(scopes)] if by_key else sorted(scopes)
    subject = hashlib.sha256(json.dumps(what).encode()).hexdigest()
    key = {"provider": provider, "owner_model": "", "owner_id": "", "parameters_digest": "", "subject": subject}
    rows = Connection.objects.using(router.db_for_write(Connection))  # a replica may not have heard of it yet
    found = rows.select_related("token").filter(**key).first()
    if found is not None and found.status == Connection.Status.ACTIVE and hasattr(found, "token"):
        return found
    is_new = found is None or found.status == Connection.Status.REVOKED
    if is_new and (not provider.enabled or provider.paused):
        raise AuthorizationError(f"{provider} accepts no new connections.", code="provider_disabled")
    # One row at a time, each idempotent: N first callers meet without a transaction around them.
    defaults = {
        "grant_type": kind,
        "acts_for": acts_for,
        "requested_scopes": scopes,
        "granted_scopes": scopes,
    }
    label = " ".join(filter(None, (acts_for, *scopes)))[:255]
    connection, is_created = Connection.objects.get_or_create(**key, defaults={**defaults, "label": label})
    ended = Connection.objects.filter(pk=connection.pk).exclude(status=Connection.Status.ACTIVE)
    if is_created:
        record(ConnectionEvent.Kind.AUTHORIZED, connection)
    elif ended.update(status=Connection.Status.ACTIVE, reason="", revoked_at=None):
        record(ConnectionEvent.Kind.REAUTHORIZED, connection)
    minted = {
        "provider": provider,
        "client_id": provider.client_id,
        "configuration_fingerprint": provider.fingerprint(),
    }
    Token.objects.get_or_create(connection=connection, defaults=minted)
    return connection
