"""The report of a test in words: each step, how it went, and what to do about the one that failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from django_oauth_flows.admin.test_fixes import fix_for
from django_oauth_flows.models import AuthorizationRequest, Revocation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from django_oauth_flows.models import Provider

State = Literal["passed", "failed", "warned", "skipped"]

TITLES = {
    "start": gettext_lazy("Send the browser to the service"),
    "answer": gettext_lazy("Come back with an answer"),
    "tokens": gettext_lazy("Exchange the code for tokens"),
    "id_token": gettext_lazy("Verify the ID token"),
    "scopes": gettext_lazy("Compare the permissions"),
    "account": gettext_lazy("Find out whose account it is"),
    "refresh": gettext_lazy("Refresh the access token"),
    "return": gettext_lazy("Give the access back"),
}


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step as the page shows it."""

    title: str
    state: State
    said: str = ""
    fix: str = ""
    code: str = ""

    @property
    def word(self) -> str:
        """Return the state in a word: it must not be told by a colour alone."""
        words = {"passed": _("passed"), "failed": _("failed"), "warned": _("note"), "skipped": _("not reached")}
        return words[self.state]


@dataclass(frozen=True, slots=True)
class TestReport:
    """A whole test as the page shows it. ``waiting``: the browser has not come back (yet)."""

    steps: tuple[StepLine, ...]
    started_at: datetime
    passed: bool
    waiting: bool


def read_report(test: AuthorizationRequest, provider: Provider) -> TestReport:
    """Put the report of ``test``, a request of :func:`last_test`, into words."""
    done: list[dict[str, Any]] = list(test.report or ())
    waiting = test.outcome != AuthorizationRequest.Outcome.TESTED and test.taken_at is None
    lines = [_line(step, provider) for step in done]
    reached = {step["step"] for step in done}
    if waiting:
        lines.append(_not_back(test, provider))
        reached.add("answer")
    lines += [StepLine(str(title), "skipped") for step, title in TITLES.items() if step not in reached]
    passed = not waiting and all(not step["code"] for step in done) and "refresh" in reached
    return TestReport(tuple(sorted(lines, key=_position)), test.created_at, passed, waiting)


def _position(line: StepLine) -> int:
    return [str(title) for title in TITLES.values()].index(line.title)


def _line(step: dict[str, Any], provider: Provider) -> StepLine:
    title = str(TITLES[step["step"]])
    if not step["code"]:
        said, state = _success(step)
        return StepLine(title, state, said)
    fix = fix_for(step, provider)
    return StepLine(title, "failed", fix.said, fix.do, step.get("error") or step["code"])


def _not_back(test: AuthorizationRequest, provider: Provider) -> StepLine:
    """Say of a test that has not come back what most often keeps a browser at the service: its own error page."""
    is_over = test.expires_at <= timezone.now()
    said = _("The browser has not come back.") if is_over else _("The browser has not come back yet.")
    fix = _(
        "If the service showed an error such as “redirect_uri_mismatch”, the redirect URI that is registered there is "
        "another one: register exactly the one above. If it knows no such client, compare the client id (%(client_id)s). "
        "If it names a scope, take that out of the default scopes."
    )
    return StepLine(
        str(TITLES["answer"]), "failed" if is_over else "warned", said, fix % {"client_id": provider.client_id}
    )


def _success(step: dict[str, Any]) -> tuple[str, State]:
    return next(iter(_SAID[step["step"]](step)), ("", "passed")) if step["step"] in _SAID else ("", "passed")


def _said_of_tokens(step: dict[str, Any]) -> Iterator[tuple[str, State]]:
    seconds = step.get("expires_in")
    if seconds is None:
        yield _("The service does not say how long its access tokens live."), "passed"
        return
    said = ngettext("The access token lives %(count)d second.", "The access token lives %(count)d seconds.", seconds)
    yield said % {"count": seconds}, "passed"


def _said_of_id_token(step: dict[str, Any]) -> Iterator[tuple[str, State]]:
    yield ("" if step.get("present") else _("None was asked for.")), "passed"


def _said_of_account(step: dict[str, Any]) -> Iterator[tuple[str, State]]:
    subject, label = step.get("subject", ""), step.get("label", "")
    if not subject:
        yield (
            _(
                "The service names no account: each connect makes a new connection. Say where the account's id is found."
            ),
            "warned",
        )
        return
    yield _("%(label)s (id %(subject)s)") % {"label": label or _("no name"), "subject": subject}, "passed"


def _said_of_scopes(step: dict[str, Any]) -> Iterator[tuple[str, State]]:
    yield ", ".join(step.get("granted", ())) or _("None were asked for."), "passed"


def _said_of_refresh(step: dict[str, Any]) -> Iterator[tuple[str, State]]:
    if step.get("lasting"):
        yield _("OAuth 1.0a has nothing to refresh: access lasts until it is ended."), "passed"
        return
    if not step.get("present"):
        yield (
            _(
                "There is no refresh token: users connect again when their access is over. Some services want a scope for it."
            ),
            "warned",
        )
        return
    rotated = _("It works; the service gives a new refresh token each time.")
    yield (rotated if step.get("rotated") else _("It works; the refresh token stays the same.")), "passed"


def _said_of_return(step: dict[str, Any]) -> Iterator[tuple[str, State]]:
    outcome = step.get("outcome", "")
    labels = {str(value): str(label) for value, label in Revocation.Outcome.choices}
    yield labels.get(outcome, ""), ("passed" if outcome == Revocation.Outcome.REVOKED else "warned")


_SAID = {
    "tokens": _said_of_tokens,
    "id_token": _said_of_id_token,
    "account": _said_of_account,
    "scopes": _said_of_scopes,
    "refresh": _said_of_refresh,
    "return": _said_of_return,
}
