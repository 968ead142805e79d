"""App configuration."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class OAuthFlowsConfig(AppConfig):
    """Register system checks, follow deletions of owners, tell owners, and keep the protocol libraries from logging secrets."""

    name = "django_oauth_flows"
    label = "oauth_flows"
    verbose_name = _("OAuth connections")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Wire up; nothing here reads the database or the network, or imports a protocol library."""
        from django_oauth_flows import checks, logs, notices
        from django_oauth_flows.flows.leaving import connect_receivers

        checks.register_all()
        logs.protect()
        connect_receivers()
        notices.connect_receivers()
        # Loaded here, before a server forks its workers: else each one's first request would wait for them.
        import_module("django_oauth_flows.urls")
        import_module("django_oauth_flows.templatetags.oauth_flows")
