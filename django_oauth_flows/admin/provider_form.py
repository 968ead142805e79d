"""The provider form: secrets go in and never come out, and cannot be sent elsewhere by who does not know them."""

from __future__ import annotations

import hmac
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django import forms
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_oauth_flows.admin.draining import live_connections
from django_oauth_flows.admin.json_field import StorableJSONField
from django_oauth_flows.admin.provider_fieldsets import CREDENTIALS, SECRET_FIELDS
from django_oauth_flows.admin.provider_help import explain
from django_oauth_flows.exceptions import ConfigurationError, DecryptionError
from django_oauth_flows.models import Provider
from django_oauth_flows.models.provider_rules import CREDENTIALED_ENDPOINTS
from django_oauth_flows.protocol.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

NEW = _("It is encrypted at once, and never shown again.")
KEEP = _("Leave blank to keep what is stored.")


def _secret_field(label: Any, *, help_text: Any = KEEP, multiline: bool = False) -> forms.CharField:
    attributes = {"autocomplete": "new-password", "spellcheck": "false"}
    widget = (
        forms.Textarea({**attributes, "rows": 6})
        if multiline
        else forms.PasswordInput({**attributes, "class": "vTextField"})
    )
    return forms.CharField(label=label, required=False, strip=True, widget=widget, help_text=help_text)


