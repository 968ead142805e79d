"""What keeps a refreshed token: single flight, durability, fencing, the failure policy."""

from __future__ import annotations

from tests.contract.mutants.base import mutant

REFRESH = "concurrency/test_refresh.py::"
POLICY = "flows/test_policy.py::"
LIFETIMES = "flows/test_lifetimes.py::"

REFRESHING = (
    mutant(
        "F01", "a lease that somebody holds is not taken", "flows/lease.py",
        "taken = row.filter(free(force=force)).update(", "taken = row.update(",
        REFRESH + "test_twenty_callers_send_one_refresh_and_all_get_the_new_token",
    ),
    mutant(
        "F01", "a lease that had to be waited for too long is given back", "flows/lease.py",
        "if ends - time.monotonic() < lease_seconds(snapshot.provider) / 2:", "if False:",
        "concurrency/test_doubts.py::test_a_lease_that_was_over_before_it_was_won_is_not_used", database="postgresql",
    ),
    mutant(
        "F02", "a lease that is over may be taken", "flows/lease.py",
        "unleased = Q(lease_expires_at=None) | Q(lease_expires_at__lt=DatabaseNow())", "unleased = Q(lease_expires_at=None)",
        "concurrency/test_processes.py::test_a_lease_whose_holder_died_is_taken_over_when_it_ends",
    ),
    mutant(
        "F02", "no attempt lasts longer than its lease", "flows/lease.py",
        "(lease.ends - time.monotonic()) * 0.75)", "3600.0)",
        "flows/test_fleet.py::test_an_attempt_that_begins_late_ends_before_its_lease",
    ),
    mutant(
        "F03", "only whoever holds the lease stores an answer", "flows/lease.py",
        'generation=Slot("generation"), lease_owner=None if late else Slot("lease_owner")', 'generation=Slot("generation")',
        "concurrency/test_doubts.py::test_who_was_overtaken_by_a_worker_that_is_still_at_it_waits_for_that_one",
        "chaos/test_overtaking.py::test_a_worker_that_outlives_its_lease_does_not_overwrite_the_later_grant",
    ),
    mutant(
        "F04", "a lost answer is asked for once more, at once", "flows/asking.py",
        "if deadline - time.monotonic() < SHORTEST_REQUEST:", "if True:",
        REFRESH + "test_a_lost_answer_is_asked_for_once_more_and_then_reported",
    ),
    mutant(
        "F04", "a refusal after a lost answer is reported as such", "flows/refreshing.py",
        "doubtful = lease.unanswered > 0 or error.in_doubt", "doubtful = False",
        REFRESH + "test_a_lost_answer_is_asked_for_once_more_and_then_reported",
    ),
    mutant(
        "F05", "in the caller's transaction, a second connection stores the answer", "flows/durable.py",
        "if not _in_callers_transaction(connections[home]) or _is_memory(connections[home]):", "if True:",
        REFRESH + "test_a_refreshed_token_survives_the_callers_rollback", database="postgresql",
    ),
    mutant(
        "F05", "what could not be kept is not asked for", "flows/durable.py",
        "yield second if visible else home", "yield home",
        REFRESH + "test_what_could_not_be_kept_is_not_asked_for",
    ),
    mutant(
        "F06", "an attempt stands in the journal before the provider is asked", "flows/lease.py",
        '"attempt_count": F("attempt_count") + 1,', '"attempt_count": 1,',
        "chaos/test_crashes.py::test_a_grant_lost_with_a_killed_worker_is_reported_as_such_and_not_asked_for_again",
    ),
    mutant(
        "F06", "while the database fails, storing is tried again", "flows/lease.py",
        "passing = isinstance(error, FAILURES)", "passing = False",
        "concurrency/test_storing_answers.py::test_a_database_that_fails_for_a_moment_does_not_lose_the_rotated_token",
    ),
    mutant(
        "F07", "an answer without a refresh token keeps the old one", "flows/lease.py",
        "        if grant.refresh_token is not None:", "        if True:",
        REFRESH + "test_a_refresh_token_is_replaced_only_by_another_one",
    ),
    mutant(
        "F07", "what cannot be a refresh token is none", "protocol/parsing.py",
        "isinstance(refresh_token, str) and is_token(refresh_token) else None", "isinstance(refresh_token, str) else None",
        "protocol/test_token_endpoint.py::test_an_unusable_refresh_token_is_no_refresh_token",
    ),
    mutant(
        "F08", "invalid_grant ends the connection", "flows/policy.py",
        '"invalid_grant": Verdict.DEAD,', '"invalid_grant": Verdict.REFUSED,',
        REFRESH + "test_a_grant_that_is_over_is_reported_once_and_not_asked_for_again",
    ),
    mutant(
        "F08", "a grant that is over is not presented again", "flows/refreshing.py",
        "if connection.status == Connection.Status.REAUTHORIZATION_REQUIRED and not force:", "if False:",
        REFRESH + "test_a_grant_that_is_over_is_reported_once_and_not_asked_for_again",
    ),
    mutant(
        "F09", "invalid_grant says nothing once a sibling has won", "flows/refreshing.py",
        "if current.token.generation != snapshot.token.generation:", "if False:",
        POLICY + "test_an_invalid_grant_for_a_token_that_a_sibling_has_rotated_ends_nothing",
    ),
    mutant(
        "F10", "an outage ends nothing", "flows/policy.py",
        "return Verdict.UNKNOWN if acted else Verdict.UNAVAILABLE", "return Verdict.DEAD",
        REFRESH + "test_an_outage_ends_nothing_and_backs_off",
    ),
    mutant(
        "F10", "a failure is followed by a back-off", "flows/lease.py",
        '"not_before": Case(When(not_before__gt=not_before, then=F("not_before")), default=not_before),', '"not_before": None,',
        REFRESH + "test_an_outage_ends_nothing_and_backs_off",
    ),
    mutant(
        "F10", "while a token is valid, it is served in an outage", "flows/refreshing.py",
        "with suppress(*_NO_ERROR_YET):", "with suppress():",
        REFRESH + "test_an_outage_is_not_noticed_while_the_token_is_valid",
    ),
    mutant(
        "F11", "a refused client ends no connection", "flows/policy.py",
        '"invalid_client": Verdict.CLIENT,', '"invalid_client": Verdict.DEAD,',
        REFRESH + "test_a_refused_client_alarms_staff_and_marks_no_connection",
    ),
    mutant(
        "F11", "a refused client alarms staff", "flows/refreshing.py",
        "if verdict.alarms_staff:", "if False:",
        REFRESH + "test_a_refused_client_alarms_staff_and_marks_no_connection",
    ),
    mutant(
        "F12", "an answer that comes after a disconnect is revoked", "flows/refreshing.py",
        "        _give_back(lease, grant)\n        raise", "        raise",
        REFRESH + "test_a_late_answer_cannot_undo_a_disconnect_and_is_revoked",
    ),
    mutant(
        "F13", "an answer is stored over the generation it was asked for", "flows/lease.py",
        'pk=Slot("id"), generation=Slot("generation"), lease_owner=', 'pk=Slot("id"), lease_owner=',
        "chaos/test_overtaking.py::test_a_reconnect_at_any_step_of_a_refresh_is_what_stays",
    ),
    mutant(
        "F14", "a refresh token goes only to the configuration that issued it", "flows/asking.py",
        "if not own_token and token.configuration_fingerprint != snapshot.configured.fingerprint(connection.parameters):", "if False:",
        REFRESH + "test_a_configuration_changed_since_keeps_the_refresh_token_at_home",
    ),
    mutant(
        "F15", "a token that is refused young is not refreshed again", "flows/refreshing.py",
        "or not snapshot.renewable or young:", "or not snapshot.renewable:",
        REFRESH + "test_a_rejected_token_is_refreshed_once_and_not_over_and_over",
    ),
    mutant(
        "F15", "one newer token for a request and its redirects", "protocol/use.py",
        "return Use(self._source, self.registration, self.credentials, renewed=self.renewed)",
        "return Use(self._source, self.registration, self.credentials)",
        "protocol/test_sessions.py::test_a_chain_of_redirects_has_its_token_replaced_once",
    ),
    mutant(
        "F15", "one newer token, however many there are", "protocol/use.py",
        "return Use(self._source, registration, credentials, renewed=True)",
        "return Use(self._source, registration, credentials)",
        "protocol/test_auth_objects.py::test_one_newer_token_is_tried_however_many_there_are",
    ),
    mutant(
        "F15", "a POST is repeated only if the token was all that was wrong", "protocol/use.py",
        "return rewindable and (method in IDEMPOTENT or 'error=\"invalid_token\"' in challenge)", "return rewindable",
        "flows/test_auth_objects.py::test_a_post_is_repeated_only_if_the_token_was_all_that_was_wrong",
    ),
    mutant(
        "F15", "a body that is gone is not sent again", "protocol/use.py",
        "return rewindable and (method", "return (method",
        "flows/test_auth_objects.py::test_a_body_that_is_gone_is_not_sent_again",
    ),
    mutant(
        "F16", "a token that arrives expired is used for a while", "flows/freshness.py",
        "usable = not min_validity and _arrived_expired(token) and refreshed_lately(token, now=now)", "usable = False",
        REFRESH + "test_tokens_that_arrive_expired_are_not_refreshed_over_and_over",
    ),
    mutant(
        "F17", "of two sweeps that have chosen a row, one gets it", "flows/claiming.py",
        "Token.objects.filter(free(), id__in=ids)", "Token.objects.filter(id__in=ids)",
        "flows/test_fleet.py::test_several_sweeps_at_once_refresh_each_connection_once",
    ),
    mutant(
        "F17", "a provider is asked by so many at once, and no more", "flows/fleet.py",
        "cap = min(share, max(1, sweep.provider.max_concurrency))", "cap = share",
        "flows/test_fleet.py::test_a_provider_is_asked_by_so_many_at_once",
    ),
    mutant(
        "F18", "a rotated refresh token is kept", "flows/lease.py",
        "        if grant.refresh_token is not None:", "        if False:",
        "chaos/test_machine.py::test_whatever_happens_in_whatever_order_nothing_is_lost_silently",
    ),
    mutant(
        "F19", "no transaction around a refresh", "flows/refreshing.py",
        "    with circuit.trying(lease):",
        "    from django.db import transaction\n\n    with circuit.trying(lease), transaction.atomic(using=lease.alias):",
        REFRESH + "test_no_transaction_is_open_while_the_provider_is_asked",
    ),
    mutant(
        "F19", "no transaction around a page", "urls.py",
        "    return non_atomic_requests(view)", "    return view",
        "surfaces/test_views.py::test_no_page_holds_a_transaction_open_while_the_provider_is_asked",
    ),
    mutant(
        "F20", "whoever is cancelled leaves the work to a thread of ours", "flows/aside.py",
        "return await loop.run_in_executor(_executor(), context.run, _completed, call)", "return await sync_to_async(call)()",
        "flows/test_async.py::test_a_receiver_that_is_a_coroutine_is_not_cancelled_with_the_caller",
        "flows/test_async.py::test_a_task_that_is_cancelled_leaves_at_once_and_its_answer_is_stored",
    ),
    mutant(
        "F21", "a lock timeout is over with its transaction", "flows/durable.py",
        "SELECT set_config('lock_timeout', %s, true)", "SELECT set_config('lock_timeout', %s, false)",
        "chaos/test_pgbouncer.py::test_no_session_keeps_anything_of_ours",
    ),
    mutant(
        "F22", "a refresh token is used before it dies unused", "flows/freshness.py",
        "return Moments(expires_at, dies_at, earliest(early, keep_alive))", "return Moments(expires_at, dies_at, early)",
        LIFETIMES + "test_a_refresh_token_is_used_in_good_time_before_it_dies_unused",
    ),
    mutant(
        "F22", "no refresh puts off the end of a grant", "flows/freshness.py",
        "dies_at = earliest(can_wait_until, over)", "dies_at = can_wait_until",
        LIFETIMES + "test_the_absolute_lifetime_of_a_grant_is_not_put_off_by_refreshing",
    ),
)  # fmt: skip
