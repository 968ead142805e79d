"""Work off what is still to be revoked at the providers: refresh token first, bounded retries, a recorded outcome."""

from __future__ import annotations

import uuid
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, router, transaction
from django.db.models import F, Q

from django_oauth_flows.exceptions import ConfigurationError, DecryptionError, OAuthFlowsError
from django_oauth_flows.fields import Ciphertext, DatabaseNow
from django_oauth_flows.flows.either_secret import with_either_secret
from django_oauth_flows.flows.history import logger, record
from django_oauth_flows.flows.sharing import is_shared
from django_oauth_flows.flows.values import SECRETS
from django_oauth_flows.models import Connection, ConnectionEvent, Provider, Revocation, Token
from django_oauth_flows.protocol.flow import flow_for
from django_oauth_flows.protocol.messages import Credentials, RevocationResult
from django_oauth_flows.protocol.oauth1 import OAuth1Flow
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.models import QuerySet

    from django_oauth_flows.protocol.messages import ClientRegistration


MAX_ATTEMPTS = 12
"""How often a revocation is tried before it is given up: with the back-off below, within about two days."""

FIRST_RETRY, LAST_RETRY = timedelta(minutes=1), timedelta(hours=6)
LEASE = timedelta(minutes=2)


def work_off_revocations(*, provider: Provider | None = None, limit: int = 100) -> int:
    """Try the pending revocations that are due, of one ``provider`` or all, at most ``limit``; return how many ended.

    Any number may run at once.
    """
    rows = _rows() if provider is None else _rows().filter(provider=provider)
    due = rows.select_related("provider").filter(_due(), outcome=Revocation.Outcome.PENDING)
    return sum(work_off(row) != Revocation.Outcome.PENDING for row in due.order_by("next_attempt_at")[:limit])


def work_off(row: Revocation, *, using: str | None = None) -> str:
    """Try one pending revocation, unless another worker is at it; return the outcome so far.

    Whatever is in the way (the provider, its row, a missing key) may be gone next time: the secrets stay until then.
    ``using``: the database alias to note it on, where that must outlive the caller's transaction.
    """
    worker, alias = uuid.uuid4(), using or router.db_for_write(Revocation)
    rows = Revocation.objects.using(alias).filter(pk=row.pk)
    held = rows.filter(lease_owner=worker)
    ours = {"lease_owner": worker, "lease_expires_at": DatabaseNow() + LEASE}
    if not rows.filter(_due(), outcome=Revocation.Outcome.PENDING).update(**ours, attempts=F("attempts") + 1):
        return Revocation.Outcome.PENDING
    row.refresh_from_db(using=alias, fields=["attempts", "connection"])
    try:
        return _finish(row, held, _attempt(row))
    except OAuthFlowsError as error:
        return _not_now(row, held, failure=error.code, wait=getattr(error, "retry_after", None))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        # A row that nobody expected must not keep the others from being worked off.
        logger.error("oauth_flows.internal_error", extra={"revocation": str(row.pk), "error": type(error).__name__})
        return _not_now(row, held, failure="internal_error", wait=None)


def take_secret(token: Token, name: str) -> Secret | None:
    """Return the column opened, for its way into a ``Revocation``; if no key opens it now, as it is, with its row's id."""
    try:
        return token.open(name)
    except DecryptionError:
        # No token holds a blank: by one it is known, later, that this has to be opened yet.
        return Secret(f"{token.pk} {getattr(token, name).value}")


def revoke_at_provider(
    provider: Provider, parameters: Mapping[str, str], secrets: Mapping[str, Secret | None]
) -> Revocation.Outcome:
    """Send the revocation requests for one grant. RFC 7009 §2.1; for OAuth 1.0a a signed POST, where there is a place for it.

    With the client's secret from before a change where the new one is refused. Raises :class:`TokenEndpointError` and
    :class:`RequestBlocked` when the provider refused or could not be reached.
    """
    registration = provider.registration(parameters)
    return with_either_secret(
        provider,
        registration,
        lambda client: _revoke(client, secrets),
        authenticates=registration.dialect.revocation_authentication == "client",
    )