class _Unrepeated(forms.Textarea):
    """A text area that forgets what was typed, so that an error page does not show it."""

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        return super().get_context(name, None, attrs)


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    """Edit a provider; the sealed columns have write-only fields of their own."""

    new_client_secret = _secret_field(_("Client secret"))
    previous_until = forms.DateTimeField(
        label=_("Present secret is tried until"),
        required=False,
        widget=forms.DateTimeInput({"type": "datetime-local"}),
        help_text=_(
            "When you enter another client secret: until then the present one is tried where the new one is refused. Leave "
            "blank if the service no longer accepts it."
        ),
    )
    new_private_key = _secret_field(_("Private key (PEM)"), multiline=True)
    new_client_certificate = _secret_field(_("Client certificate with its key (PEM)"), multiline=True)
    new_proxy = _secret_field(
        _("Proxy URL"), help_text=_("For this provider only. Leave blank to keep what is stored.")
    )
    cleared = forms.MultipleChoiceField(
        label=_("Remove stored secrets"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=[
            ("client_secret", _("client secret")),
            ("second_client_secret", _("client secret from before the last change")),
            ("private_key", _("private key")),
            ("client_certificate", _("client certificate")),
            ("proxy", _("proxy URL")),
        ],
    )
    current_client_secret = _secret_field(
        _("Present client secret"),
        help_text=_(
            "Only needed to change the host of an address that receives secrets, or to replace a secret that connections "
            "use: prove that you know it."
        ),
    )

    class Meta:
        model = Provider
        fields = "__all__"  # noqa: DJ007 - the sealed columns are not editable
        _json = ("api_hosts", "delegated_calls", "parameters", "dialect", "scope_descriptions")
        field_classes = dict.fromkeys(_json, StorableJSONField)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("new_private_key", "new_client_certificate"):
            self.fields[name].widget = _Unrepeated({"rows": 6, "autocomplete": "off", "spellcheck": "false"})
        explain(self.fields)
        if self.instance._state.adding:
            for name in SECRET_FIELDS:
                self.fields[name].help_text = NEW
        self.before = Provider.objects.filter(pk=self.instance.pk).first()

    def clean_new_private_key(self) -> str:
        """Refuse what cannot sign; no message repeats what was entered."""
        # cryptography is loaded by those who sign, not by every page of the admin.
        from django_oauth_flows.protocol.keys import public_jwk, sign_rsa

        entered: str = self.cleaned_data["new_private_key"]
        if entered and self.cleaned_data.get("protocol") == Provider.Protocol.OAUTH2:
            try:
                public_jwk(Secret(entered))
            except (ConfigurationError, ValueError):
                raise forms.ValidationError(
                    _("This is not an unencrypted RSA, EC or Ed25519 key in PEM: paste it whole, from BEGIN to END.")
                ) from None
            return entered
        try:
            if entered:
                sign_rsa(Secret(entered), "SHA256", "")
        except (ConfigurationError, ValueError):
            raise forms.ValidationError(
                _("This is not an unencrypted RSA key in PEM: paste it whole, from BEGIN to END.")
            ) from None
        return entered

    def clean_new_client_certificate(self) -> str:
        """Refuse what no handshake can show; no message repeats what was entered."""
        from django_oauth_flows.protocol.certificates import expires_at

        entered: str = self.cleaned_data["new_client_certificate"]
        try:
            if entered:
                expires_at(Secret(entered))
        except ConfigurationError:
            raise forms.ValidationError(
                _("Paste the certificate, those above it and its unencrypted private key, all in PEM.")
            ) from None
        return entered

    def clean_new_proxy(self) -> str:
        """Refuse what is not the URL of an HTTP proxy; no message repeats what was entered: it may hold a password."""
        entered: str = self.cleaned_data["new_proxy"]
        if entered and not _is_proxy(entered):
            raise forms.ValidationError(_("This is not the URL of an HTTP proxy: http://proxy.internal:3128"))
        return entered

    def clean(self) -> dict[str, Any] | None:
        """Ask for the stored secret when it, or users' tokens, would go to another host, or it is to be another one."""
        cleaned = super().clean() or {}
        if cleaned.get("previous_until") and not cleaned.get("new_client_secret"):
            self.add_error(
                "previous_until", _("This is about the change to another client secret: enter that one, too.")
            )
            return cleaned
        if self.before is None or self._knows_secret(cleaned):
            return cleaned
        if cleaned.get("previous_until") and cleaned.get("new_client_secret"):
            # Whoever chooses the new one could otherwise have the old one sent somewhere.
            self.add_error("current_client_secret", _("Enter the present client secret to go on using it as well."))
            return cleaned
        live = live_connections(self.before).count()
        if moved := list(self._moved(cleaned)):
            message = ngettext(
                "%(fields)s would send secrets to another host; %(count)d connection uses this provider. "
                "Enter the present client secret to confirm.",
                "%(fields)s would send secrets to another host; %(count)d connections use this provider. "
                "Enter the present client secret to confirm.",
                live,
            )
            self.add_error("current_client_secret", message % {"fields": ", ".join(moved), "count": live})
        elif live and self._replaces_secret(cleaned):
            message = ngettext(
                "%(count)d connection uses this provider. Enter the present client secret to replace or remove it.",
                "%(count)d connections use this provider. Enter the present client secret to replace or remove it.",
                live,
            )
            self.add_error("current_client_secret", message % {"count": live})
        return cleaned

    def save(self, commit: bool = True) -> Provider:
        """Seal what was entered, blank what was to be removed; new credentials end the alarm about the old ones.

        What staff have just changed is tried at once, however often it has failed before.
        """
        self.instance.failure_count, self.instance.circuit_open_until = 0, None
        if self.cleaned_data.get("new_client_secret"):
            self.instance.second_client_secret = self.instance.second_client_secret_expires_at = None
            if until := self.cleaned_data.get("previous_until"):
                with suppress(DecryptionError):  # what nobody can read, nobody can go on using
                    self.instance.keep_client_secret(until=until)
        self._seal()
        moved = self.before is not None and any(self._moved(self.cleaned_data))
        if moved or "second_client_secret" in self.cleaned_data.get("cleared", ()):
            self.instance.second_client_secret = self.instance.second_client_secret_expires_at = None
        if any(self.cleaned_data.get(field) for field, _column in CREDENTIALS):
            self.instance.alarm, self.instance.alarm_at = "", None
        saved: Provider = super().save(commit)
        return saved

    def _seal(self) -> None:
        for field, column in SECRET_FIELDS.items():
            if value := self.cleaned_data.get(field):
                self.instance.seal(column, Secret(value))
            elif column in self.cleaned_data.get("cleared", ()):
                setattr(self.instance, column, None)
            else:
                continue
            if column == "private_key":  # what a rotation would go over to has been overtaken
                self.instance.next_private_key = self.instance.next_private_key_at = None

    def _replaces_secret(self, cleaned: dict[str, Any]) -> bool:
        """Tell whether a secret comes or goes: who may choose another one would know it, and could then move a host."""
        return any(cleaned.get(field) or column in cleaned.get("cleared", ()) for field, column in CREDENTIALS)

    def _moved(self, cleaned: dict[str, Any]) -> Iterator[str]:
        assert self.before is not None  # noqa: S101 - the caller has checked
        was, will_be = self.before.parameters, cleaned.get("parameters", self.before.parameters)
        for name in CREDENTIALED_ENDPOINTS:
            if _origin(_filled(cleaned.get(name, ""), will_be)) != _origin(_filled(getattr(self.before, name), was)):
                yield str(self.fields[name].label)
        known = {_filled(host, was) for host in _hosts(self.before.api_hosts)}
        if {_filled(host, will_be) for host in _hosts(cleaned.get("api_hosts"))} - known:
            yield str(self.fields["api_hosts"].label)
        if _dialect_hosts(cleaned.get("dialect"), will_be) - _dialect_hosts(self.before.dialect, was):
            yield str(self.fields["dialect"].label)
        # Who chooses the way, and whom to believe on it, need not change where it leads.
        if cleaned.get("new_proxy"):
            yield str(self.fields["new_proxy"].label)
        if cleaned.get("ca_bundle", self.before.ca_bundle) != self.before.ca_bundle:
            yield str(self.fields["ca_bundle"].label)

    def _knows_secret(self, cleaned: dict[str, Any]) -> bool:
        """Tell whether the form repeats the stored secret; a provider without one has nothing to prove it with."""
        assert self.before is not None  # noqa: S101 - the caller has checked
        try:
            stored = next(filter(None, (self.before.open(column) for _field, column in CREDENTIALS)), None)
        except DecryptionError:
            return True  # nobody can send what nobody can read
        if stored is None:
            return not live_connections(self.before).exists()
        given = cleaned.get("current_client_secret") or ""
        return hmac.compare_digest(_without_blanks(given), _without_blanks(stored.reveal()))


def _without_blanks(secret: str) -> bytes:
    """Return what a password input leaves of a secret of several lines, such as a PEM."""
    return "".join(secret.split()).encode()


def _hosts(value: Any) -> set[str]:
    """Return the hosts in a JSON value; whatever else it can hold is refused by the model."""
    return {host for host in value if isinstance(host, str)} if isinstance(value, list) else set()


def _dialect_hosts(dialect: Any, values: Any) -> set[tuple[str, str]]:
    """Return what the dialect says of who may receive secrets: its endpoints' origins, and the patterns of API hosts."""
    from django_oauth_flows.protocol.dialect import Dialect

    try:
        read = Dialect.from_json(dialect)
    except (ValueError, TypeError):
        return set()  # refused by the model
    return {
        *(_origin(_filled(url, values)) for url in read.endpoints.values()),
        *(("", p) for p in read.api_host_patterns),
    }


def _is_proxy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        return False


def _filled(template: Any, values: Any) -> str:
    """Return an endpoint or host as staff have filled it in; a placeholder that is left to users stays."""
    text = str(template)
    for name, value in values.items() if isinstance(values, dict) else ():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def _origin(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", url
    return (parts.scheme, parts.netloc.lower()) if url else ("", "")
