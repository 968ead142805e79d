"""The site's settings: one dict ``OAUTH_FLOWS``, read late, so that ``override_settings`` simply works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULTS: Mapping[str, Any] = {
    "API_PERMISSION_CLASSES": ("django_oauth_flows.api.base.IsActive",),
    "BASE_URL": "",
    "CA_BUNDLE": "",
    "ENCRYPTION_KEYS": (),
    "ENVIRONMENT": "default",
    "EVENT_RETENTION_DAYS": 365,
    "METRICS": (),
    "OWNER_MAILS": True,
    "OWNER_MODELS": (),
    "OWNER_POLICY": "django_oauth_flows.managers.default_owner_policy",
    "PROXY": "",
    "WEBHOOK_INTERNAL": False,
    "WEBHOOK_SECRETS": (),
    "WEBHOOK_URL": "",
}


class Settings:
    """Typed view of ``settings.OAUTH_FLOWS``."""

    __slots__ = ()

    @property
    def api_permission_classes(self) -> tuple[str, ...]:
        """Return the dotted paths of the REST API's permission classes; all of them must agree."""
        return tuple(self._get("API_PERMISSION_CLASSES"))

    @property
    def base_url(self) -> str:
        """Return the site's public origin, such as ``https://example.com``; "" to take it from the request."""
        return str(self._get("BASE_URL")).rstrip("/")

    @property
    def ca_bundle(self) -> str:
        """Return the path of a CA bundle for outbound TLS; "" for the default one."""
        return str(self._get("CA_BUNDLE"))

    @property
    def encryption_keys(self) -> tuple[str, ...]:
        """Return base64url keys of 32 bytes: the first writes, all read. Empty: derived from ``SECRET_KEY``."""
        return tuple(self._get("ENCRYPTION_KEYS"))

    @property
    def environment(self) -> str:
        """Return the deployment's name; a ciphertext of one environment does not open in another."""
        return str(self._get("ENVIRONMENT"))

    @property
    def event_retention_days(self) -> int:
        """Return for how many days connection events, webhook deliveries and refresh counts are kept."""
        return int(self._get("EVENT_RETENTION_DAYS"))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the libraries that are told of refreshes: ``opentelemetry``, ``prometheus``."""
        return tuple(self._get("METRICS"))

    @property
    def owner_mails(self) -> bool:
        """Return whether owners are told by e-mail when a connection needs them, and when it has recovered."""
        return bool(self._get("OWNER_MAILS"))

    @property
    def owner_models(self) -> tuple[str, ...]:
        """Return labels (``app.Model``) of the models besides the user that may own connections."""
        return tuple(self._get("OWNER_MODELS"))

    @property
    def owner_policy(self) -> str:
        """Return the dotted path of the callable that answers who may view, use or manage."""
        return str(self._get("OWNER_POLICY"))

    @property
    def proxy(self) -> str:
        """Return the URL of an explicit outbound proxy; "" for none. Environment variables are ignored."""
        return str(self._get("PROXY"))

    @property
    def webhook_internal(self) -> bool:
        """Return whether the webhook may have a private address, and plain http to this machine."""
        return bool(self._get("WEBHOOK_INTERNAL"))

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """Return the secrets (``whsec_…``) with which a message to the webhook is signed: each of them signs."""
        return tuple(self._get("WEBHOOK_SECRETS"))

    @property
    def webhook_url(self) -> str:
        """Return where state changes are posted to; "" for nowhere."""
        return str(self._get("WEBHOOK_URL"))

    @staticmethod
    def _get(name: str) -> Any:
        return getattr(django_settings, "OAUTH_FLOWS", {}).get(name, DEFAULTS[name])


settings = Settings()
