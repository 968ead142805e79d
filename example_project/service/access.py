"""Who has access to a member's things: list it, issue it by hand, end it. The same for both protocols."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, RefreshToken, set_token_value
from oauthlib.common import generate_token

from example_project.service.models import Consumer, TokenCredential

if TYPE_CHECKING:
    from collections.abc import Iterable

    from example_project.service.models import Member


@dataclass(frozen=True, slots=True)
class Access:
    """One application that may act for a member; ``key`` names it in a form."""

    key: str
    name: str
    protocol: str
    since: datetime
    scopes: tuple[str, ...] = ()


def of_member(member: Member) -> list[Access]:
    """List the applications that can get at ``member``'s things now."""
    return [*_oauth2_access(member), *_oauth1_access(member)]


def end(member: Member, key: str) -> None:
    """Revoke every token that one application holds for ``member``."""
    protocol, _, pk = key.partition("-")
    if not pk.isdigit():
        return
    if protocol == "oauth1":
        TokenCredential.objects.filter(member=member, consumer_id=int(pk)).delete()
        return
    with transaction.atomic():
        for token in RefreshToken.objects.filter(user=member, application_id=int(pk), revoked=None):
            token.revoke()
        AccessToken.objects.filter(user=member, application_id=int(pk)).delete()


def expire(member: Member, key: str = "") -> int:
    """Let ``member``'s OAuth 2 access tokens expire now; the refresh tokens live on. Return how many there were."""
    tokens = AccessToken.objects.filter(user=member, expires__gt=timezone.now())
    if key:
        tokens = tokens.filter(application_id=int(key.removeprefix("oauth2-")))
    return tokens.update(expires=timezone.now())


def issue_oauth1(member: Member, consumer: Consumer) -> TokenCredential:
    """Make token credentials without the dance, for a script of the member's own."""
    return TokenCredential.objects.create(member=member, consumer=consumer)


def issue_oauth2(member: Member, application: Application, scopes: Iterable[str]) -> tuple[str, str]:
    """Make an access and a refresh token without the dance; return both, for they are stored as hashes only."""
    access, refresh = generate_token(), generate_token()
    lifetime = timedelta(seconds=settings.OAUTH2_PROVIDER["ACCESS_TOKEN_EXPIRE_SECONDS"])
    with transaction.atomic():
        access_row = AccessToken(
            user=member, application=application, expires=timezone.now() + lifetime, scope=" ".join(scopes)
        )
        set_token_value(access_row, access)
        access_row.save()
        refresh_row = RefreshToken(user=member, application=application, access_token=access_row)
        set_token_value(refresh_row, refresh)
        refresh_row.save()
    return access, refresh


def _oauth2_access(member: Member) -> list[Access]:
    usable = Q(refreshtoken__user=member, refreshtoken__revoked=None) | Q(
        accesstoken__user=member, accesstoken__expires__gt=timezone.now()
    )
    found = []
    for application in Application.objects.filter(usable).distinct():
        last = AccessToken.objects.filter(user=member, application=application).order_by("-created").first()
        scopes = tuple(last.scopes.values()) if last else ()
        found.append(
            Access(
                f"oauth2-{application.pk}",
                application.name,
                "OAuth 2",
                last.created if last else application.created,
                scopes,
            )
        )
    return found


def _oauth1_access(member: Member) -> list[Access]:
    consumers: dict[int, Access] = {}
    for token in TokenCredential.objects.select_related("consumer").filter(member=member).order_by("created_at"):
        consumers.setdefault(
            token.consumer_id,
            Access(
                f"oauth1-{token.consumer_id}",
                token.consumer.name,
                "OAuth 1.0a",
                token.created_at,
                ("Everything of yours",),
            ),
        )
    return list(consumers.values())
