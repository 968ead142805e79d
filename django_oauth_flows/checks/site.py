"""The site around us: environment, cookies, middleware, routing, logging, time."""

from __future__ import annotations

import http.client
import logging
import os
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.core.checks import Error, Warning  # noqa: A004 - Django's own name
from django.db import connections, router
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve, reverse
from django.utils import translation
from django.utils.module_loading import import_string

from django_oauth_flows import logs
from django_oauth_flows.checks.settings import configured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.checks import CheckMessage
    from django.urls import ResolverMatch

INSECURE = "OAUTHLIB_INSECURE_TRANSPORT"
LAX = ("OAUTHLIB_RELAX_TOKEN_SCOPE", "OAUTHLIB_STRICT_TOKEN_TYPE", "OAUTHLIB_IGNORE_SCOPE_CHANGE")

NEEDED = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
)

FRAMING = (
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "csp.middleware.CSPMiddleware",
)
"""Any of these can forbid framing."""


def check_environment(**_: Any) -> list[CheckMessage]:
    """Report oauthlib's process-wide switches: we do not obey them, other code may."""
    messages: list[CheckMessage] = []
    if os.environ.get(INSECURE):
        unset = f"Remove {INSECURE} from the environment; a provider on this machine is marked as internal instead."
        if settings.DEBUG:
            said = f"{INSECURE} is set: other code in this process may accept plain http for every provider."
            messages.append(Warning(said, hint=unset, id="oauth_flows.W003"))
        else:
            said = f"{INSECURE} is set in production: other code in this process may send tokens over plain http."
            messages.append(Error(said, hint=unset, id="oauth_flows.E013"))
    for name in LAX:
        if os.environ.get(name):
            said = f"{name} is set; django-oauth-flows decides by itself and ignores it, other code may obey."
            messages.append(Warning(said, hint=f"Remove {name} from the environment.", id="oauth_flows.W003"))
    return messages


def check_cookies(**_: Any) -> list[CheckMessage]:
    """Find session cookies that the redirect from a provider would not bring back, or that other sites may use."""
    lax = 'Write: SESSION_COOKIE_SAMESITE = "Lax"'
    policy = str(settings.SESSION_COOKIE_SAMESITE)
    if policy.lower() in ("none", "false"):
        said = "SESSION_COOKIE_SAMESITE lets other sites send requests with your users' sessions."
        return [Warning(said, hint=lax, id="oauth_flows.W004")]
    if policy.lower() == "strict":
        said = "SESSION_COOKIE_SAMESITE = 'Strict': a user who comes back from a provider arrives without a session."
        return [Warning(said, hint=lax, id="oauth_flows.W005")]
    return []


def check_deployment(**_: Any) -> list[CheckMessage]:
    """Find what makes the browser cookie or the redirect URI lose https in production."""
    messages: list[CheckMessage] = []
    if not settings.SESSION_COOKIE_SECURE:
        said = "SESSION_COOKIE_SECURE is not set: the session that starts and finishes a connection travels over http."
        messages.append(Warning(said, hint="Write: SESSION_COOKIE_SECURE = True", id="oauth_flows.W006"))
    behind_https = str(configured().get("BASE_URL", "")).startswith("https:") or settings.USE_X_FORWARDED_HOST
    if behind_https and not settings.SECURE_PROXY_SSL_HEADER:
        said = "SECURE_PROXY_SSL_HEADER is not set: if TLS ends at a proxy, cookies lose their Secure flag."
        hint = (
            'Write: SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https"), and let the proxy strip that header from '
            'clients; if TLS ends in this process: SILENCED_SYSTEM_CHECKS = ["oauth_flows.W007"]'
        )
        messages.append(Warning(said, hint=hint, id="oauth_flows.W007"))
    return messages


def check_storage(**_: Any) -> list[CheckMessage]:
    """Name the guarantees that the place where sessions or tokens are kept cannot give."""
    messages: list[CheckMessage] = []
    if settings.SESSION_ENGINE.endswith("signed_cookies"):
        said = "Sessions are kept in cookies: a copy of one is as good after a logout, and can finish or undo a connection."
        hint = 'Write: SESSION_ENGINE = "django.contrib.sessions.backends.db"'
        messages.append(Warning(said, hint=hint, id="oauth_flows.W015"))
    if "locmem" in _session_cache():
        said = "Sessions are kept in one process's memory: a callback that another process gets has no session."
        hint = "Name a shared cache in SESSION_CACHE_ALIAS, or keep sessions in the database."
        messages.append(Warning(said, hint=hint, id="oauth_flows.W015"))
    database = connections[router.db_for_write(apps.get_model("oauth_flows", "Token"))]
    if database.vendor == "sqlite":
        said = (
            "Tokens are kept in SQLite: one refresh at a time holds for the processes of one host only, and none is possible "
            "inside a transaction that has written."
        )
        hint = "Use PostgreSQL or MariaDB; if one host is all there is: SILENCED_SYSTEM_CHECKS = ['oauth_flows.W016']"
        messages.append(Warning(said, hint=hint, id="oauth_flows.W016"))
    return messages


