"""Paste tokens you already have; the form forgets them as soon as they are sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin.helpers import AdminForm
from django.contrib.auth import get_user_model
from django.utils.translation import gettext_lazy as _

from django_oauth_flows import flows
from django_oauth_flows.admin import wording
from django_oauth_flows.admin.json_field import StorableJSONField
from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.models import Connection, Provider
from django_oauth_flows.models.provider_rules import odd_scopes, open_parameters
from django_oauth_flows.protocol.placeholders import fill

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.contrib.auth.base_user import AbstractBaseUser

FIELD_OF_REFUSAL = {"token_secret_required": "token_secret"}
"""Where a refusal belongs that is about one field."""


def _token_field(label: Any, help_text: Any = "", *, required: bool = False) -> forms.CharField:
    widget = forms.PasswordInput({"autocomplete": "new-password", "class": "vTextField"})
    return forms.CharField(
        label=label, required=required, strip=True, max_length=20_000, widget=widget, help_text=help_text
    )


def _text_field(label: Any, help_text: Any = "", *, required: bool = False, max_length: int = 255) -> forms.CharField:
    widget = forms.TextInput({"class": "vTextField"})
    return forms.CharField(label=label, required=required, max_length=max_length, widget=widget, help_text=help_text)


class ImportForm(forms.Form):
    """What ``flows.import_connection`` takes."""

    provider = forms.ModelChoiceField(Provider.objects.all(), label=_("Provider"))
    owner = _text_field(_("User name of the owner"), required=True, max_length=254)
    access_token = _token_field(_("Access token"), required=True)
    token_secret = _token_field(_("Token secret"), _("OAuth 1.0a only."))
    refresh_token = _token_field(_("Refresh token"), _("OAuth 2 only, if there is one."))
    expires_at = forms.DateTimeField(
        label=_("Access token expires at"),
        required=False,
        help_text=_("Leave blank if you do not know. Format: 2030-12-31 23:59"),
    )
    scopes = _text_field(_("Granted scopes"), _("Separated by spaces; blank for the provider's."), max_length=4000)
    subject = _text_field(_("Account id at the provider"))
    label = _text_field(_("Account name"))
    parameters = StorableJSONField(
        label=_("Parameters"),
        required=False,
        initial=dict,
        widget=forms.Textarea({"class": "vLargeTextField", "rows": 3}),
        help_text=_('Values for the placeholders in the provider\'s addresses, as JSON: {"shop": "example"}'),
    )

    def laid_out(self, model_admin: ModelAdmin[Any]) -> AdminForm:
        """Return the form as Django's admin renders forms."""
        return AdminForm(self, [(None, {"fields": list(self.fields)})], {}, model_admin=model_admin)  # type: ignore[arg-type]

    def clean_owner(self) -> AbstractBaseUser:
        """Find the user."""
        user_model = get_user_model()
        found = user_model._default_manager.filter(**{user_model.USERNAME_FIELD: self.cleaned_data["owner"]}).first()
        if found is None:
            raise forms.ValidationError(_("There is no such user."))
        return found

    def clean_scopes(self) -> list[str]:
        """Split, and refuse what no service can have granted."""
        scopes: list[str] = self.cleaned_data["scopes"].split()
        if odd_scopes(scopes):
            raise forms.ValidationError(_("A scope is printable ASCII without quotes and backslashes (RFC 6749 §3.3)."))
        return scopes

    def clean_parameters(self) -> dict[str, str]:
        """Demand texts by name."""
        values: Any = self.cleaned_data["parameters"]
        if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
            raise forms.ValidationError(_("Must be an object whose values are texts."))
        return values

    def clean(self) -> dict[str, Any] | None:
        """Demand a usable value for every placeholder that staff have left open on the provider, and no other."""
        cleaned = super().clean() or {}
        if (provider := cleaned.get("provider")) and "parameters" in cleaned:
            names, values = open_parameters(provider), cleaned["parameters"]
            try:
                fill("".join(f"{{{name}}}" for name in names), values)
            except ValueError as problem:
                self.add_error("parameters", str(problem))
            if set(values) - set(names):
                message = _("The provider's addresses have these placeholders: %(names)s.")
                self.add_error("parameters", message % {"names": ", ".join(names) or "-"})
        return cleaned

    def store(self, *, actor: Any) -> Connection | None:
        """Import; on a refusal put it on the form and return None."""
        values = dict(self.cleaned_data)
        provider, owner = values.pop("provider"), values.pop("owner")
        scopes = values.pop("scopes") or None
        subject = values.pop("subject") or None
        try:
            return flows.import_connection(provider, owner, scopes=scopes, subject=subject, actor=actor, **values)
        except OAuthFlowsError as error:
            self.add_error(FIELD_OF_REFUSAL.get(error.code), wording.refusal(error))
            return None
