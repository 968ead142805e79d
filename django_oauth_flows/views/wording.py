"""What the error pages say to users: the cause in plain words, and the next step. Staff find the rest under the code."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from django.utils.translation import gettext_lazy as _

from django_oauth_flows.exceptions import ConfigurationError, RequestBlocked

if TYPE_CHECKING:
    from django.utils.functional import _StrOrPromise as StrOrPromise

    from django_oauth_flows.exceptions import OAuthFlowsError


class Explanation(NamedTuple):
    """What one page says. ``again``: starting once more may help, so the page offers it."""

    message: StrOrPromise
    hint: StrOrPromise
    again: bool = True


_AGAIN = _("Start again.")
_ASK_STAFF = _("Tell the site's staff; the number below helps them to find the cause.")
_UNUSABLE_ANSWER = Explanation(
    _("The service's answer was not usable, so nothing was connected."),
    _("Start again. If it happens again, tell the site's staff the number below."),
)
_OTHER_BROWSER = _(
    "Connecting has to be finished in the browser in which it was started, by the user who started it, within the same login."
)

MISCONFIGURED = Explanation(_("This service is not set up correctly on this site."), _ASK_STAFF, again=False)
UNREACHABLE = Explanation(
    _("The service did not answer, or could not be reached."), _("Nothing was changed. Try again in a few minutes.")
)

EXPLANATIONS: dict[str, Explanation] = {
    "access_denied": Explanation(_("You cancelled, or did not give your consent."), _("Nothing was connected.")),
    "account_in_use": Explanation(
        _("Another user of this site has already connected this account."),
        _("Disconnect it there first, or choose another account at the service."),
    ),
    "authorization_failed": Explanation(_("The account could not be connected."), _AGAIN),
    "connection_paused": Explanation(
        _("You have paused this account, so this site makes no use of it."),
        _("Resume it on the page of your connected accounts, then come back."),
        again=False,
    ),
    "decrypt_failed": Explanation(_("Stored access data can no longer be read."), _ASK_STAFF, again=False),
    "device_authorization_failed": Explanation(
        _("The service gave out no code to be entered on another device."),
        _("Connect in this browser if you can, or tell the site's staff the number below."),
    ),
    "device_code_expired": Explanation(_("The code was not entered in time."), _AGAIN),
    "identity_unavailable": Explanation(
        _("The service did not say which account this is, so nothing was connected."),
        _("Start again. If it happens again, tell the site's staff the number below."),
    ),
    "issuer_mismatch": Explanation(
        _("The answer came from another service than the one you were sent to, so it was not used."),
        _("Start again. If it happens again, tell the site's staff the number below."),
    ),
    "not_allowed": Explanation(
        _("You may not connect this account."), _("Ask whoever it is to belong to."), again=False
    ),
    "outcome_unknown": Explanation(
        _("The service's answer was lost on the way."),
        _("Connect once more: the service may have given access, but this site never learnt of it."),
    ),
    "paused": Explanation(
        _("This site's staff have paused this service."), _("Nothing is lost. Try again later."), again=False
    ),
    "provider_changed": Explanation(_("The site's staff changed this service's settings while you were away."), _AGAIN),
    "provider_disabled": Explanation(
        _("This service accepts no new connections on this site."),
        _("Existing connections are not affected."),
        again=False,
    ),
    "provider_error": Explanation(_("The service refused."), _("Start again, or ask the service why.")),
    "provider_mismatch": Explanation(_("The answer belongs to another service, so it was not used."), _AGAIN),
    "scope_not_allowed": Explanation(
        _("A permission was asked for that this site does not use with this service."), _ASK_STAFF, again=False
    ),
    "session_mismatch": Explanation(_("This was not started in this browser and login."), _OTHER_BROWSER),
    "state_expired": Explanation(_("It took longer than ten minutes."), _AGAIN),
    "state_missing": Explanation(_("This address is incomplete: it does not say what it belongs to."), _AGAIN),
    "state_unknown": Explanation(_("What this address belongs to is not known here, or no longer."), _AGAIN),
    "state_used": Explanation(
        _("This was already finished, here or in another window."), _("Look at your connected accounts first.")
    ),
    "ticket_invalid": Explanation(
        _("This link is not valid, or no longer."), _("Ask for a new link where you got it."), again=False
    ),
    "too_many_starts": Explanation(
        _("You have started this very often just now."), _("Wait a minute, then start once more."), again=False
    ),
    "user_mismatch": Explanation(
        _("This was started by another user than the one who is logged in now."),
        _("Start again as the user you are logged in as, or log in as the other user first."),
    ),
}
EXPLANATIONS["details_not_allowed"] = EXPLANATIONS["scope_not_allowed"]
EXPLANATIONS |= dict.fromkeys(
    (
        "bad_response", "bad_token", "callback_not_confirmed", "duplicate_parameter", "invalid_code", "issuer_missing",
        "par_failed", "provider_redirect", "token_mismatch", "token_type_unsupported", "unexpected_response", "verifier_missing",
        "id_token_invalid", "id_token_missing", "signed_response_invalid", "userinfo_mismatch",
    ),
    _UNUSABLE_ANSWER,
)  # fmt: skip
EXPLANATIONS |= dict.fromkeys(("keys_unavailable", "provider_unreachable", "token_unavailable"), UNREACHABLE)
EXPLANATIONS |= dict.fromkeys(("clock_refused", "cannot_persist"), MISCONFIGURED)

EVENTS: dict[str, StrOrPromise] = {
    "authorized": _("Connected."),
    "reauthorized": _("Connected once more: a new permission has replaced the old one."),
    "imported": _("Taken over from elsewhere by this site's staff."),
    "shared": _("Connected although somebody else on this site has connected the same account."),
    "needs_reauthorization": _("The service asks for you: it has to be reconnected."),
    "recovered": _("It works again, without your doing."),
    "revoked": _("Disconnected: this site has forgotten its access."),
    "revocation_finished": _("The service was told."),
    "transferred": _("Given to another owner."),
    "paused": _("Paused: this site makes no use of it."),
    "resumed": _("Resumed."),
}
"""What has happened with a connection, by the kind of its event."""

REVOCATIONS: dict[str, StrOrPromise] = {
    "pending": _("The service had not been told yet."),
    "revoked": _("The service has taken the access back."),
    "unsupported": _("The service has no place where it could be told."),
    "failed": _("The service did not take the access back."),
    "not_revoked_shared": _("The permission at the service was left in place, because another connection uses it."),
}
"""How disconnecting went at the service, by outcome."""

BROKEN = Explanation(
    _("Something went wrong on our side."),
    _("Try again in a moment. If it happens again, tell the site's staff the number below."),
)


def explain(error: OAuthFlowsError) -> tuple[str, Explanation]:
    """Return the code to show and its explanation.

    Why a request was blocked, or whether it was, is for the log alone: a page that tells closed ports from forbidden
    addresses is a map of the inner network.
    """
    if isinstance(error, RequestBlocked):
        return "provider_unreachable", UNREACHABLE
    if error.code in EXPLANATIONS:
        return error.code, EXPLANATIONS[error.code]
    if isinstance(error, ConfigurationError):
        return error.code, MISCONFIGURED
    return error.code, Explanation(error.message, error.hint)
