"""What each field of the provider form is, for who sees it the first time; the model says it of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django import forms

HELP: Mapping[str, Any] = {
    "name": _("What users see on their page of connected accounts."),
    "protocol": _("Nearly every service speaks OAuth 2; some old ones only 1.0a."),
    "token_endpoint_auth_method": _("How the site proves to the service that it is this client."),
    "authorization_response_iss_parameter_supported": _(
        "RFC 9207: the service names itself in each answer; one without its name is then refused."
    ),
    "authorization_endpoint": _("Where users consent. Blank for a service that knows client credentials alone."),
    "token_endpoint": _("Where codes and refresh tokens become access tokens; it receives the client secret."),
    "revocation_endpoint": _("RFC 7009: where tokens are ended when somebody disconnects. Blank if there is none."),
    "userinfo_endpoint": _("Where the service says whose account a token belongs to."),
    "api_base_url": _("What the addresses of API calls begin with; tokens go to its host."),
    "identity_source": _("Where the account's id and name are read from when somebody connects."),
    "subject_path": _(
        "Where in that document the account's id is, such as “sub” or “data.user.id”. Never an e-mail address."
    ),
    "label_path": _("Where in that document the name is by which people know the account."),
    "unique_subject": _("Refuse an account that somebody else on this site has connected."),
    "scope_separator": _("What stands between scopes; a blank nearly everywhere."),
    "code_challenge_method": _("RFC 7636: proves that who brings the code is who asked for it. Leave it at S256."),
    "response_mode": _("How the answer comes back to this site."),
    "signature_method": _("OAuth 1.0a: how requests are signed."),
    "signature_placement": _("OAuth 1.0a: where the signature stands in a request."),
    "realm": _("OAuth 1.0a: only if the service's documentation names one."),
    "client_secret_expires_at": _("If the service's secrets expire: staff are warned before."),
    "cleared": _("What is ticked is deleted when you save."),
    "refresh_token_lifetime": _("Seconds after which users have to connect again, however often the token was used."),
    "refresh_token_idle_lifetime": _("Seconds after which an unused refresh token dies; it is used in good time."),
    "rotates_refresh_token": _("Whether each refresh gives a new refresh token. Unknown is safe."),
    "stale_refresh_budget": _("Seconds that a call may spend on refreshing a token that still works."),
    "refresh_deadline": _("Seconds after which a refresh is given up, and tried again later."),
    "lease_duration": _("Seconds for which one worker alone may refresh a token; more than the deadline."),
    "request_deadline": _("Seconds for any other request to the service."),
    "revocation_effect": _("What else ends at the service when one token is revoked. Unknown is safe."),
    "ca_bundle": _("File with the certificates of a private authority. Blank for the usual ones."),
}


def explain(fields: Mapping[str, forms.Field]) -> None:
    """Add the explanation to each field that has none of its own."""
    for name, text in HELP.items():
        if name in fields and not fields[name].help_text:
            fields[name].help_text = text
