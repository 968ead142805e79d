"""What the admin's messages say: outcomes and refusals in words, in the language of the page."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from django.contrib import messages
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_oauth_flows.models import Revocation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django_oauth_flows.exceptions import OAuthFlowsError

Outcome = Revocation.Outcome

REFUSALS = {
    "account_in_use": gettext_lazy("Another owner has already connected this account."),
    "disconnected": gettext_lazy("This connection is disconnected: its user has to connect again."),
    "not_renewable": gettext_lazy(
        "This connection cannot be renewed without its user; it works until its token expires or is refused."
    ),
    "connection_paused": gettext_lazy("The connection is paused: its owner can resume it."),
    "paused": gettext_lazy("The connection or its provider is paused."),
    "provider_unreachable": gettext_lazy("The service did not answer. Try again in a few minutes."),
    "reauthorization_required": gettext_lazy("Only its user can mend this connection, by connecting again."),
    "token_invalid": gettext_lazy("A token is printable ASCII of at most 16 kB: paste it without a scheme or quotes."),
    "token_secret_required": gettext_lazy("OAuth 1.0a needs the token's secret as well."),
    "token_secret_unexpected": gettext_lazy(
        "A token secret belongs to OAuth 1.0a, a refresh token to OAuth 2: leave out what this provider does not have."
    ),
    "token_unavailable": gettext_lazy("No new token can be had just now. Try again shortly; nothing is lost."),
}
"""The refusals that staff meet in everyday work, by code; the others speak for themselves."""


DANGERS = {
    "no_pkce": gettext_lazy("without PKCE"),
    "internal": gettext_lazy("internal"),
    "endpoint_audience": gettext_lazy("assertions for an endpoint"),
    "plaintext": gettext_lazy("PLAINTEXT signatures"),
    "raw_basic_auth": gettext_lazy("unencoded client credentials"),
    "plain_pkce": gettext_lazy("PKCE without a hash"),
    "secrets_in_query": gettext_lazy("secrets in the query"),
    "unverified_id_tokens": gettext_lazy("unverified ID tokens"),
}
"""Dangerous settings of a provider, in the list of providers."""


STATES = {
    "active": gettext_lazy("active"),
    "paused": gettext_lazy("paused"),
    "reauthorization_required": gettext_lazy("needs to be reconnected"),
    "revoked": gettext_lazy("disconnected"),
}
"""How a connection stands, its status and its switch in one word."""


REFRESHES = {
    "refreshed": gettext_lazy("refreshed"),
    "needs_reauthorization": gettext_lazy("needs to be reconnected"),
}
"""What became of refreshes; the rest are error codes, which the docs explain."""


GOOD = {
    "refreshed": gettext_lazy("refreshed"),
    "adopted": gettext_lazy("another worker refreshed it just now"),
}
"""How a refresh ends well, by code."""


def refreshed(outcomes: Counter[str]) -> tuple[str, int]:
    """Sum up a bulk refresh, with the level of its message."""
    good = sum(outcomes[code] for code in GOOD)
    bad = {code: count for code, count in outcomes.most_common() if code not in GOOD and count}
    said = ngettext("%(count)d connection refreshed.", "%(count)d connections refreshed.", good) % {"count": good}
    if not bad:
        return said, messages.SUCCESS
    failed = ngettext("%(count)d was not", "%(count)d were not", sum(bad.values())) % {"count": sum(bad.values())}
    return f"{said} {failed} ({'; '.join(f'{code}: {count}' for code, count in bad.items())}).", messages.WARNING


def disconnected_by_outcome(outcomes: Counter[str]) -> tuple[str, int]:
    """Sum up a bulk disconnection that is complete."""
    known = Counter({code: outcomes[code] for code in Outcome.values if outcomes[code]})
    return disconnected(known, left=0)


def refusal(error: OAuthFlowsError) -> str:
    """Say why something was refused."""
    return str(REFUSALS.get(error.code) or f"{error.message} {error.hint}")


def outcome_label(outcome: str) -> str:
    """Return what a revocation's outcome is called."""
    return str(Outcome(outcome).label)


def disconnected(outcomes: Iterable[str] | Counter[str], *, left: int) -> tuple[str, int]:
    """Sum up a bulk disconnection, with the level of its message; ``left`` are those there was no time for."""
    counted = Counter(outcomes)
    total = counted.total()
    ended = ngettext("%(count)d connection disconnected", "%(count)d connections disconnected", total)
    ended %= {"count": total}
    if counted:
        ended += f" ({'; '.join(f'{outcome_label(outcome)}: {n}' for outcome, n in counted.most_common())})"
    said = [f"{ended}."]
    if counted[Outcome.PENDING]:
        said.append(_("What is still to be done is retried by manage.py prune_oauth_flows."))
    if left:
        more = ngettext(
            "%(count)d is still connected: run the action again.", "%(count)d are still connected: run the action again.", left
        )  # fmt: skip
        said.append(more % {"count": left})
    incomplete = left or counted[Outcome.PENDING] or counted[Outcome.FAILED]
    return " ".join(said), messages.WARNING if incomplete else messages.SUCCESS
