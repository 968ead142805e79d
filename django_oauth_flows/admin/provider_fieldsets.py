"""The provider form's fields: what a newcomer fills in first, the rest below, folded away; and those that are no columns."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

SECRET_FIELDS = {
    "new_client_secret": "client_secret",
    "new_private_key": "private_key",
    "new_client_certificate": "client_certificate",
    "new_proxy": "proxy",
}
"""Form field → sealed column."""

CREDENTIALS = [(field, column) for field, column in SECRET_FIELDS.items() if column != "proxy"]
"""What the client proves itself with."""

WRITE_ONLY = (*SECRET_FIELDS, "previous_until", "cleared", "current_client_secret")
"""Form fields that are no columns: what is entered there never comes out."""

ABOUT_WHAT_IS_STORED = ("previous_until", "cleared", "current_client_secret", "learned_access_token_lifetime")
"""Form fields that a new provider has no use for."""

FIELDSETS: Any = (
    (None, {"fields": ("name", "slug", "protocol", "enabled", "redirect_uri_to_copy")}),
    (
        _("Client"),
        {
            "fields": (
                "client_id",
                "new_client_secret",
                "previous_until",
                "new_private_key",
                "new_client_certificate",
                "token_endpoint_auth_method",
                "scopes",
                "allowed_scopes",
                "required_scopes",
                "scope_descriptions",
            )
        },
    ),
    (
        _("Endpoints"),
        {
            "fields": (
                "issuer",
                "authorization_response_iss_parameter_supported",
                "authorization_endpoint",
                "token_endpoint",
                "temporary_credential_endpoint",
                "pushed_authorization_request_endpoint",
                "device_authorization_endpoint",
                "offers_device_flow",
                "revocation_endpoint",
                "introspection_endpoint",
                "userinfo_endpoint",
                "jwks_uri",
                "api_base_url",
                "api_hosts",
                "delegated_calls",
                "current_client_secret",
            )
        },
    ),
    (_("Account identity"), {"fields": ("identity_source", "subject_path", "label_path", "unique_subject")}),
    (
        _("OAuth 1.0a"),
        {
            "classes": ("collapse",),
            "fields": ("signature_method", "signature_placement", "realm"),
        },
    ),
    (
        _("Stored secrets"),
        {
            "classes": ("collapse",),
            "fields": (
                "client_secret_expires_at",
                "cleared",
            ),
        },
    ),
    (
        _("Token life"),
        {
            "classes": ("collapse",),
            "fields": (
                "access_token_lifetime",
                "learned_access_token_lifetime",
                "refresh_token_lifetime",
                "refresh_token_idle_lifetime",
                "rotates_refresh_token",
                "reuse_grace",
                "refresh_margin",
                "revocation_effect",
            ),
        },
    ),
    (
        _("Limits"),
        {
            "classes": ("collapse",),
            "fields": (
                "stale_refresh_budget",
                "refresh_deadline",
                "lease_duration",
                "request_deadline",
            ),
        },
    ),
    (
        _("Advanced"),
        {
            "classes": ("collapse",),
            "fields": (
                "paused",
                "internal",
                "redirect_base_url",
                "code_challenge_method",
                "response_mode",
                "dpop_bound_access_tokens",
                "tls_client_certificate_bound_access_tokens",
                "scope_separator",
                "parameters",
                "dialect",
                "new_proxy",
                "ca_bundle",
                "console_url",
                "account_url",
            ),
        },
    ),
)
