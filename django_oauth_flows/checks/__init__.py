"""System checks: misconfiguration is a message with the exact line to write, not a crash.

``oauth_flows.E…`` stop the site, ``W…`` are for a human to weigh, ``I…`` inform. The ids are stable. A check's module is
imported when the check runs: a site that only serves never loads it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.core.checks import Tags, register

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.core.checks import CheckMessage

TAG = "oauth_flows"

STATIC = (
    "settings.check_settings",
    "settings.check_keys",
    "settings.check_names",
    "telling.check_webhook",
    "telling.check_metrics",
    "site.check_environment",
    "site.check_cookies",
    "site.check_middleware",
    "site.check_callback",
    "site.check_logging",
    "site.check_time",
)

DEPLOYMENT = (
    "settings.check_deployed_keys",
    "site.check_deployment",
    "site.check_storage",
    "telling.check_mails",
)

ROWS = (
    "rows.check_providers",
    "rows.check_pairs",
    "rows.check_sealed_rows",
    "rows.check_overdue",
    "rows.check_discovered",
)


def register_all() -> None:
    """Register everything; those that read rows run only under ``check --database``."""
    for path in STATIC:
        register(_late(path), TAG)
    for path in DEPLOYMENT:
        register(_late(path), TAG, Tags.security, deploy=True)
    for path in ROWS:
        register(_late(path), Tags.database)


def _late(path: str) -> Callable[..., list[CheckMessage]]:
    module, _, name = path.partition(".")

    def check(**options: Any) -> list[CheckMessage]:
        found: Callable[..., list[CheckMessage]] = getattr(import_module(f"{__name__}.{module}"), name)
        return found(**options)

    check.__name__ = check.__qualname__ = name
    return check
