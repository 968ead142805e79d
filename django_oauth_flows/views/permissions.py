"""What a scope allows, in the user's words where anybody has written them down."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.conf import settings
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.utils.functional import _StrOrPromise as StrOrPromise

    from django_oauth_flows.models import Provider

STANDARD: dict[str, StrOrPromise] = {
    "openid": _("know which account it is"),
    "profile": _("see your name, picture and other details of your profile"),
    "email": _("see your e-mail address"),
    "address": _("see your postal address"),
    "phone": _("see your phone number"),
    "offline_access": _("keep working while you are away"),
}
"""The scopes that mean the same at every service: OpenID Connect Core 1.0 §5.4 and §11."""


class Permission(NamedTuple):
    """One scope, and what it allows; "" where only the service knows."""

    scope: str
    description: StrOrPromise


def permissions(provider: Provider, scopes: Iterable[str]) -> list[Permission]:
    """Describe ``scopes`` as the provider's row does, else as their standard does."""
    written = provider.scope_descriptions if isinstance(provider.scope_descriptions, dict) else {}
    return [Permission(scope, _in_our_language(written.get(scope)) or STANDARD.get(scope, "")) for scope in scopes]


def _in_our_language(written: object) -> str:
    """Return a description in the user's language, else in the site's, else in any."""
    if isinstance(written, str):
        return written
    if not isinstance(written, dict):
        return ""
    wanted = [get_language() or "", settings.LANGUAGE_CODE]
    found = [written.get(name) for code in wanted for name in (code, code.partition("-")[0])]
    return next((text for text in [*found, *written.values()] if isinstance(text, str) and text), "")
