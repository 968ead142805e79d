"""What the process that started the service may ask of it, over the pipe between them and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.crypto import get_random_string
from oauth2_provider.generators import generate_client_secret
from oauth2_provider.models import AccessToken, Application, RefreshToken

from example_project.service import access
from example_project.service.clock import CLOCK
from example_project.service.keys import new_key_pair
from example_project.service.models import Consumer, Member, TemporaryCredential, TokenCredential

if TYPE_CHECKING:
    from collections.abc import Callable


def register_application(name: str, *, redirect_uris: list[str], grant: str, public: bool) -> dict[str, str]:
    """Register an OAuth 2 client; ``grant`` is ``authorization-code``, ``client-credentials`` or RFC 8628's URN."""
    secret = "" if public else generate_client_secret()
    application = Application.objects.create(
        name=name,
        redirect_uris=" ".join(redirect_uris),
        client_type=Application.CLIENT_PUBLIC if public else Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=grant,
        client_secret=secret,
        algorithm=Application.RS256_ALGORITHM,  # of its ID tokens, if it asks for any
    )
    return {"client_id": application.client_id, "client_secret": secret}


def rotate_secret(client_id: str) -> str:
    """Give an OAuth 2 client another secret; the one from before is worth nothing from now on."""
    application = Application.objects.get(client_id=client_id)
    application.client_secret = secret = generate_client_secret()
    application.save()
    return secret


def register_consumer(name: str, *, callbacks: list[str], rsa: bool) -> dict[str, str]:
    """Register an OAuth 1.0a consumer; with ``rsa``, give it a key pair."""
    keys = new_key_pair() if rsa else None
    consumer = Consumer.objects.create(
        name=name, callbacks="\n".join(callbacks), rsa_public_key=keys.public_pem if keys else ""
    )
    return {"key": consumer.key, "secret": consumer.secret, "private_key": keys.private_pem if keys else ""}


def add_member(username: str) -> dict[str, str]:
    """Add a member with a random password."""
    password = get_random_string(20)
    member = Member.objects.create_user(username, password=password, first_name=username.title())
    return {"username": username, "password": password, "account_id": member.account_id, "name": member.get_full_name()}


def issue_oauth1(username: str, *, key: str) -> dict[str, str]:
    """Make token credentials without the dance."""
    credential = access.issue_oauth1(_member(username), Consumer.objects.get(key=key))
    return {"token": credential.token, "token_secret": credential.secret}


def issue_oauth2(username: str, *, client_id: str, scopes: list[str]) -> dict[str, str]:
    """Make an access and a refresh token without the dance."""
    application = Application.objects.get(client_id=client_id)
    issued, refresh = access.issue_oauth2(_member(username), application, scopes)
    return {"access_token": issued, "refresh_token": refresh}


def expire_access_tokens(username: str) -> int:
    """Let a member's OAuth 2 access tokens expire now."""
    return access.expire(_member(username))


def end_access(username: str) -> None:
    """Revoke everything that any application holds for a member."""
    member = _member(username)
    for found in access.of_member(member):
        access.end(member, found.key)


def temporary_credentials(token: str) -> dict[str, str] | None:
    """Say for which consumer and callback the service issued temporary credentials, None if they are gone."""
    found = TemporaryCredential.objects.select_related("consumer").filter(token=token).first()
    return {"consumer": found.consumer.key, "callback": found.callback} if found else None


def live_tokens(username: str) -> dict[str, int]:
    """Count the tokens that work now, by kind."""
    member = _member(username)
    return {
        "access_tokens": sum(not token.is_expired() for token in AccessToken.objects.filter(user=member)),
        "refresh_tokens": RefreshToken.objects.filter(user=member, revoked=None).count(),
        "token_credentials": TokenCredential.objects.filter(member=member).count(),
    }


def set_clock(fast_by: int) -> None:
    """Put the service's clock wrong by so many seconds; 0 puts it right."""
    CLOCK.fast_by = fast_by


COMMANDS: dict[str, Callable[..., Any]] = {
    command.__name__: command
    for command in (
        register_application,
        rotate_secret,
        register_consumer,
        add_member,
        issue_oauth1,
        issue_oauth2,
        expire_access_tokens,
        end_access,
        temporary_credentials,
        live_tokens,
        set_clock,
    )
}


def _member(username: str) -> Member:
    return Member.objects.get(username=username)
