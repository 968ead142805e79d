"""Paste tokens you already have; the form forgets them as soon as they are sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.auth import get_user_model
from django.utils.translation import gettext_lazy as _

from django_oauth_flows import flows
from django_oauth_flows.exceptions import OAuthFlowsError
from django_oauth_flows.models import Connection, Provider

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser


def _token_field(label: Any, help_text: Any = "") -> forms.CharField:
    widget = forms.PasswordInput({"autocomplete": "new-password", "class": "vTextField"})
    return forms.CharField(
        label=label, required=False, strip=True, max_length=20_000, widget=widget, help_text=help_text
    )


class ImportForm(forms.Form):
    """What ``flows.import_connection`` takes."""

    provider = forms.ModelChoiceField(Provider.objects.all(), label=_("Provider"))
    owner = forms.CharField(label=_("User name of the owner"), max_length=254)
    access_token = _token_field(_("Access token"))
    token_secret = _token_field(_("Token secret"), _("OAuth 1.0a only."))
    refresh_token = _token_field(_("Refresh token"), _("OAuth 2 only, if there is one."))
    expires_at = forms.DateTimeField(
        label=_("Access token expires at"),
        required=False,
        help_text=_("Leave blank if you do not know. Format: 2030-12-31 23:59"),
    )
    scopes = forms.CharField(
        label=_("Granted scopes"), required=False, help_text=_("Separated by spaces; blank for the provider's.")
    )
    subject = forms.CharField(label=_("Account id at the provider"), required=False, max_length=255)
    label = forms.CharField(label=_("Account name"), required=False, max_length=255)

    def clean_owner(self) -> AbstractBaseUser:
        """Find the user."""
        user_model = get_user_model()
        found = user_model._default_manager.filter(**{user_model.USERNAME_FIELD: self.cleaned_data["owner"]}).first()
        if found is None:
            raise forms.ValidationError(_("There is no such user."))
        return found

    def store(self, *, actor: Any) -> Connection | None:
        """Import; on a refusal put it on the form and return None."""
        values = dict(self.cleaned_data)
        provider, owner = values.pop("provider"), values.pop("owner")
        scopes = values.pop("scopes").split() or None
        subject = values.pop("subject") or None
        try:
            return flows.import_connection(provider, owner, scopes=scopes, subject=subject, actor=actor, **values)
        except OAuthFlowsError as error:
            self.add_error(None, f"{error.message} {error.hint}")
            return None
