"""How the site is told of what happens: mails to owners, the webhook, metrics."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.core.checks import Error, Info, Warning  # noqa: A004 - Django's own name

from django_oauth_flows import notices
from django_oauth_flows.checks.settings import configured, listed, text
from django_oauth_flows.conf import DEFAULTS
from django_oauth_flows.protocol.secret import Secret
from django_oauth_flows.protocol.urls import check_endpoint
from django_oauth_flows.protocol.webhooks import secret_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.checks import CheckMessage

LIBRARIES = {"opentelemetry": "opentelemetry", "prometheus": "prometheus_client"}
"""What ``METRICS`` may name, and the module that has to be there for it."""

MAKE_SECRET = (
    "python -c \"import base64, secrets; print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\""
)


def check_webhook(**_: Any) -> list[CheckMessage]:
    """Find a webhook that could not be called, or whose messages could not be signed."""
    url = text("WEBHOOK_URL")
    return [*_address(url), *_secrets()] if url else []


def check_metrics(**_: Any) -> list[CheckMessage]:
    """Find metrics libraries that are unknown, or not installed."""
    return list(_metrics())


def check_mails(**_: Any) -> list[CheckMessage]:
    """Remind of the sender without which owners are not told that a connection needs them."""
    if not configured().get("OWNER_MAILS", DEFAULTS["OWNER_MAILS"]) or notices.is_configured():
        return []
    return [
        Info(
            "Owners are not told by e-mail when a connection needs them: DEFAULT_FROM_EMAIL is not set.",
            hint='Write: DEFAULT_FROM_EMAIL = "Your site <noreply@your.site>", or OAUTH_FLOWS = {"OWNER_MAILS": False}',
            id="oauth_flows.I010",
        )
    ]


def _address(url: str) -> Iterator[CheckMessage]:
    try:
        check_endpoint(url, internal=configured().get("WEBHOOK_INTERNAL") is True)
    except ValueError as problem:
        hint = 'Write: OAUTH_FLOWS = {"WEBHOOK_URL": "https://your.site/hook"}'
        yield Error(f"OAUTH_FLOWS['WEBHOOK_URL'] cannot be used: {problem}.", hint=hint, id="oauth_flows.E030")


def _secrets() -> Iterator[CheckMessage]:
    secrets = listed("WEBHOOK_SECRETS")
    hint = f'Make one: {MAKE_SECRET}; then write OAUTH_FLOWS = {{"WEBHOOK_SECRETS": [os.environ["WEBHOOK_SECRET"]]}}'
    if not secrets:
        yield Error("OAUTH_FLOWS['WEBHOOK_SECRETS'] is empty: nothing can be signed.", hint=hint, id="oauth_flows.E031")
    for position, secret in enumerate(secrets):
        try:
            secret_key(Secret(secret))
        except ValueError as problem:
            place = f"OAUTH_FLOWS['WEBHOOK_SECRETS'][{position}]"
            yield Error(f"{place} cannot be used: {problem}.", hint=hint, id="oauth_flows.E031")


def _metrics() -> Iterator[CheckMessage]:
    for name in listed("METRICS"):
        if name not in LIBRARIES:
            hint = f"Known: {', '.join(LIBRARIES)}."
            yield Error(f"OAUTH_FLOWS['METRICS'] has an unknown name: {name!r}.", hint=hint, id="oauth_flows.E032")
        elif find_spec(LIBRARIES[name]) is None:
            yield Warning(
                f"OAUTH_FLOWS['METRICS'] names {name}, which is not installed: it is told nothing.",
                hint=f"Install: pip install django-oauth-flows[{name}]",
                id="oauth_flows.W020",
            )
