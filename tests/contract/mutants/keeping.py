"""What keeps secrets and a site alive: keys, databases, circuits, checks, history and signals."""

from __future__ import annotations

from tests.contract.mutants.base import mutant

POLICY = "flows/test_policy.py::"
CHECKS = "surfaces/test_checks.py::"
COMMANDS = "surfaces/test_commands.py::"

KEEPING = (
    mutant(
        "S04", "a token under lease is left alone", "management/reencrypting.py",
        "rows = rows.filter(free, generation=row.generation)", "rows = rows.filter(generation=row.generation)",
        COMMANDS + "test_a_token_under_lease_is_left_alone_and_named",
    ),
    mutant(
        "S04", "a row that has changed since it was read is not overwritten", "management/reencrypting.py",
        'rows = rows.filter(**{f"{name}_as_read": read[name].value})', "pass",
        COMMANDS + "test_a_row_that_changes_after_it_was_read_is_not_overwritten",
    ),
    mutant(
        "S04", "an old key is called needed while rows remain", "management/reencrypting.py",
        "return bool(self.busy or len(self.lost) > self.settled)", "return False",
        COMMANDS + "test_rows_that_no_key_opens_are_counted_and_named_and_the_rest_is_done",
    ),
    mutant(
        "S10", "a token is looked for where it is written", "flows/snapshot.py",
        "    home = router.db_for_write(Token)", "    home = router.db_for_read(Token)",
        "flows/test_databases.py::test_a_token_is_looked_for_where_it_is_written",
    ),
    mutant(
        "V01", "a provider that fails again and again is left alone", "flows/circuit.py",
        "if provider.circuit_open_until is not None and is_open(provider, now=now):", "if False:",
        POLICY + "test_a_provider_that_fails_again_and_again_is_left_alone_and_no_other",
    ),
    mutant(
        "V01", "when the while is over, one tries", "flows/circuit.py", "if not any(moved):", "if False:",
        POLICY + "test_when_the_while_is_over_one_tries_and_the_others_wait_for_what_he_finds",
    ),
    mutant(
        "V01", "a dead host says nothing of a provider of many", "flows/circuit.py", "if provider.has_many_hosts:", "if False:",
        POLICY + "test_where_every_connection_has_a_host_of_its_own_a_dead_one_says_nothing_of_the_others",
    ),
    mutant(
        "V02", "a callback has so many parameters and no more", "views/callback.py",
        "max_num_fields=MAX_PARAMETERS)", "max_num_fields=None)",
        "security/test_callback.py::test_any_number_of_parameters_is_answered_and_cheaply",
    ),
    mutant(
        "V02", "what no database takes is left out", "flows/values.py",
        "for name, value in members.items() if _is_storable(value)}", "for name, value in members.items()}",
        "flows/test_grants.py::test_a_kept_field_that_no_database_takes_costs_neither_the_grant_nor_a_rotated_token",
    ),
    mutant(
        "V03", "what was abandoned is removed", "flows/pruning.py",
        "done |= {name: _remove(rows, batch_size=batch_size) for name, rows in _outdated().items()}", "pass",
        "storage/test_growth.py::test_what_was_abandoned_is_pruned",
    ),
    mutant(
        "V03", "a dance finds its request by an index", "migrations/0001_initial.py",
        'constraint=models.UniqueConstraint(fields=("state_hash",), name="oauth_flows_request_state"),',
        'constraint=models.CheckConstraint(condition=~models.Q(state_hash="-"), name="oauth_flows_request_state"),',
        "storage/test_growth.py::test_a_dance_reads_no_table_from_end_to_end", database="postgresql",
    ),
    mutant(
        "V04", "what failed together does not come back together", "flows/lease.py",
        "return ceiling * random.uniform(0.5, 1.0)", "return ceiling",
        "flows/test_pace.py::test_what_failed_in_an_outage_comes_back_at_times_of_its_own",
    ),
    mutant(
        "V04", "no more begin than the rate allows", "flows/pace.py",
        "self._next = max(self._next, monotonic()) + begun / self._rate", "pass",
        "flows/test_pace.py::test_no_more_arrive_than_the_rate_allows",
    ),
    mutant(
        "V05", "without a sweep, a call refreshes", "flows/refreshing.py",
        "return _obtain(snapshot, seconds=deadline_seconds(snapshot.provider), min_validity=min_validity)",
        'raise TokenUnavailable("expired")',
        "surfaces/test_overdue.py::test_without_a_sweep_a_call_refreshes_and_the_check_counts_what_waits",
    ),
    mutant(
        "V05", "the check counts what waits", "checks/rows.py",
        "overdue = due(within=-LONG_DUE).using(alias).count()", "overdue = 0",
        "surfaces/test_overdue.py::test_without_a_sweep_a_call_refreshes_and_the_check_counts_what_waits",
    ),
    mutant(
        "V06", "an answer is stored once the database is back", "flows/lease.py",
        "passing = isinstance(error, FAILURES)", "passing = False",
        "chaos/test_databases.py::test_a_restart_does_not_lose_the_answer",
    ),
    mutant(
        "V06", "a database that takes no writes asks nobody", "flows/durable.py",
        "    except FAILURES as error:", "    except ConnectionDoesNotExist as error:",
        "chaos/test_databases.py::test_a_read_only_database_asks_nobody_and_serves_what_is_valid",
    ),
    mutant(
        "C03", "sessions in cookies are reported", "checks/site.py",
        'if settings.SESSION_ENGINE.endswith("signed_cookies"):', "if False:",
        CHECKS + "test_a_place_for_sessions_that_loses_a_guarantee_is_reported_before_deployment",
    ),
    mutant(
        "C03", "sessions in one process's memory are reported", "checks/site.py",
        'if "locmem" in _session_cache():', "if False:",
        CHECKS + "test_a_place_for_sessions_that_loses_a_guarantee_is_reported_before_deployment",
    ),
    mutant(
        "C03", "tokens in SQLite are reported", "checks/site.py", 'if database.vendor == "sqlite":', "if False:",
        CHECKS + "test_tokens_in_sqlite_are_reported_before_deployment",
    ),
    mutant(
        "C04", "missing middleware is an error", "checks/site.py",
        "if not _covers(installed, path)\n", "if False\n",
        CHECKS + "test_missing_middleware_is_an_error",
    ),
    mutant(
        "C04", "pages that can be framed are an error", "checks/site.py",
        "if not any(_covers(installed, path) for path in FRAMING):", "if False:",
        CHECKS + "test_nothing_that_forbids_framing_is_an_error",
    ),
    mutant(
        "C04", "a callback without a URL is an error", "checks/site.py",
        'return [Error("The callback has no URL: nobody can connect.", hint=hint, id="oauth_flows.E016")]', "return []",
        CHECKS + "test_a_callback_without_a_url_is_an_error",
    ),
    mutant(
        "C04", "a shadowed callback is an error", "checks/site.py",
        'if match is None or match.view_name != "oauth_flows:callback":', "if match is None:",
        CHECKS + "test_a_shadowed_callback_is_an_error",
    ),
    mutant(
        "C04", "the callback stays outside of the request's transaction", "urls.py",
        "    return non_atomic_requests(view)", "    return view",
        CHECKS + "test_the_callback_stays_outside_of_the_requests_transaction",
    ),
    mutant(
        "C04", "a callback inside of the request's transaction is an error", "checks/site.py",
        'if connections.settings[alias].get("ATOMIC_REQUESTS") and alias not in exempt:', "if False:",
        CHECKS + "test_the_callback_stays_outside_of_the_requests_transaction",
    ),
    mutant(
        "L06", "what is written down cannot be changed", "models/event.py", "if not self._state.adding:", "if False:",
        "telling/test_history.py::test_what_is_written_down_cannot_be_changed",
    ),
    mutant(
        "L06", "a disconnect is written down, with who did it", "flows/revoking.py",
        "record(ConnectionEvent.Kind.REVOKED, present, actor=actor, outcome=outcome)",
        "record(ConnectionEvent.Kind.REVOKED, present, outcome=outcome)",
        "telling/test_history.py::test_each_state_change_says_who_what_when_and_how_it_ended",
    ),
    mutant(
        "L06", "a person gets nobody else's history", "management/exporting.py",
        "ConnectionEvent.objects.filter(theirs | Q(actor=user))", "ConnectionEvent.objects.filter()",
        "telling/test_history.py::test_a_person_gets_their_own_history_and_nobody_elses",
    ),
    mutant(
        "L06", "the history ends by its age", "flows/pruning.py",
        '"connection_events": _rows(ConnectionEvent).filter(created_at__lt=now - kept),',
        '"connection_events": _rows(ConnectionEvent).none(),',
        "telling/test_history.py::test_the_history_ends_by_its_age_alone",
    ),
    mutant(
        "L07", "signals are sent after the commit", "flows/history.py",
        "transaction.on_commit(send, using=using or home, robust=True)", "send()",
        "concurrency/test_receivers.py::test_signals_are_sent_after_the_commit",
    ),
    mutant(
        "L07", "a receiver that fails loses nothing", "flows/history.py",
        "answers = signal.send_robust(Connection, connection=connection, **facts)",
        "answers = signal.send(Connection, connection=connection, **facts)",
        "concurrency/test_receivers.py::test_receivers_that_fail_everywhere_lose_nothing",
    ),
    mutant(
        "L07", "signals carry no secret", "flows/marking.py",
        "announce(connection_refreshed, connection, using=using)",
        "announce(connection_refreshed, connection, using=using, token=grant.access_token.reveal())",
        "concurrency/test_receivers.py::test_signals_carry_ids_and_objects_and_no_secret",
    ),
)  # fmt: skip
