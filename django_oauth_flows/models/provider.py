"""One authorization server and our client registration there."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from django_oauth_flows.fields import EncryptedField, ScopeField, Sealed
from django_oauth_flows.managers import ProviderManager
from django_oauth_flows.models.provider_rules import TEN_YEARS, problems
from django_oauth_flows.protocol.placeholders import placeholders

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from django_oauth_flows.models.provider_preset import Change
    from django_oauth_flows.protocol.messages import ClientRegistration
    from django_oauth_flows.protocol.secret import Secret

Seconds = models.PositiveIntegerField
AT_MOST_TEN_YEARS = MaxValueValidator(TEN_YEARS)
FROM_ONE = MinValueValidator(1)


class Provider(Sealed):
    """An authorization server, how it wants to be spoken to, and our credentials there.

    Field names follow RFC 8414 and RFC 7591 where those name the thing. Times are seconds.
    """

    class Protocol(models.TextChoices):
        OAUTH2 = "oauth2", "OAuth 2"
        OAUTH1 = "oauth1", "OAuth 1.0a"

    class AuthMethod(models.TextChoices):
        BASIC = "client_secret_basic", _("secret in the Authorization header (client_secret_basic)")
        POST = "client_secret_post", _("secret in the request body (client_secret_post)")
        SECRET_JWT = "client_secret_jwt", _("assertion signed with the secret (client_secret_jwt)")
        PRIVATE_KEY_JWT = "private_key_jwt", _("assertion signed with a private key (private_key_jwt)")
        TLS = "tls_client_auth", _("client certificate of an authority (tls_client_auth)")
        SELF_SIGNED_TLS = (
            "self_signed_tls_client_auth",
            _("client certificate of our own (self_signed_tls_client_auth)"),
        )
        NONE = "none", _("no secret: public client (none)")

    class SignatureMethod(models.TextChoices):
        HMAC_SHA1 = "HMAC-SHA1", "HMAC-SHA1"
        HMAC_SHA256 = "HMAC-SHA256", "HMAC-SHA256"
        HMAC_SHA512 = "HMAC-SHA512", "HMAC-SHA512"
        RSA_SHA1 = "RSA-SHA1", "RSA-SHA1"
        RSA_SHA256 = "RSA-SHA256", "RSA-SHA256"
        RSA_SHA512 = "RSA-SHA512", "RSA-SHA512"
        PLAINTEXT = "PLAINTEXT", "PLAINTEXT"

    class SignaturePlacement(models.TextChoices):
        HEADER = "header", _("Authorization header")
        QUERY = "query", _("URL query")
        BODY = "body", _("form body")

    class IdentitySource(models.TextChoices):
        NONE = "none", _("the provider names no account")
        USERINFO = "userinfo", _("userinfo endpoint")
        TOKEN_RESPONSE = "token_response", _("token response")
        ID_TOKEN = "id_token", _("ID token")

    class RevocationEffect(models.TextChoices):
        TOKEN = "token", _("only the presented token")
        GRANT = "grant", _("the user's whole grant")
        UNKNOWN = "unknown", _("unknown")

    class CodeChallengeMethod(models.TextChoices):
        S256 = "S256", "S256"
        PLAIN = "plain", _("plain (dangerous)")
        OFF = "", _("off (dangerous)")

    class ResponseMode(models.TextChoices):
        QUERY = "query", _("redirect with a query")
        FORM_POST = "form_post", _("posted form (form_post)")
        JWT = "jwt", _("signed answer (jwt)")
        QUERY_JWT = "query.jwt", _("redirect with a signed answer (query.jwt)")
        FORM_POST_JWT = "form_post.jwt", _("posted form with a signed answer (form_post.jwt)")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(
        _("slug"), max_length=64, unique=True, help_text=_("Part of the redirect URI; it cannot be changed later.")
    )
    name = models.CharField(_("name"), max_length=100)
    protocol = models.CharField(_("protocol"), max_length=10, choices=Protocol.choices, default=Protocol.OAUTH2)
    enabled = models.BooleanField(
        _("enabled"), default=True, help_text=_("A disabled provider accepts no new connections.")
    )
    paused = models.BooleanField(
        _("paused"), default=False, help_text=_("Kill switch: no token of this provider is served.")
    )
    preset = models.CharField(_("preset"), max_length=64, blank=True, editable=False)
    preset_version = models.PositiveIntegerField(_("preset version"), null=True, blank=True, editable=False)

    issuer = models.CharField(
        _("issuer"), max_length=500, blank=True, help_text=_("RFC 9207: compared exactly with the callback's iss.")
    )
    authorization_response_iss_parameter_supported = models.BooleanField(
        _("issuer is sent in callbacks"), default=False
    )
    authorization_endpoint = models.CharField(_("authorization endpoint"), max_length=1000, blank=True)
    token_endpoint = models.CharField(_("token endpoint"), max_length=1000)
    temporary_credential_endpoint = models.CharField(
        _("temporary credential endpoint"), max_length=1000, blank=True,
        help_text=_("OAuth 1.0a: where the request token comes from."),
    )  # fmt: skip
    pushed_authorization_request_endpoint = models.CharField(
        _("pushed authorization request endpoint"), max_length=1000, blank=True,
        help_text=_("RFC 9126: if there is one, every authorization request goes there first."),
    )  # fmt: skip
    device_authorization_endpoint = models.CharField(
        _("device authorization endpoint"), max_length=1000, blank=True,
        help_text=_("RFC 8628: if there is one, users can connect by entering a code on another device."),
    )  # fmt: skip
    offers_device_flow = models.BooleanField(
        _("offer connecting with another device"), default=False,
        help_text=_("Beside the usual way; the service must allow your client to use its device authorization endpoint."),
    )  # fmt: skip
    revocation_endpoint = models.CharField(_("revocation endpoint"), max_length=1000, blank=True)
    introspection_endpoint = models.CharField(
        _("introspection endpoint"),
        max_length=1000,
        blank=True,
        help_text=_("RFC 7662: asked how long a new token lives, where the service does not say so with the token."),
    )
    userinfo_endpoint = models.CharField(_("userinfo endpoint"), max_length=1000, blank=True)
    jwks_uri = models.CharField(
        _("key set"), max_length=1000, blank=True, help_text=_("The keys that ID tokens and signed answers are signed with."),
    )  # fmt: skip
    identity_source = models.CharField(
        _("account identity from"), max_length=20, choices=IdentitySource.choices, default=IdentitySource.NONE
    )
    subject_path = models.CharField(_("path of the account id"), max_length=200, default="sub", blank=True)
    label_path = models.CharField(_("path of the account name"), max_length=200, blank=True)
    api_base_url = models.CharField(_("API base URL"), max_length=1000, blank=True)
    api_hosts = models.JSONField(
        _("API hosts"), default=list, blank=True, help_text=_("Hosts that may receive tokens, beside the API base URL's."),
    )  # fmt: skip
    delegated_calls = models.JSONField(
        _("delegated calls"), default=list, blank=True,
        help_text=_("What front ends may call through the REST API: a list of rules such as GET /user/**."),
    )  # fmt: skip
    console_url = models.CharField(
        _("client console"), max_length=1000, blank=True, help_text=_("Where the client is registered at the provider.")
    )
    account_url = models.CharField(
        _("users' grants page"), max_length=1000, blank=True, help_text=_("Where users remove grants at the provider.")
    )

    client_id = models.CharField(_("client id"), max_length=500, help_text=_("OAuth 1.0a: the consumer key."))
    client_secret = EncryptedField(_("client secret"), context="provider.client_secret")
    client_secret_expires_at = models.DateTimeField(_("client secret expires at"), null=True, blank=True)
    second_client_secret = EncryptedField(_("second client secret"), context="provider.second_client_secret")
    second_client_secret_expires_at = models.DateTimeField(
        _("second client secret expires at"), null=True, blank=True, editable=False
    )
    private_key = EncryptedField(_("private key"), context="provider.private_key")
    next_private_key = EncryptedField(_("next private key"), context="provider.next_private_key")
    next_private_key_at = models.DateTimeField(_("next private key signs from"), null=True, blank=True, editable=False)
    client_certificate = EncryptedField(_("client certificate"), context="provider.client_certificate")
    token_endpoint_auth_method = models.CharField(
        _("client authentication"), max_length=40, choices=AuthMethod.choices, default=AuthMethod.BASIC
    )
    redirect_base_url = models.CharField(
        _("redirect base URL"),
        max_length=500,
        blank=True,
        help_text=_("Overrides OAUTH_FLOWS['BASE_URL'] for this provider's redirect URI."),
    )
    scopes = ScopeField(
        _("default scopes"), help_text=_("Requested unless the caller names others; separated by spaces.")
    )
    allowed_scopes = ScopeField(_("further allowed scopes"), help_text=_("A caller may ask for these as well."))
    required_scopes = ScopeField(
        _("required scopes"),
        help_text=_("Always asked for; owners of connections that lack one are asked to reconnect."),
    )
    scope_descriptions = models.JSONField(
        _("scopes in plain words"), default=dict, blank=True, help_text=_("Scope to text, or to texts by language.")
    )
    scope_separator = models.CharField(_("scope separator"), max_length=1, default=" ", blank=True)
    code_challenge_method = models.CharField(
        _("PKCE"), max_length=5, choices=CodeChallengeMethod.choices, default=CodeChallengeMethod.S256, blank=True
    )
    response_mode = models.CharField(
        _("response mode"), max_length=13, choices=ResponseMode.choices, default=ResponseMode.QUERY
    )
    dpop_bound_access_tokens = models.BooleanField(
        _("DPoP-bound tokens"),
        default=False,
        help_text=_("RFC 9449: new tokens are bound to a key; one that anybody could use is refused."),
    )
    tls_client_certificate_bound_access_tokens = models.BooleanField(
        _("certificate-bound tokens"),
        default=False,
        help_text=_("RFC 8705: the client certificate is shown to the API as well."),
    )
    signature_method = models.CharField(
        _("signature method"), max_length=12, choices=SignatureMethod.choices, default=SignatureMethod.HMAC_SHA1
    )
    signature_placement = models.CharField(
        _("signature placement"), max_length=6, choices=SignaturePlacement.choices, default=SignaturePlacement.HEADER
    )
    realm = models.CharField(_("realm"), max_length=200, blank=True)
    dialect = models.JSONField(
        _("dialect"), default=dict, blank=True, help_text=_("Rare deviations, as a checked JSON object.")
    )
    parameters = models.JSONField(
        _("parameters"), default=dict, blank=True, help_text=_("Values that staff fill into the placeholders of endpoints."),
    )  # fmt: skip

    access_token_lifetime = Seconds(
        _("access token lifetime"),
        null=True,
        blank=True,
        validators=[AT_MOST_TEN_YEARS],
        help_text=_("Seconds; used when the provider names none."),
    )
    learned_access_token_lifetime = Seconds(_("observed access token lifetime"), null=True, blank=True, editable=False)
    refresh_token_lifetime = Seconds(_("refresh token lifetime"), null=True, blank=True, validators=[AT_MOST_TEN_YEARS])
    refresh_token_idle_lifetime = Seconds(
        _("refresh token idle lifetime"), null=True, blank=True, validators=[AT_MOST_TEN_YEARS]
    )
    rotates_refresh_token = models.BooleanField(_("rotates refresh tokens"), null=True, blank=True)
    reuse_grace = Seconds(
        _("refresh token reuse grace"),
        null=True,
        blank=True,
        validators=[AT_MOST_TEN_YEARS],
        help_text=_("Seconds in which a rotated refresh token is still accepted."),
    )
    tokens_per_user = models.PositiveSmallIntegerField(_("live tokens per user"), null=True, blank=True, editable=False)
    refresh_margin = Seconds(
        _("refresh margin"),
        default=300,
        validators=[AT_MOST_TEN_YEARS],
        help_text=_("Seconds before expiry from which a token is refreshed early."),
    )
    stale_refresh_budget = Seconds(_("early refresh budget"), default=3, validators=[FROM_ONE, MaxValueValidator(30)])
    refresh_deadline = Seconds(_("refresh deadline"), default=10, validators=[FROM_ONE, MaxValueValidator(60)])
    lease_duration = Seconds(_("refresh lease"), default=13, validators=[FROM_ONE, MaxValueValidator(120)])
    request_deadline = Seconds(_("protocol request deadline"), default=20, validators=[FROM_ONE, MaxValueValidator(60)])
    max_concurrency = models.PositiveSmallIntegerField(
        _("concurrent refreshes"), default=8, validators=[FROM_ONE], editable=False
    )
    revocation_effect = models.CharField(
        _("revoking ends"), max_length=10, choices=RevocationEffect.choices, default=RevocationEffect.UNKNOWN
    )
    unique_subject = models.BooleanField(_("one local owner per account"), default=False)
    internal = models.BooleanField(
        _("internal"), default=False, help_text=_("Allows private addresses, and plain http to this machine.")
    )
    proxy = EncryptedField(_("proxy"), context="provider.proxy")
    ca_bundle = models.CharField(_("CA bundle"), max_length=500, blank=True)

    alarm = models.CharField(_("alarm"), max_length=40, blank=True, editable=False)
    alarm_at = models.DateTimeField(_("alarm since"), null=True, blank=True, editable=False)
    failure_count = models.PositiveIntegerField(_("failures in a row"), default=0, editable=False)
    circuit_open_until = models.DateTimeField(_("circuit open until"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    objects: ClassVar[ProviderManager] = ProviderManager()

    class Meta:
        verbose_name = _("provider")
        verbose_name_plural = _("providers")
        ordering = ("name", "slug")
        permissions = (
            ("refresh_provider", "Can refresh a provider's tokens"),
            ("test_provider", "Can test a provider"),
            ("change_internal_provider", "Can mark a provider as internal"),
        )
        constraints = (
            models.CheckConstraint(
                condition=models.Q(protocol__in=["oauth1", "oauth2"]), name="oauth_flows_provider_protocol"
            ),
            models.CheckConstraint(
                condition=models.Q(revocation_effect__in=["token", "grant", "unknown"]),
                name="oauth_flows_provider_effect",
            ),
            models.CheckConstraint(condition=~models.Q(slug=""), name="oauth_flows_provider_slug"),
        )

    def __str__(self) -> str:
        return self.name

    def sealing_parts(self) -> tuple[str, str, str, str]:
        """Bind the client's secrets to this row."""
        return str(self.pk), "", "", str(self.pk)

    @property
    def known_scopes(self) -> frozenset[str]:
        """Return every scope that may be asked for."""
        return frozenset((*self.scopes, *self.allowed_scopes, *self.required_scopes))

    @property
    def has_many_hosts(self) -> bool:
        """Return whether every connection may have a token endpoint of its own: what one does says nothing of the others."""
        return any(name not in self.parameters for name in placeholders(self.token_endpoint))

    @property
    def offers_two_ways(self) -> bool:
        """Return whether users may choose between this browser and a code for another device."""
        return self.offers_device_flow and bool(self.authorization_endpoint and self.device_authorization_endpoint)

    def clean(self) -> None:
        """Refuse a configuration that could not work or would be unsafe; errors name their field.

        ``{client_id}`` in a scope becomes the client's own, for services that take that as a scope.
        """
        for name in ("scopes", "allowed_scopes", "required_scopes"):
            scopes = getattr(self, name)
            setattr(self, name, tuple(scope.replace("{client_id}", self.client_id) for scope in scopes))
        errors: dict[str, Any] = {}
        for name, problem in problems(self):
            errors.setdefault(name, []).append(ValidationError(problem))
        if errors:
            raise ValidationError(errors)

    def registration(
        self, parameters: Mapping[str, str] | None = None, *, kept: Mapping[str, Any] | None = None
    ) -> ClientRegistration:
        """Build the protocol's frozen view of this row, with the values of one connection filled into its endpoints.

        ``kept``: what its provider has said of it, ``Token.extra``; it may decide the API base URL.

        Raise :class:`ConfigurationError` if a placeholder has no value or the dialect is not valid, and
        :class:`DecryptionError` if the client's secrets do not open.
        """
        # Only a flow needs the protocol's values; django.setup() goes without building their classes.
        from django_oauth_flows.models.provider_registration import registration

        return registration(self, parameters or {}, kept)

    def fingerprint(self, parameters: Mapping[str, str] | None = None) -> str:
        """Return the SHA-256 of what decides where a code or refresh token may go: endpoints, issuer and client.

        Raise :class:`ConfigurationError` (``provider_misconfigured``) if a placeholder has no value.
        """
        from django_oauth_flows.models.provider_registration import fingerprint

        return fingerprint(self, parameters or {})

    @classmethod
    def from_preset(
        cls,
        preset: str,
        *,
        client_id: str,
        client_secret: Secret | None = None,
        slug: str = "",
        parameters: Mapping[str, str] | None = None,
    ) -> Provider:
        """Return a row with what the catalogue's entry says, not saved: call ``full_clean()`` and ``save()``.

        ``parameters`` fill the placeholders that decide whose server it is; the others are left to the users' form.

        Raises :class:`ConfigurationError` (``preset_unknown``, ``preset_parameters``).
        """
        from django_oauth_flows.models.provider_preset import known_preset, row_from_preset

        row = row_from_preset(cls, known_preset(preset), client_id=client_id, slug=slug, parameters=parameters or {})
        if client_secret is not None:
            row.seal("client_secret", client_secret)
        return row

    def preset_changes(self) -> list[Change]:
        """Return where the row and the catalogue's entry that it was copied from differ today; nothing is changed.

        Raise :class:`ConfigurationError` (``preset_unknown``) if the entry has left the catalogue.
        """
        from django_oauth_flows.models.provider_preset import changes

        return changes(self)

    def keep_client_secret(self, *, until: datetime) -> None:
        """Keep the present client secret beside the one that is about to replace it: both are tried until then.

        Raise :class:`DecryptionError` if it does not open.
        """
        self.seal("second_client_secret", self.open("client_secret"))
        self.second_client_secret_expires_at = until
