"""What makes a disconnect immediate, complete and harmless to others."""

from __future__ import annotations

from tests.contract.mutants.base import Change, mutant

DISCONNECT = "security/test_disconnect.py::"
COMMANDS = "surfaces/test_commands.py::"

DISCONNECTING = (
    mutant(
        "D03", "a provider that is down is told later", "flows/revocations.py",
        'return _not_now(row, held, failure=error.code, wait=getattr(error, "retry_after", None))',
        "return _finish(row, held, Revocation.Outcome.FAILED, failure=error.code)",
        DISCONNECT + "test_a_provider_that_is_down_delays_only_its_own_part",
    ),
    mutant(
        "D03", "retries are bounded", "flows/revocations.py", "if row.attempts >= MAX_ATTEMPTS:", "if False:",
        DISCONNECT + "test_retries_are_bounded",
    ),
    mutant(
        "D03", "nobody comes back sooner than asked to", "flows/revocations.py",
        "delay = max(backoff, timedelta(seconds=wait or 0))", "delay = backoff",
        DISCONNECT + "test_a_provider_that_says_when_to_come_back_is_not_asked_before",
    ),
    mutant(
        "D04", "the refresh token is revoked first", "flows/revocations.py",
        'results.append(flow.revoke(token, hint="refresh_token", dpop_key=key))',
        'results.append(flow.revoke(secrets["access_token"], hint="access_token"))\n'
        '            results.append(flow.revoke(token, hint="refresh_token", dpop_key=key))\n'
        "            return Revocation.Outcome.REVOKED",
        DISCONNECT + "test_the_refresh_token_goes_first_and_an_unknown_token_is_a_success",
    ),
    mutant(
        "D04", "what a provider does not support is not called revoked", "flows/revocations.py",
        "return Revocation.Outcome.REVOKED if revoked or not results else Revocation.Outcome.UNSUPPORTED",
        "return Revocation.Outcome.REVOKED",
        DISCONNECT + "test_an_unsupported_token_type_is_unsupported",
    ),
    mutant(
        "D05", "a revocation under way is left to its worker", "flows/revocations.py",
        "if not rows.filter(_due(), outcome=Revocation.Outcome.PENDING).update(",
        "if not rows.filter(outcome=Revocation.Outcome.PENDING).update(",
        DISCONNECT + "test_a_revocation_under_way_is_not_sent_by_a_second_worker",
    ),
    mutant(
        "D06", "what is disconnected has no token and is not served", "flows/snapshot.py",
        "if connection.status == Connection.Status.REVOKED:", "if False:",
        DISCONNECT + "test_a_session_held_elsewhere_stops_with_the_next_request",
        also=(Change("flows/revoking.py", "    _token_of(connection).delete()\n", ""),),
    ),
    mutant(
        "D06", "a request that is sent again asks for its token again", "protocol/session.py",
        "again = Use(self._source, *self._source.current())", "again = Use(self._source, use.registration, use.credentials)",
        "protocol/test_sessions.py::test_a_request_that_is_sent_again_is_authenticated_anew",
    ),
    mutant(
        "D07", "no late revocation ends what was connected meanwhile", "flows/revocations.py",
        "if is_shared(_former_connection(row)):", "if False:",
        "flows/test_revocations.py::test_a_late_revocation_does_not_end_what_was_connected_meanwhile",
    ),
    mutant(
        "D07", "a disconnect spares those who stand on the same grant", "flows/revoking.py",
        "revocation = _take_token(present, allowed=not shared, reason=Revocation.Reason.DISCONNECTED, at_once=at_once)",
        "revocation = _take_token(present, allowed=True, reason=Revocation.Reason.DISCONNECTED, at_once=at_once)",
        DISCONNECT + "test_a_bystander_on_the_same_grant_is_not_hurt_and_is_told_before",
        also=(Change("flows/revocations.py", "if is_shared(_former_connection(row)):", "if False:"),),
    ),
    mutant(
        "D08", "a connection that is deleted is revoked first", "flows/leaving.py",
        'pre_delete.connect(end_connection, sender=Connection, dispatch_uid="oauth_flows.leaving.connection")', "pass",
        "flows/test_leaving.py::test_a_connection_that_is_deleted_is_revoked_first",
    ),
    mutant(
        "D08", "a user who is deleted takes their connections along", "flows/leaving.py",
        "pre_delete.connect(end_connections_of, sender=model, dispatch_uid=uid)", "pass",
        "flows/test_leaving.py::test_a_user_deleted_through_a_proxy_leaves_nothing_behind",
    ),
    mutant(
        "D08", "a deactivated user's connection is not served", "flows/snapshot.py",
        "if not _owner_is_active(connection):", "if False:",
        "flows/test_owners.py::test_a_users_own_connection_stops_with_the_user",
    ),
    mutant(
        "D09", "an incident stops the serving at once", "management/commands/revoke_connections.py",
        "Provider.objects.filter(pk=provider.pk).update(paused=True)", "pass",
        "surfaces/test_incidents.py::test_an_incident_killed_midway_goes_on_where_it_was_and_serves_nothing_meanwhile",
        COMMANDS + "test_an_incident_ends_everything_at_one_provider",
    ),
    mutant(
        "D09", "an incident spares the provider", "management/commands/revoke_connections.py",
        "sleep(max(0.0, began + pause - monotonic()))", "sleep(0)",
        COMMANDS + "test_an_incident_spares_the_provider",
    ),
    mutant(
        "D09", "a dry run changes nothing", "management/commands/revoke_connections.py",
        'if options["dry_run"]:', "if False:",
        COMMANDS + "test_an_incident_ends_everything_at_one_provider",
    ),
)  # fmt: skip
