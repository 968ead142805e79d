"""What a provider's answer cannot do, and what becomes of one that is lost."""

from __future__ import annotations

from tests.contract.mutants.base import mutant

TRANSPORT = "protocol/test_transport.py::"

ANSWERS = (
    mutant(
        "T12", "each send and receive ends with the deadline", "protocol/sockets.py",
        "self.settimeout(running.remaining())", "running.remaining()",
        TRANSPORT + "test_who_falls_silent_late_has_what_is_left_of_the_deadline",
    ),
    mutant(
        "T12", "who drips is cut off like one who is silent", "protocol/sockets.py",
        "self.settimeout(running.remaining())", "pass",
        TRANSPORT + "test_the_deadline_is_total_however_the_time_is_wasted",
    ),
    mutant(
        "T12", "an announcement is not taken for the answer", "protocol/sockets.py",
        "if status >= HTTPStatus.OK:", "if status != HTTPStatus.CONTINUE:",
        TRANSPORT + "test_an_answer_that_is_announced_first_is_nobody_elses",
        TRANSPORT + "test_a_token_that_is_announced_first_is_nobody_elses",
    ),
    mutant(
        "T13", "a broken answer is an unreachable provider", "protocol/transport.py",
        "except (requests.RequestException, HTTPError, http.client.HTTPException, OSError, ValueError) as error:",
        "except requests.RequestException as error:",
        TRANSPORT + "test_a_broken_answer_is_an_unreachable_provider",
    ),
    mutant(
        "T13", "the rest of a refused answer is nobody's", "protocol/transport.py",
        "        response.close()\n        raise", "        response.release_conn()\n        raise",
        TRANSPORT + "test_the_rest_of_a_refused_answer_is_not_the_next_ones_beginning",
    ),
    mutant(
        "T14", "at most a mebibyte of an answer is read", "protocol/transport.py",
        "MAX_BODY = 1024 * 1024", "MAX_BODY = 64 * 1024 * 1024",
        TRANSPORT + "test_no_answer_bloats_the_process",
    ),
    mutant(
        "T14", "an encoding that was not asked for is refused", "protocol/transport.py",
        'if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):', "if False:",
        TRANSPORT + "test_no_answer_bloats_the_process",
    ),
    mutant(
        "T15", "a lost answer is not called an unreachable provider", "protocol/transport.py",
        "    if running.sent:", "    if False:",
        "security/test_callback.py::test_a_lost_answer_to_the_code_is_said_so_and_never_repeated",
    ),
    mutant(
        "T15", "nothing is sent twice", "protocol/pool.py",
        "ONCE = Retry(total=False, redirect=False)", "ONCE = Retry(total=1, redirect=False, allowed_methods=None)",
        "protocol/test_token_endpoint.py::test_a_code_is_presented_once_whatever_happens",
        "security/test_callback.py::test_a_lost_answer_to_the_code_is_said_so_and_never_repeated",
    ),
    mutant(
        "T16", "a grant is stored as a whole", "flows/storing.py",
        "    with transaction.atomic(using=alias):", "    if alias:",
        "security/test_callback.py::test_a_database_that_fails_after_the_exchange_leaves_no_half_connection_and_gives_the_grant_back",
    ),
    mutant(
        "T16", "a grant that cannot be stored is given back", "flows/completing.py",
        "if not _is_kept(request):", "if False:",
        "security/test_callback.py::test_a_database_that_fails_after_the_exchange_leaves_no_half_connection_and_gives_the_grant_back",
    ),
    mutant(
        "T16", "a grant that was committed is not given back", "flows/completing.py",
        "if not _is_kept(request):", "if True:",
        "flows/test_grants.py::test_a_grant_that_was_committed_is_not_given_back_when_a_hook_of_the_site_fails",
    ),
    mutant(
        "T22", "one fetch of the site's own token", "flows/lease.py",
        "taken = row.filter(free(force=force)).update(", "taken = row.update(",
        "flows/test_client_sessions.py::test_fifty_threads_without_a_token_fetch_one",
    ),
    mutant(
        "T22", "other scopes are another token", "flows/calling.py",
        "what: list[Any] = [kind, acts_for, sorted(scopes)] if by_key else sorted(scopes)",
        "what: list[Any] = [kind, acts_for] if by_key else []",
        "flows/test_client_sessions.py::test_other_scopes_are_another_token_and_their_order_is_not",
    ),
    mutant(
        "T24", "a lifetime counts from the request", "flows/refreshing.py",
        "if not lease.save(grant, requested_at=requested_at):",
        "if not lease.save(grant, requested_at=lease.snapshot.present()):",
        "security/test_token_answers.py::test_a_lifetime_counts_from_the_request_and_not_from_its_late_answer",
    ),
    mutant(
        "T24", "the database's clock decides", "flows/snapshot.py",
        "return Snapshot(token, token.now, time.monotonic(), Configured(token.connection.provider))",
        "return Snapshot(token, datetime.fromtimestamp(time.time(), token.now.tzinfo), time.monotonic(), Configured(token.connection.provider))",
        "security/test_token_answers.py::test_neither_our_clock_nor_the_providers_decides_when_a_token_expires",
    ),
    mutant(
        "T24", "Retry-After is clamped", "protocol/parsing.py",
        "return min(int(value), MAX_RETRY_AFTER)", "return int(value)",
        "protocol/test_token_endpoint.py::test_retry_after_is_clamped",
    ),
)  # fmt: skip
