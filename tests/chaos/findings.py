"""After the campaign: bring every row to rest, and compare what is stored with what the provider knows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django_oauth_flows import flows
from django_oauth_flows.exceptions import OAuthFlowsError, ReauthorizationRequiredError
from django_oauth_flows.models import Connection, ConnectionEvent, Token

if TYPE_CHECKING:
    from tests.chaos.campaign import Row
    from tests.chaos.scripted import Remote

TRIES = 8
"""Calls until a row has to have come to rest, each after the wait that the one before has asked for."""

Reason = Connection.Reason


@dataclass(slots=True)
class Findings:
    """How the grants have ended."""

    alive: int = 0
    lost: int = 0  # the provider has ended the grant, or does not know the stored token
    reported: int = 0  # of these, those whose connection says `outcome_unknown`
    violations: list[str] = field(default_factory=list)


def come_to_rest(rows: list[Row], remote: Remote) -> list[str]:
    """Call for each row until it is answered; those that failed last come first. Return the complaints."""
    complaints = []
    time.sleep(1.2)  # leases and tokens of a second have ended
    for row in sorted(rows, key=lambda row: -row.failures):
        remote.ask("script_grant", row.number, ())
        ends = _last_call(row)
        if ends not in ("refreshed", "needs_reauthorization"):
            complaints.append(f"row {row.number}: no rest, {ends}")
    return complaints


def _last_call(row: Row) -> str:
    for _ in range(TRIES):
        row.attempts += 1
        try:
            flows.access_token(Connection(pk=row.connection_id))
        except ReauthorizationRequiredError:
            return "needs_reauthorization"
        except OAuthFlowsError as error:
            ends = error.code
            time.sleep(min(getattr(error, "retry_after", None) or 1, 20))
        else:
            return "refreshed"
    return ends


def compare(rows: list[Row], remote: Remote, *, grace: bool) -> Findings:
    """Judge every row at rest. With a grace window nothing may be lost; without one, every loss has to be reported."""
    findings = Findings()
    truth = remote.ask("truth")
    for row in rows:
        grant, presented, late = truth[row.number]
        token = Token.objects.select_related("connection").get(connection=row.connection_id)
        connection, stored = token.connection, token.open("refresh_token")
        known = stored is not None and grant.alive and grant.refresh.get(stored.reveal()) == 0
        state = f"{connection.status} {connection.reason}".strip()
        told = ConnectionEvent.objects.filter(connection=connection, kind=ConnectionEvent.Kind.NEEDS_REAUTHORIZATION)
        marks = list(told.values_list("outcome", flat=True))
        complaint = ""
        if known:
            findings.alive += 1
            complaint = "" if (state, marks) == ("active", []) else f"is alive, but says {state}, told {marks}"
        else:
            findings.lost += 1
            is_reported = (state, marks) == (f"reauthorization_required {Reason.OUTCOME_UNKNOWN}", ["outcome_unknown"])
            findings.reported += is_reported
            when = "" if late is None else f", its token came {late:.1f} s after it was rotated"
            complaint = f"is lost{when}" if grace else "" if is_reported else f"is lost, but says {state}, told {marks}"
        if presented > 2 * row.attempts:
            complaint += f" was presented {presented} times in {row.attempts} attempts"
        if complaint:
            findings.violations.append(f"row {row.number}: {complaint.strip()}")
    findings.violations += _asked_again(rows, remote)
    return findings


def _asked_again(rows: list[Row], remote: Remote) -> list[str]:
    """Call once more for what needs its user: nothing may be sent."""
    marked = set(Connection.objects.exclude(status=Connection.Status.ACTIVE).values_list("pk", flat=True))
    asked = [row for row in rows if row.connection_id in marked]
    before = remote.ask("truth")
    for row in asked:
        _last_call(row)
    after = remote.ask("truth")
    return [f"row {row.number}: asked again" for row in asked if after[row.number][1] != before[row.number][1]]