def _revoke(registration: ClientRegistration, secrets: Mapping[str, Secret | None]) -> Revocation.Outcome:
    flow = flow_for(registration)
    results: list[RevocationResult] = []
    if isinstance(flow, OAuth1Flow):
        if token := secrets.get("access_token"):
            results.append(flow.revoke(Credentials(access_token=token, token_secret=secrets.get("token_secret"))))
    else:
        key = secrets.get("dpop_key")
        if token := secrets.get("refresh_token"):
            results.append(flow.revoke(token, hint="refresh_token", dpop_key=key))
        if token := secrets.get("access_token"):
            results.append(flow.revoke(token, hint="access_token", dpop_key=key))
    revoked = any(result.outcome == "revoked" for result in results)
    return Revocation.Outcome.REVOKED if revoked or not results else Revocation.Outcome.UNSUPPORTED


def _attempt(row: Revocation) -> Revocation.Outcome:
    if row.configuration_fingerprint != row.provider.fingerprint(row.parameters):
        raise ConfigurationError("The provider's endpoints or client were changed since.", code="provider_changed")
    secrets = {name: _open(row, name) for name in SECRETS}
    if is_shared(_former_connection(row)):
        return Revocation.Outcome.NOT_REVOKED_SHARED  # somebody has connected the account since
    return revoke_at_provider(row.provider, row.parameters, secrets)


def _open(row: Revocation, name: str) -> Secret | None:
    """Open one column; also what :func:`take_secret` had to leave closed."""
    secret = row.open(name)
    token_id, blank, sealed = secret.reveal().partition(" ") if secret else ("", "", "")
    if not blank:
        return secret
    token = Token(id=uuid.UUID(token_id), connection=_former_connection(row), **{name: Ciphertext(sealed)})
    return token.open(name)


def _former_connection(row: Revocation) -> Connection:
    """Return an unsaved connection that says whose grant it was."""
    return Connection(
        provider=row.provider,
        owner_model=row.owner_model,
        owner_id=row.owner_id,
        subject=row.subject,
        parameters=row.parameters,
    )


def _finish(row: Revocation, held: QuerySet[Revocation], outcome: Revocation.Outcome, *, failure: str = "") -> str:
    blank: dict[str, Any] = dict.fromkeys(SECRETS)
    done = held.update(
        outcome=outcome,
        last_failure=failure,
        finished_at=DatabaseNow(),
        lease_owner=None,
        lease_expires_at=None,
        **blank,
    )
    if done and row.connection_id is not None:
        _tell(row.connection_id, outcome, using=held.db)
    row.outcome = outcome
    return str(outcome)


def _tell(connection_id: uuid.UUID, outcome: Revocation.Outcome, *, using: str) -> None:
    """Note in the history how it ended, if the connection is still there: it may be deleted at any time."""
    connection = Connection.objects.using(using).filter(pk=connection_id).first()
    if connection is None:
        return
    with suppress(IntegrityError), transaction.atomic(using=using):
        record(ConnectionEvent.Kind.REVOCATION_FINISHED, connection, outcome=outcome, using=using)


def _not_now(row: Revocation, held: QuerySet[Revocation], *, failure: str, wait: int | None) -> str:
    """Postpone, or give up after too many attempts."""
    if row.attempts >= MAX_ATTEMPTS:
        return _finish(row, held, Revocation.Outcome.FAILED, failure=failure)
    backoff = min(FIRST_RETRY * 2 ** (row.attempts - 1), LAST_RETRY)
    delay = max(backoff, timedelta(seconds=wait or 0))
    held.update(next_attempt_at=DatabaseNow() + delay, last_failure=failure, lease_owner=None, lease_expires_at=None)
    return str(Revocation.Outcome.PENDING)


def _rows() -> QuerySet[Revocation]:
    return Revocation.objects.using(router.db_for_write(Revocation))


def _due() -> Q:
    ready = Q(next_attempt_at=None) | Q(next_attempt_at__lte=DatabaseNow())
    free = Q(lease_expires_at=None) | Q(lease_expires_at__lt=DatabaseNow())
    return ready & free