def _session_cache() -> str:
    """Return the backend of the cache that holds sessions, "" if none does."""
    if not settings.SESSION_ENGINE.endswith((".cache", ".cached_db")):
        return ""
    return str(settings.CACHES.get(settings.SESSION_CACHE_ALIAS, {}).get("BACKEND", "")).lower()


def check_middleware(**_: Any) -> list[CheckMessage]:
    """Find missing protection of the pages."""
    installed = list(_middleware())
    messages: list[CheckMessage] = [
        Error(
            f"{path.rpartition('.')[2]} is missing from MIDDLEWARE.",
            hint=f'Write: MIDDLEWARE = [..., "{path}"]',
            id="oauth_flows.E014",
        )
        for path in NEEDED
        if not _covers(installed, path)
    ]
    if not any(_covers(installed, path) for path in FRAMING):
        said = "Nothing in MIDDLEWARE forbids other sites to frame your pages: a hidden click can confirm a connection."
        messages.append(Error(said, hint=f'Write: MIDDLEWARE = [..., "{FRAMING[0]}"]', id="oauth_flows.E015"))
    return messages


def check_callback(**_: Any) -> list[CheckMessage]:
    """Find a redirect URI that leads nowhere, elsewhere, or into the request's transaction."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    include = 'path("oauth/", include("django_oauth_flows.urls"))'
    with translation.override(settings.LANGUAGE_CODE):
        try:
            path = reverse("oauth_flows:callback", args=["check"])
        except NoReverseMatch:
            hint = (
                f"Write in {settings.ROOT_URLCONF}: {include}; if users never connect here (imported tokens only): "
                'SILENCED_SYSTEM_CHECKS = ["oauth_flows.E016"]'
            )
            return [Error("The callback has no URL: nobody can connect.", hint=hint, id="oauth_flows.E016")]
        try:
            match: ResolverMatch | None = resolve("/" + path.removeprefix(get_script_prefix()))
        except Resolver404:
            match = None
    if match is None or match.view_name != "oauth_flows:callback":
        said = f"Another URL pattern answers the callback {path}."
        return [Error(said, hint=f"Put {include} before it.", id="oauth_flows.E017")]
    return list(_atomic(match))


def check_logging(**_: Any) -> list[CheckMessage]:
    """Find loggers at DEBUG in production that print what we send; our filter redacts them, copies of it may not."""
    if settings.DEBUG:
        return []
    names = sorted({*logs.SIGNING, *logs.CARRYING})
    loud = [name for name in names if logging.getLogger(name).getEffectiveLevel() <= logging.DEBUG]
    messages: list[CheckMessage] = []
    if loud:
        hint = 'Write: LOGGING["loggers"]["{}"] = {{"level": "INFO"}}'.format(loud[0].partition(".")[0])
        said = f"These loggers are at DEBUG in production, and print requests and answers: {', '.join(loud)}."
        messages.append(Warning(said, hint=hint, id="oauth_flows.W008"))
    if http.client.HTTPConnection.debuglevel > 0:
        said = "http.client.HTTPConnection.debuglevel is set: other code's requests are printed with their headers."
        hint = "Remove the line that sets http.client.HTTPConnection.debuglevel."
        messages.append(Warning(said, hint=hint, id="oauth_flows.W008"))
    return messages


def check_time(**_: Any) -> list[CheckMessage]:
    """Find naive moments: the database tells its time in UTC, and Django would read that as the site's local time."""
    if settings.USE_TZ:
        return []
    said = "USE_TZ is not True: expiry and leases are moments in UTC, and would be off by the site's UTC offset."
    return [Error(said, hint="Write: USE_TZ = True", id="oauth_flows.E020")]


def _middleware() -> Iterator[Any]:
    for path in settings.MIDDLEWARE:
        try:
            yield import_string(path)
        except ImportError:
            continue  # Django says so when it starts


def _covers(installed: list[Any], path: str) -> bool:
    """Tell whether ``path`` or a subclass of it is installed."""
    try:
        wanted = import_string(path)
    except ImportError:
        return False
    return any(isinstance(found, type) and issubclass(found, wanted) for found in installed)


def _atomic(match: ResolverMatch) -> Iterator[CheckMessage]:
    from django_oauth_flows.models import Token

    alias = router.db_for_write(Token)
    exempt: set[str] = getattr(match.func, "_non_atomic_requests", set())
    if connections.settings[alias].get("ATOMIC_REQUESTS") and alias not in exempt:
        yield Error(
            f"The callback runs inside the request's transaction on {alias!r}: an error after the provider's answer would undo it.",
            hint=f'Wrap your callback view: django.db.transaction.non_atomic_requests(using="{alias}")(view)',
            id="oauth_flows.E018",
        )
