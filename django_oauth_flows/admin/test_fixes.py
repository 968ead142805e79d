"""What to do about a step of a test that has failed: the cause in plain words, and the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from django.utils.translation import gettext as _

from django_oauth_flows.admin import wording
from django_oauth_flows.protocol.client_auth import WITH_SECRET

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_oauth_flows.models import Provider


class Fix(NamedTuple):
    """What happened, and what to do."""

    said: str
    do: str


def fix_for(step: dict[str, Any], provider: Provider) -> Fix:
    """Return the fix for a failed ``step`` of a report."""
    for applies, fix in _FIXES:
        if applies(step):
            return fix(step, provider)
    return _unknown(step, provider)


def _is(*codes: str) -> Callable[[dict[str, Any]], bool]:
    def applies(step: dict[str, Any]) -> bool:
        return step["code"] in codes or step.get("error") in codes

    return applies


def _suspects(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda step: step.get("suspect") == name


def _certificate(_step: dict[str, Any], _provider: Provider) -> Fix:
    return Fix(
        _("The service's TLS certificate was not accepted, so nothing was sent."),
        _(
            "Check the address. If the service uses a private authority, give its certificate under “CA bundle”; else its "
            "certificate has expired, or is for another name."
        ),
    )


def _clock(step: dict[str, Any], provider: Provider) -> Fix:
    """Name beside the clock what its refusal would mean otherwise: some services put up with more than others."""
    do = _("Set this server's clock by NTP. If it is right already, the service's is wrong: tell them.")
    if step["code"] in ("invalid_client", "bad_response", "provider_error"):
        do = f"{do} {fix_for({**step, 'suspect': ''}, provider).do}".strip()
    return Fix(_("The clocks of the service and of this site do not agree."), do)


def _secret(_step: dict[str, Any], provider: Provider) -> Fix:
    said = _("The service does not accept the client's id or secret.")
    if provider.protocol == provider.Protocol.OAUTH1:
        return Fix(said, _what_a_signature_depends_on(provider))
    if provider.token_endpoint_auth_method not in WITH_SECRET:
        return Fix(said, _how_the_client_is_known(provider))
    return Fix(
        said,
        _(
            "Paste the client secret anew, without blanks around it, and compare the client id (%(client_id)s). If both are "
            "right, choose another client authentication; it is now: %(method)s."
        )
        % {"client_id": provider.client_id, "method": provider.get_token_endpoint_auth_method_display()},
    )


def _how_the_client_is_known(provider: Provider) -> str:
    return _(
        "Compare the client id (%(client_id)s), and whether the service expects this client to authenticate as it does: "
        "%(method)s. Where that is by a key or a certificate, the service needs the public half of the present one."
    ) % {"client_id": provider.client_id, "method": provider.get_token_endpoint_auth_method_display()}


def _what_a_signature_depends_on(provider: Provider) -> str:
    """Name the redirect URI as well: it is signed, and a plain 401 may be meant for it."""
    return _(
        "Paste the client secret anew, without blanks around it, and compare the client id (%(client_id)s) and the signature "
        "method (%(method)s). If all are right, register exactly the redirect URI above at the service: some refuse another "
        "one in the same way."
    ) % {"client_id": provider.client_id, "method": provider.get_signature_method_display()}


def _redirect_uri(_step: dict[str, Any], _provider: Provider) -> Fix:
    return Fix(
        _("The service does not accept the redirect URI."),
        _("Register exactly the redirect URI above at the service: scheme, host, path and the slash at the end count."),
    )


def _code(_step: dict[str, Any], _provider: Provider) -> Fix:
    return Fix(
        _("The service refused the code that it had just given."),
        _(
            "Register exactly the redirect URI above at the service: scheme, host, path and the slash at the end count. If "
            "it is the same, look whether the service knows PKCE as it is set here, and whether the client is of the right kind."
        ),
    )


def _scope(_step: dict[str, Any], provider: Provider) -> Fix:
    return Fix(
        _("The service does not grant one of the scopes."),
        _("Allow the scopes for this client at the service, or take out those that it does not know: %(scopes)s.")
        % {"scopes": " ".join(provider.scopes)},
    )


def _missing_scopes(step: dict[str, Any], _provider: Provider) -> Fix:
    return Fix(
        _("The service granted less than was asked for. Missing: %(scopes)s.")
        % {"scopes": ", ".join(step.get("missing", ()))},
        _(
            "Allow these scopes for the client at the service, and tick them on its consent page; or take them out of the "
            "default scopes if the site does without."
        ),
    )


def _denied(_step: dict[str, Any], _provider: Provider) -> Fix:
    return Fix(
        _("You cancelled, or the service says you did not consent."),
        _("Test again and allow it. If you did, the service may want its staff to approve the client first."),
    )


def _unreachable(_step: dict[str, Any], _provider: Provider) -> Fix:
    return Fix(
        _("The service did not answer, or could not be reached."),
        _("Check the addresses, and whether this server may connect to them: a firewall, or a proxy that is not set."),
    )


def _address(_step: dict[str, Any], _provider: Provider) -> Fix:
    return Fix(
        _("There is nothing at this address of the service."),
        _("Compare the addresses with those in the service's documentation, letter by letter."),
    )


def _not_sent(step: dict[str, Any], provider: Provider) -> Fix:
    return _unreachable(step, provider) if provider.authorization_endpoint else without_browser()


def without_browser() -> Fix:
    """Say of a provider without a page to send a browser to how to try it instead."""
    return Fix(
        _("This service has no page to send a browser to."),
        _(
            "Where users enter a code on another device, connect an account of yours on the page of connected accounts. "
            "Where the site has access of its own, use it once: the health of this provider shows how that went."
        ),
    )


def _issuer(_step: dict[str, Any], provider: Provider) -> Fix:
    return Fix(
        _("The answer names another issuer than the one configured, or none."),
        _("Compare the issuer exactly (%(issuer)s), and whether the service sends it in callbacks.")
        % {"issuer": provider.issuer or "-"},
    )


def _identity(_step: dict[str, Any], _provider: Provider) -> Fix:
    return Fix(
        _("The service did not say which account this is."),
        _("Check under “Account identity” where the account's id is found, and whether a scope is needed to see it."),
    )


def _base_url(_step: dict[str, Any], _provider: Provider) -> Fix:
    return Fix(
        _("The site does not know its own public address."),
        'OAUTH_FLOWS = {"BASE_URL": "https://your.site"}',
    )


def _id_token(_step: dict[str, Any], _provider: Provider) -> Fix:
    return Fix(
        _("The service's ID token cannot be trusted, or is missing."),
        _("Compare issuer, client id and key set; without OpenID Connect, take “openid” out of the default scopes."),
    )


def _unknown(step: dict[str, Any], _provider: Provider) -> Fix:
    said = str(wording.REFUSALS.get(step["code"]) or _("This step has failed. The docs explain the code."))
    return Fix(f"{said} {step['text']}" if step.get("text") else said, "")


_FIXES: tuple[tuple[Callable[[dict[str, Any]], bool], Callable[[dict[str, Any], Provider], Fix]], ...] = (
    (_suspects("tls"), _certificate),
    (_suspects("clock"), _clock),
    (_is("clock_refused", "timestamp_refused"), _clock),
    (_is("redirect_uri_mismatch"), _redirect_uri),
    (_is("invalid_scope"), _scope),
    (_is("invalid_client", "unauthorized_client", "consumer_key_unknown", "consumer_key_rejected"), _secret),
    (_is("signature_invalid", "decrypt_failed"), _secret),
    (_is("invalid_grant"), _code),
    (_is("missing_scopes"), _missing_scopes),
    (_is("access_denied"), _denied),
    (_is("issuer_missing", "issuer_mismatch"), _issuer),
    (_is("identity_unavailable", "userinfo_mismatch"), _identity),
    (_is("id_token_invalid", "id_token_missing", "keys_unavailable"), _id_token),
    (_is("base_url_required"), _base_url),
    (_is("endpoint_not_allowed"), _not_sent),
    (_is("provider_unreachable", "outcome_unknown", "host_not_allowed"), _unreachable),
    (_suspects("redirect_uri"), _redirect_uri),
    (_suspects("client"), _secret),
    (_suspects("scope"), _scope),
    (_suspects("address"), _address),
)
"""The first that applies."""
